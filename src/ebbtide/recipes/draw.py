"""Drawing from a run: new samples, and real examples noised and restored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from ebbtide.conditions import Condition
from ebbtide.corruptions import ColdCorruption, Corruption, GaussianCorruption
from ebbtide.errors import EbbtideError, near_misses, require
from ebbtide.randomness import SampleGenerators
from ebbtide.recipes.build import build_grid, plain_grid
from ebbtide.recipes.recipe import Recipe
from ebbtide.recipes.run import Run
from ebbtide.recipes.samplers import SAMPLERS, build_sampler, check_sampler
from ebbtide.samplers import Renoise, SampleStep, generate, restore, sample, settled
from ebbtide.samplers.local_error import error_density
from ebbtide.times import nearest

BATCH = 256
MEASURED_ON = 16
"""Samples on whose paths the errors of steps are measured, for the grid `measured`."""


@dataclass(frozen=True)
class Drawing:
    """A step of one batch: samples `first` onwards are at `step`; the batch is done when step.t is 0."""

    first: int
    step: SampleStep


def labels_for(run: Run, count: int, label: str | None = None) -> Int[Tensor, " count"] | None:
    """The labels of `count` samples: the one asked for, or all classes in turn; None if the run knows no labels."""
    classes = run.data.classes
    if not classes:
        require(label is None, f"a label ({label!r}) came, but {run.path} was trained without labels")
        return None
    if label is None:
        return torch.arange(count) % len(classes)
    if label == "none":
        return torch.full((count,), -1)
    if label in classes:
        return torch.full((count,), classes.index(label))
    raise EbbtideError(
        f"there is no label {label!r}.{near_misses(label, classes)} Labels: {', '.join(classes)}, or none"
    )


def draw(
    run: Run,
    denoiser: Any,
    count: int,
    *,
    seed: int = 0,
    labels: Int[Tensor, " count"] | None = None,
    batch: int = BATCH,
    device: torch.device | str = "cpu",
    offset: int = 0,
) -> Iterator[Drawing]:
    """New samples 0..count-1 under this seed, batch by batch, step by step, by the run's sampling recipe.

    offset: samples offset..offset+count-1 instead, for those who draw a few at a time; labels are those of these.
    """
    require(count >= 1, f"{count} samples came, expected at least 1")
    require(batch >= 1, f"batches of {batch} came, expected at least 1")
    sampling = run.recipe.sampling
    check_sampler(sampling.sampler, run.recipe.objective.predicts, denoiser.corruption)
    sampler = build_sampler(sampling)
    grid = grid_for(run, denoiser, device=device)
    for first in range(0, count, batch):
        indices = range(offset + first, offset + min(first + batch, count))
        chosen = None if labels is None else Condition(label=labels[first : first + batch]).to(device)
        steps = generate(
            denoiser, sampler, grid, run.data.event_shape, indices, seed=seed, condition=chosen, device=device
        )
        for step in steps:
            yield Drawing(first, step)


def grid_for(
    run: Run,
    denoiser: Any,
    start: float = 1.0,
    steps: int | None = None,
    *,
    device: torch.device | str = "cpu",
) -> Float64[Tensor, " points"]:
    """The recipe's times, measured first where it asks for that; steps: another number than the recipe's."""
    sampling, density = run.recipe.sampling, None
    chosen = sampling if steps is None else replace(sampling, steps=steps)
    if not isinstance(denoiser.corruption, GaussianCorruption):
        return plain_grid(chosen, denoiser.corruption, start)
    if sampling.grid == "measured":
        first = SAMPLERS[sampling.sampler].order[0]
        order = int(first) if first.isdigit() else 1
        labels = labels_for(run, MEASURED_ON)
        told = None if labels is None else Condition(label=labels).to(device)
        density = error_density(
            denoiser, run.data.event_shape, order=order, samples=MEASURED_ON, condition=told, device=device
        )
    return build_grid(chosen, denoiser.corruption.schedule, start, density)


def check_drawing(recipe: Recipe, corruption: Corruption) -> None:
    """That the recipe's sampler fits, and its steps are to be had; an EbbtideError says what is not."""
    sampling = recipe.sampling
    check_sampler(sampling.sampler, recipe.objective.predicts, corruption)
    if isinstance(corruption, GaussianCorruption):
        build_grid(sampling, corruption.schedule)
    else:
        plain_grid(sampling, corruption)


def draw_all(run: Run, denoiser: Any, count: int, **options: object) -> Float[Tensor, "count *event"]:
    """The samples of `draw`, on the CPU."""
    drawings = draw(run, denoiser, count, **options)  # type: ignore[arg-type]
    return torch.cat([drawing.step.x.cpu() for drawing in drawings if drawing.step.t == 0])


def restore_examples(
    run: Run,
    denoiser: Any,
    x: Float[Tensor, "batch *event"],
    level: float,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    degraded: bool = False,
) -> tuple[Float[Tensor, "batch *event"], Iterator[SampleStep]]:
    """Examples corrupted to t = level, and the steps that bring them back, by the run's sampling recipe (item G8).

    As many steps as the recipe's, scaled by the level: half the way takes half of them. degraded: x is what is left at
    this level already. Where chance had a part in that nothing but the network's first answer can be had, in one step.
    """
    require(0 < level <= 1, f"a level of {level} came, expected more than 0 (clean) and at most 1 (noise)")
    corruption = denoiser.corruption
    start = float(nearest(corruption, torch.tensor(level, dtype=torch.float64)))
    steps = max(1, ceil(start * run.recipe.sampling.steps - 1e-9))
    if corruption.steps is not None:
        steps = min(steps, round(start * corruption.steps))
    check_sampler(run.recipe.sampling.sampler, run.recipe.objective.predicts, corruption)
    generator = SampleGenerators.of(seed, range(x.shape[0]))
    sampler = build_sampler(run.recipe.sampling)
    if degraded and isinstance(corruption, ColdCorruption) and corruption.chance(x.shape):
        steps, sampler = 1, Renoise()
    grid = grid_for(run, denoiser, start, steps, device=device)
    if not degraded:
        return restore(denoiser, sampler, grid, x.to(device), generator)
    return x, sample(settled(denoiser, x.shape, generator), sampler, grid, x.to(device), generator)
