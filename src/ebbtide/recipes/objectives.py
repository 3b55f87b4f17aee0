"""Losses by the names that the lectures and papers give them: `ebbtide train digits --objective NAME`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from ebbtide.levels import STEP_KINDS
from ebbtide.recipes.recipe import ObjectiveRecipe, Recipe

ObjectiveName = Literal[
    "v", "simple", "x0", "score", "mean", "mean-weighted", "noise-weighted", "previous", "step-noise", "min-snr",
    "bound", "hybrid",
]  # fmt: skip
STEPS = 1000
"""Of the table that a loss about single steps is given where the recipe's schedule is continuous."""


@dataclass(frozen=True)
class NamedObjective:
    """A loss, and a line about it with its item of docs/lectures.md."""

    recipe: ObjectiveRecipe
    about: str


def _named(about: str, **fields: object) -> NamedObjective:
    return NamedObjective(ObjectiveRecipe(**fields), about)  # type: ignore[arg-type]


OBJECTIVES: dict[ObjectiveName, NamedObjective] = {
    "v": _named("error of v: the default", predicts="v"),
    "simple": _named("E4: error of the noise, all levels alike; Ho et al.'s", predicts="eps"),
    "x0": _named("E5: error of the data", predicts="x0"),
    "score": _named("E7: denoising score matching, unweighted", predicts="score"),
    "mean": _named("E2, unweighted: error of the posterior's mean", predicts="previous"),
    "mean-weighted": _named("E2: the mean's error over twice the variance", predicts="previous", weight="bound"),
    "noise-weighted": _named("E3: the noise's error, weighted as in the bound", predicts="eps", weight="bound"),
    "previous": _named("D1, E1: error to a drawn previous latent", predicts="previous", target="sampled"),
    "step-noise": _named("D4, E6: error to the drawn noise of a single step", predicts="step_noise", target="sampled"),
    "min-snr": _named("v predicted, error of the data times min(SNR, 5)", predicts="v", weight="min-snr"),
    "bound": _named("v predicted, weighted as in the bound", predicts="v", weight="bound"),
    "hybrid": _named("D7: the noise, and the variance of each step too", predicts="eps", variance="learned"),
}
assert set(OBJECTIVES) == set(get_args(ObjectiveName))


def with_objective(recipe: Recipe, name: ObjectiveName) -> Recipe:
    """The recipe with another loss; one about single steps makes a table of a continuous schedule."""
    return with_steps(with_fields(recipe, name))


def with_fields(recipe: Recipe, name: ObjectiveName) -> Recipe:
    """The recipe with the fields of another loss, which can still be changed one by one; `with_steps` then fits it."""
    return replace(recipe, objective=replace(OBJECTIVES[name].recipe, drop_labels=recipe.objective.drop_labels))


def with_steps(recipe: Recipe) -> Recipe:
    """The recipe with a table in the place of a continuous schedule, if its loss is about single steps."""
    objective = recipe.objective
    about_steps = objective.predicts in STEP_KINDS or objective.variance == "learned"
    continuous = recipe.schedule.steps is None and recipe.schedule.name in ("normal", "cosine", "sigmoid")
    schedule = replace(recipe.schedule, steps=STEPS) if about_steps and continuous else recipe.schedule
    return replace(recipe, schedule=schedule)


def objectives_in_words() -> str:
    """The losses, a line each."""
    return "\n".join(["objectives:", *(f"  {name:15}{found.about}" for name, found in OBJECTIVES.items())])
