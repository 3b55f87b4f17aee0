"""Named recipes that are known to work, each for one kind of data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ebbtide.errors import EbbtideError, near_misses
from ebbtide.recipes.as_json import read_recipe
from ebbtide.recipes.recipe import (
    CorruptionRecipe,
    DataRecipe,
    NetworkRecipe,
    ObjectiveRecipe,
    Recipe,
    SamplingRecipe,
    ScheduleRecipe,
    TrainingRecipe,
)


@dataclass(frozen=True)
class Preset:
    """A recipe, a line about it, and the examples that its stated cost is for: shape and number of classes."""

    recipe: Recipe
    about: str
    shape: tuple[int, ...]
    classes: int


def _small(
    name: str, about: str, shape: tuple[int, ...], classes: int, network: NetworkRecipe, **training: Any
) -> Preset:
    """For a laptop's CPU: coarse patches, no attention, a budget of minutes."""
    data = DataRecipe(source="", size=shape[-1], flip=True) if shape[0] == 3 else DataRecipe(source="")
    network = replace(network, lean=True)
    training = {"batch": 64, "rate": 2e-3, "half_life": 100_000, **training}
    return Preset(
        Recipe(name=name, data=data, network=network, training=TrainingRecipe(**training)), about, shape, classes
    )


def _base(name: str, about: str, network: NetworkRecipe, **training: Any) -> Preset:
    """The preset of the same data for one GPU: every pixel, attention, a budget of updates."""
    small = PRESETS[name]
    network = replace(network, lean=True)
    training = {"rate": 5e-4, "warmup": 1000, "half_life": 2_000_000, **training}
    recipe = replace(
        small.recipe, name=f"{name}-base", network=network, training=TrainingRecipe(**training, minutes=None)
    )
    return Preset(recipe, about, small.shape, small.classes)


_TOY = Recipe(
    name="toy",
    schedule=ScheduleRecipe(name="cosine"),
    network=NetworkRecipe(name="mlp"),
    training=TrainingRecipe(updates=4000, batch=512, optimizer="adamw", rate=2e-3, half_life=200_000, pictures=4),
    sampling=SamplingRecipe(sampler="ddim", steps=50, grid="uniform", clip=False),
)
_PATCHED = NetworkRecipe(patch=2, channels=48, multipliers=(1, 2), attention=(False, False))
_HOURGLASS = NetworkRecipe(name="hourglass", patch=1, channels=32, multipliers=(1, 2, 4))
_COARSE = NetworkRecipe(patch=4, channels=64, multipliers=(1, 2), attention=(False, False))

PRESETS: dict[str, Preset] = {
    "digits": Preset(
        Recipe(
            name="digits",
            data=DataRecipe(source="digits"),
            network=NetworkRecipe(lean=True),
            training=TrainingRecipe(updates=800, batch=64, rate=2e-3),
            # even steps of t: after a minute a classifier reads more of the digits so (95 % surely, against 94 %)
            sampling=SamplingRecipe(steps=20, grid="uniform"),
        ),
        "8x8 handwritten digits that come with scikit-learn; readable after a minute on two cores",
        (1, 8, 8),
        10,
    ),
    "digits-ho": Preset(
        Recipe(
            name="digits-ho",
            data=DataRecipe(low=-1.0, high=1.0),
            schedule=ScheduleRecipe(name="linear", steps=1000),
            network=NetworkRecipe(lean=False, attention=(False, True)),
            objective=ObjectiveRecipe(predicts="eps"),
            training=TrainingRecipe(minutes=1.5, optimizer="adamw"),
            sampling=SamplingRecipe(sampler="ancestral", steps=1000),
        ),
        "the same digits as Ho et al. 2020 would: their 1000 steps and blocks, noise predicted, ancestral sampling",
        (1, 8, 8),
        10,
    ),
    "dots": Preset(
        Recipe(
            name="dots",
            data=DataRecipe(source="dots", low=-1.0, high=1.0),
            schedule=ScheduleRecipe(name="linear", steps=100),
            network=NetworkRecipe(name="upside-down"),
            objective=ObjectiveRecipe(predicts="eps"),
            training=TrainingRecipe(updates=2000, optimizer="adamw", half_life=20_000, precision="fp32", pictures=4),
            sampling=SamplingRecipe(sampler="ancestral", steps=100),
        ),
        "3x3 pictures of one dot, the smallest example of the lectures (CS182): seconds on one core",
        (1, 3, 3),
        0,
    ),
    "images": _small(
        "images",
        "your own images: --data FOLDER (or an array, IDX, Hugging Face source), 32x32 unless you give --data.size",
        (3, 32, 32),
        0,
        _PATCHED,
        minutes=30.0,
    ),
    "fashion": _small(
        "fashion",
        "28x28 grey images of the MNIST family: --data FOLDER with the IDX files; ten minutes on two cores",
        (1, 28, 28),
        10,
        _PATCHED,
        minutes=10.0,
    ),
    "cifar10": _small(
        "cifar10",
        "CIFAR-10 and its like, 32x32 in colour: --data FOLDER with a subfolder a class, or hf:NAME; an hour",
        (3, 32, 32),
        10,
        replace(_PATCHED, channels=64, blocks=2),
        minutes=60.0,
    ),
    "faces64": _small(
        "faces64",
        "faces and other centred pictures, 64x64: --data FOLDER; two hours",
        (3, 64, 64),
        0,
        _COARSE,
        minutes=120.0,
    ),
    "imagenet64": _small(
        "imagenet64",
        "many classes at 64x64: --data FOLDER with a subfolder a class; a night",
        (3, 64, 64),
        1000,
        replace(_COARSE, channels=96, multipliers=(1, 2, 2), blocks=2, attention=(False, False, True)),
        minutes=600.0,
    ),
    "swiss-roll": Preset(
        replace(_TOY, name="swiss-roll", data=DataRecipe(source="swiss-roll")), "points on a spiral", (2,), 0
    ),
    "moons": Preset(replace(_TOY, name="moons", data=DataRecipe(source="moons")), "points on two half moons", (2,), 2),
    "mixture": Preset(
        replace(_TOY, name="mixture", data=DataRecipe(source="mixture")),
        "points from eight Gaussians on a ring, of known density",
        (2,),
        8,
    ),
}
PRESETS |= {
    "digits-base": _base(
        "digits",
        "digits with a larger network, for one GPU",
        NetworkRecipe(channels=96, blocks=2, attention=(True, True)),
        updates=10_000,
        batch=256,
    ),
    "fashion-base": _base(
        "fashion",
        "fashion with a larger network, for one GPU",
        NetworkRecipe(channels=64, multipliers=(1, 2, 2), blocks=2, attention=(False, True, True)),
        updates=50_000,
        batch=256,
    ),
    "cifar10-base": _base(
        "cifar10",
        "cifar10 with Ho et al.'s widths, for one GPU",
        NetworkRecipe(
            channels=128, multipliers=(1, 2, 2, 2), blocks=2, attention=(False, True, False, False), dropout=0.1
        ),
        updates=200_000,
        batch=256,
    ),
    "faces64-base": _base(
        "faces64",
        "faces64 with a larger network, for one GPU",
        NetworkRecipe(channels=128, multipliers=(1, 2, 3, 4), blocks=2, attention=(False, False, True, True)),
        updates=300_000,
        batch=128,
    ),
    "imagenet64-base": _base(
        "imagenet64",
        "imagenet64 with a larger network, for one GPU",
        NetworkRecipe(channels=128, multipliers=(1, 2, 3, 4), blocks=3, attention=(False, False, True, True)),
        updates=500_000,
        batch=256,
    ),
}


def _undone(name: str, about: str, sampling: SamplingRecipe, objective: ObjectiveRecipe, **changes: Any) -> Preset:
    """A corruption other than Gaussian noise, on digits or any pictures of the MNIST family (--data FOLDER)."""
    shape = changes.pop("shape", (1, 8, 8))
    fields: dict[str, Any] = {
        "data": DataRecipe(source="digits", labels=False),
        "corruption": CorruptionRecipe(name=name.removeprefix("cold-")),
        "network": replace(_PATCHED, lean=True),
        "training": TrainingRecipe(updates=1000, batch=64, rate=2e-3, half_life=20_000, pictures=4),
        **changes,
    }
    return Preset(Recipe(name=name, sampling=sampling, objective=objective, **fields), about, shape, 0)


_TO_X0 = ObjectiveRecipe(predicts="x0", error="absolute")
_COLD = SamplingRecipe(sampler="cold", steps=20)
PRESETS |= {
    "naive": _undone(
        "naive",
        "the lectures' first: pixels set to black or white at random, undone step by step",
        SamplingRecipe(sampler="previous", steps=100),
        ObjectiveRecipe(predicts="previous"),
        network=_HOURGLASS,
    ),
    "naive-pixelwise": _undone(
        "naive-pixelwise",
        "the lectures' second: one more pixel a step, undone at once and corrupted again a little less",
        SamplingRecipe(sampler="renoise", steps=50),
        ObjectiveRecipe(predicts="x0"),
        network=_HOURGLASS,
    ),
    "cold-blur": _undone("cold-blur", "deblurs, and draws from a single colour on", _COLD, _TO_X0),
    "cold-pixelate": _undone("cold-pixelate", "enlarges, and draws from a single pixel on", _COLD, _TO_X0),
    "cold-inpaint": _undone("cold-inpaint", "fills holes", _COLD, _TO_X0),
    "cold-animorph": _undone(
        "cold-animorph",
        "turns pictures of one kind back into another's: pieces of photographs into digits",
        _COLD,
        _TO_X0,
        corruption=CorruptionRecipe(name="animorph", other="patches"),
    ),
    "cold-snow": _undone(
        "cold-snow",
        "lifts the snow from pieces of photographs, 32x32 in colour",
        _COLD,
        _TO_X0,
        data=DataRecipe(source="patches", labels=False, flip=True),
        shape=(3, 32, 32),
    ),
}


def find_recipe(name: str) -> Recipe:
    """A preset by name, or a recipe from a JSON file."""
    if name in PRESETS:
        return PRESETS[name].recipe
    path = Path(name)
    if path.suffix == ".json" or path.is_file():
        if not path.is_file():
            raise EbbtideError(f"there is no recipe {name}: expected a JSON file or a preset ({', '.join(PRESETS)})")
        return read_recipe(path)
    if path.is_dir():
        raise EbbtideError(f"{name} is a folder, no preset. To learn from it: ebbtide train images --data {name}")
    raise EbbtideError(f"there is no preset {name!r}.{near_misses(name, list(PRESETS))} Presets: {', '.join(PRESETS)}")
