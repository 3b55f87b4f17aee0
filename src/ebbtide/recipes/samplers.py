"""Samplers as recipes name them: which options a recipe has for one, and whether it can serve the run."""

from __future__ import annotations

from typing import Any

from ebbtide.corruptions import ColdCorruption, Corruption, GaussianCorruption
from ebbtide.errors import require
from ebbtide.recipes.recipe import Recipe, SamplerName, SamplingRecipe
from ebbtide.samplers import SAMPLERS, Sampler, sampler
from ebbtide.samplers.edm import MOST_CHURN

__all__ = ["SAMPLERS", "build_sampler", "check_sampler", "check_sampling", "eta_of", "order_of"]

CHURN = 40.0
"""Noise that EDM's stochastic sampler adds over the whole way (Karras et al. use 0 to 80)."""


def eta_of(recipe: SamplingRecipe) -> float:
    """How much noise is added on the way."""
    usual = SAMPLERS[recipe.sampler].eta
    return (usual or 0.0) if recipe.eta is None else recipe.eta


def order_of(name: SamplerName) -> int:
    """The least order that it promises, 1 where it promises none."""
    first = SAMPLERS[name].order[0]
    return int(first) if first.isdigit() else 1


def build_sampler(recipe: SamplingRecipe) -> Sampler:
    """One step from noise towards data."""
    said = {"eta": eta_of(recipe), "variance": recipe.variance, "churn": min(CHURN / recipe.steps, MOST_CHURN)}
    has: tuple[str, ...] = SAMPLERS[recipe.sampler].options
    options: dict[str, Any] = {name: value for name, value in said.items() if name in has}
    return sampler(recipe.sampler, **options)


def check_sampler(name: SamplerName, predicts: str, corruption: Corruption) -> None:
    """That this sampler can work with a network that predicts so, about this corruption."""
    if isinstance(corruption, GaussianCorruption):
        fits = [other for other, about in SAMPLERS.items() if about.serves in ("gaussian", "any")]
    elif predicts == "previous":
        fits = [other for other, about in SAMPLERS.items() if about.serves == "previous"]
    else:
        wanted = ("any", "degradation") if isinstance(corruption, ColdCorruption) else ("any",)
        fits = [other for other, about in SAMPLERS.items() if about.serves in wanted]
    require(
        name in fits,
        f"the sampler {name} came for {_what(corruption)} with {predicts!r} predicted: expected one of "
        f"{', '.join(fits)}",
    )


def check_sampling(recipe: Recipe, corruption: Corruption, is_image: bool) -> None:
    """That the recipe's sampler fits, and nothing was chosen that it, or what it draws, would not look at."""
    chosen = recipe.sampling
    check_sampler(chosen.sampler, recipe.objective.predicts, corruption)
    with_eta = [name for name, about in SAMPLERS.items() if about.eta is not None]
    require(
        chosen.eta is None or chosen.sampler in with_eta,
        f"eta={chosen.eta} came with the sampler {chosen.sampler}, but only {', '.join(with_eta)} have an eta: choose "
        "one of them, or leave eta out",
    )
    require(
        chosen.variance != "learned" or recipe.objective.variance == "learned",
        "sampling.variance='learned' came for a network with objective.variance='fixed', which learns none: give "
        "posterior or step, or train with --objective hybrid",
    )
    require(
        chosen.threshold is None or is_image,
        f"sampling.threshold={chosen.threshold} came for points, which have no range to be held in: leave it out",
    )
    require(
        chosen.clip or isinstance(corruption, GaussianCorruption),
        "sampling.clip=False came for a corruption without noise, whose estimates are always held within the data's "
        "range: leave it out",
    )


def _what(corruption: Corruption) -> str:
    if isinstance(corruption, GaussianCorruption):
        return "Gaussian noise"
    return "a degradation" if isinstance(corruption, ColdCorruption) else "pixels set at random"
