"""Every corruption by name, and recipe -> corruption and objective, whatever the corruption."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ebbtide.corruptions import (
    CoinFlips,
    ColdCorruption,
    Corruption,
    GaussianCorruption,
    PixelByPixel,
    Start,
    fit_start,
)
from ebbtide.corruptions.start import examples_for
from ebbtide.data import Dataset
from ebbtide.data.dataset import spread
from ebbtide.degradations import (
    Animorph,
    Composed,
    Degradation,
    Fade,
    GaussianBlur,
    GrowingMask,
    Jpeg,
    MotionBlur,
    Pixelate,
    Posterise,
    Snow,
)
from ebbtide.errors import EbbtideError, near_misses, require
from ebbtide.objectives import PreviousObjective, ReadObjective, RestoringObjective
from ebbtide.recipes.build import build_data, build_objective, build_schedule
from ebbtide.recipes.recipe import CorruptionRecipe, DataRecipe, ObjectiveRecipe, Recipe, ScheduleRecipe

Limits = tuple[float, float]
SPREAD = 0.002
"""Standard deviation, in shares of the data's range, of the noise that breaks the symmetry of a plain start."""
JOIN = "+"


@dataclass(frozen=True, kw_only=True)
class About:
    """A line about a corruption, its source, and for a degradation how it is made (shape: of an example)."""

    about: str
    source: str
    make: Callable[[CorruptionRecipe, Sequence[int]], Degradation] | None = None


OTHER = "patches"
"""What animorph turns into where nothing is named."""


def _other_pictures(recipe: CorruptionRecipe, shape: Sequence[int]) -> Degradation:
    """Pictures of a second source, scaled to the first one's size, from 0 to 1."""
    other = recipe.other or OTHER
    size, grey = (shape[1], shape[2]), shape[0] == 1
    data = build_data(DataRecipe(source=other, size=size, colour="grey" if grey else "rgb", labels=False))
    require(
        data.event_shape == tuple(shape),
        f"the other pictures of {other} come as {data.event_shape}, but those that turn into them are "
        f"{tuple(shape)}: give pictures of that size",
    )

    def pictures(index: Tensor) -> Tensor:
        return torch.from_numpy(data.values[index.numpy()]).permute(0, 3, 1, 2).float() / 255

    return Animorph(pictures, len(data))


GAUSSIAN = "gaussian"
CORRUPTIONS: dict[str, About] = {
    GAUSSIAN: About(about="Gaussian noise, by the recipe's schedule", source="Ho et al. 2020, arXiv:2006.11239"),
    "naive": About(
        about="each step sets a few pixels to black or white by coins, until all is coins", source="lectures (C5)"
    ),
    "naive-pixelwise": About(about="one more pixel a step: T is the number of pixels exactly", source="lectures (C6)"),
    "blur": About(
        make=lambda recipe, shape: GaussianBlur(),
        about="a Gaussian blur that grows until one colour is left",
        source="Bansal et al. 2022, arXiv:2208.09392",
    ),
    "pixelate": About(
        make=lambda recipe, shape: Pixelate(), about="ever coarser pixels: super-resolution", source="arXiv:2208.09392"
    ),
    "inpaint": About(
        make=lambda recipe, shape: GrowingMask(),
        about="a hole that grows from a random place",
        source="arXiv:2208.09392",
    ),
    "snow": About(
        make=lambda recipe, shape: Snow(), about="falling snow", source="Hendrycks & Dietterich 2019, arXiv:1903.12261"
    ),
    "animorph": About(
        make=_other_pictures, about="fades into a random picture of other data", source="arXiv:2208.09392"
    ),
    "fade": About(make=lambda recipe, shape: Fade(), about="fades to grey", source="lectures (C7)"),
    "motion-blur": About(make=lambda recipe, shape: MotionBlur(), about="a shaken camera", source="arXiv:1903.12261"),
    "posterise": About(make=lambda recipe, shape: Posterise(), about="ever fewer shades", source="an example"),
    "jpeg": About(make=lambda recipe, shape: Jpeg(), about="ever coarser JPEG", source="an example"),
}
"""In the order in which they are listed. Degradations can be joined: blur+snow."""


def corruptions_in_words() -> str:
    """A line each."""
    return "\n".join(["corruptions:", *(f"  {name:17}{found.about}" for name, found in CORRUPTIONS.items())])


def check_corruption(recipe: CorruptionRecipe) -> None:
    """That the name is known, and what it needs is there."""
    parts = recipe.name.split(JOIN)
    for part in parts:
        require(
            part in CORRUPTIONS,
            f"there is no corruption {part!r}.{near_misses(part, list(CORRUPTIONS))} Corruptions: "
            f"{', '.join(CORRUPTIONS)}; degradations can be joined: blur{JOIN}snow",
        )
        require(
            len(parts) == 1 or CORRUPTIONS[part].make is not None,
            f"{recipe.name!r} came, but {part} is no degradation: only those can be joined",
        )
    require(
        "animorph" in parts or not recipe.other,
        f"corruption.other={recipe.other!r} came with {recipe.name}, but only animorph turns into other pictures",
    )
    _check_heeded(recipe)


def _check_heeded(recipe: CorruptionRecipe) -> None:
    """That no field was changed which this corruption would not look at."""
    usual = CorruptionRecipe()
    heeded = {"naive": ("steps", "share", "by"), "naive-pixelwise": ("by",)}.get(recipe.name, ())
    for name in ("steps", "share", "by"):
        value = getattr(recipe, name)
        require(
            name in heeded or value == getattr(usual, name),
            f"{name}={value} came for the corruption {recipe.name}, which has none: leave it out",
        )


def build_degradation(recipe: CorruptionRecipe, shape: Sequence[int]) -> Degradation:
    """The degradation, or several one after the other."""
    check_corruption(recipe)
    made = []
    for part in recipe.name.split(JOIN):
        make = CORRUPTIONS[part].make
        if make is None:
            raise EbbtideError(f"{part} is no degradation")
        made.append(make(recipe, shape))
    return made[0] if len(made) == 1 else Composed(*made)


def build_corruption(
    recipe: Recipe, event_shape: Sequence[int], limits: Limits | None, start: Start | None = None
) -> Corruption:
    """The recipe's corruption of examples of this shape. limits: what black and white are (None: no pictures).

    start: what is left of a degradation's pictures at t = 1, where it has been fitted.
    """
    chosen = recipe.corruption
    check_corruption(chosen)
    if chosen.name == GAUSSIAN:
        return GaussianCorruption(build_schedule(recipe.schedule))
    if limits is None or len(event_shape) != 3:
        raise EbbtideError(f"corruption.name={chosen.name!r} came for points: only Gaussian noise is for them")
    low, high = limits
    shape = (event_shape[0], event_shape[1], event_shape[2])
    if chosen.name == "naive":
        return CoinFlips(low=low, high=high, shape=shape, steps=chosen.steps, share=chosen.share, by=chosen.by)
    if chosen.name == "naive-pixelwise":
        return PixelByPixel(low=low, high=high, shape=shape, by=chosen.by)
    return ColdCorruption(degradation=build_degradation(chosen, shape), low=low, high=high, start=start)


def objective_of(
    recipe: Recipe, event_shape: Sequence[int], limits: Limits | None, start: Start | None = None
) -> ReadObjective:
    """What is minimised, whatever the corruption."""
    chosen = recipe.objective
    if recipe.corruption.name == GAUSSIAN:
        require(
            chosen.error == "squared",
            f"objective.error={chosen.error!r} came for Gaussian noise, whose losses are squared errors: leave it out",
        )
        check_corruption(recipe.corruption)
        return build_objective(chosen, build_schedule(recipe.schedule))
    _check_restoring(chosen, recipe.corruption.name)
    require(
        recipe.schedule == ScheduleRecipe(),
        f"schedule.name={recipe.schedule.name!r} (or another field of the schedule) came for the corruption "
        f"{recipe.corruption.name!r}, which has no levels of noise: leave it out",
    )
    kind = PreviousObjective if chosen.predicts == "previous" else RestoringObjective
    corruption = build_corruption(recipe, event_shape, limits, start)
    return kind(corruption=corruption, error=chosen.error, limits=limits, drop_condition=chosen.drop_labels)


def _check_restoring(recipe: ObjectiveRecipe, name: str) -> None:
    require(
        recipe.predicts in ("x0", "previous"),
        f"objective.predicts={recipe.predicts!r} came for the corruption {name!r}, which is no Gaussian noise: "
        "expected x0, or previous where it has steps",
    )
    plain = replace(recipe, predicts="v", drop_labels=0.1, error="squared") == ObjectiveRecipe()
    require(
        plain,
        f"objective.measured, weight, target or variance came for the corruption {name!r}, but they are about "
        "Gaussian noise",
    )


def fitted_start(corruption: ColdCorruption, dataset: Dataset) -> Start:
    """Where sampling will begin: the law of what is left of the data at t = 1."""
    some = dataset.batch(spread(len(dataset), examples_for(math.prod(dataset.event_shape)))).x0
    return fit_start(corruption.to_fit(some), spread=SPREAD * (corruption.high - corruption.low))
