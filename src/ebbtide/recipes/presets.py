"""Named recipes that are known to work, each for one kind of data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ebbtide.errors import EbbtideError, near_misses
from ebbtide.recipes.recipe import (
    DataRecipe,
    NetworkRecipe,
    ObjectiveRecipe,
    Recipe,
    SamplingRecipe,
    ScheduleRecipe,
    TrainingRecipe,
    read_recipe,
)


@dataclass(frozen=True)
class Preset:
    """A recipe and a line about it."""

    recipe: Recipe
    about: str


_TOY = Recipe(
    name="toy",
    network=NetworkRecipe(name="mlp"),
    training=TrainingRecipe(steps=4000, batch=512, rate=2e-3, half_life=200_000, pictures=4),
    sampling=SamplingRecipe(clip=False),
)

PRESETS: dict[str, Preset] = {
    "digits": Preset(
        Recipe(name="digits", data=DataRecipe(source="digits"), training=TrainingRecipe(minutes=1.5)),
        "8x8 handwritten digits that come with scikit-learn; readable after a minute and a half on two cores",
    ),
    "digits-ho": Preset(
        Recipe(
            name="digits-ho",
            schedule=ScheduleRecipe(name="linear", steps=1000),
            objective=ObjectiveRecipe(predicts="eps"),
            training=TrainingRecipe(minutes=1.5),
            sampling=SamplingRecipe(sampler="ancestral", steps=1000),
        ),
        "the same digits as Ho et al. 2020 would: their 1000 steps, noise predicted, ancestral sampling",
    ),
    "images": Preset(
        Recipe(
            name="images",
            data=DataRecipe(source="", size=32, flip=True),
            network=NetworkRecipe(patch=2, channels=48, multipliers=(1, 2), attention=(False, False)),
            training=TrainingRecipe(minutes=30, batch=64),
        ),
        "your own images: --data FOLDER (or an array, IDX, Hugging Face source), 32x32 unless you give --data.size",
    ),
    "fashion": Preset(
        Recipe(
            name="fashion",
            data=DataRecipe(source=""),
            network=NetworkRecipe(patch=2, channels=48, multipliers=(1, 2), attention=(False, False)),
            training=TrainingRecipe(minutes=10, batch=64),
        ),
        "28x28 grey images of the MNIST family: --data FOLDER with the IDX files; ten minutes on two cores",
    ),
    "swiss-roll": Preset(replace(_TOY, name="swiss-roll", data=DataRecipe(source="swiss-roll")), "points on a spiral"),
    "moons": Preset(replace(_TOY, name="moons", data=DataRecipe(source="moons")), "points on two half moons"),
    "mixture": Preset(
        replace(_TOY, name="mixture", data=DataRecipe(source="mixture")),
        "points from eight Gaussians on a ring, of known density",
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
