"""Drawing from a run: new samples, and real examples noised and restored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from ebbtide.conditions import Condition
from ebbtide.denoisers import GaussianDenoiser
from ebbtide.errors import EbbtideError, near_misses, require
from ebbtide.randomness import SampleGenerators
from ebbtide.recipes.build import build_grid
from ebbtide.recipes.run import Run
from ebbtide.recipes.samplers import SAMPLERS, build_sampler
from ebbtide.samplers import SampleStep, generate, restore
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
    denoiser: GaussianDenoiser,
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
    denoiser: GaussianDenoiser,
    start: float = 1.0,
    steps: int | None = None,
    *,
    device: torch.device | str = "cpu",
) -> Float64[Tensor, " points"]:
    """The recipe's times, measured first where it asks for that; steps: another number than the recipe's."""
    sampling, density = run.recipe.sampling, None
    if sampling.grid == "measured":
        first = SAMPLERS[sampling.sampler].order[0]
        order = int(first) if first.isdigit() else 1
        labels = labels_for(run, MEASURED_ON)
        told = None if labels is None else Condition(label=labels).to(device)
        density = error_density(
            denoiser, run.data.event_shape, order=order, samples=MEASURED_ON, condition=told, device=device
        )
    chosen = sampling if steps is None else replace(sampling, steps=steps)
    return build_grid(chosen, denoiser.corruption.schedule, start, density)


def draw_all(run: Run, denoiser: GaussianDenoiser, count: int, **options: object) -> Float[Tensor, "count *event"]:
    """The samples of `draw`, on the CPU."""
    drawings = draw(run, denoiser, count, **options)  # type: ignore[arg-type]
    return torch.cat([drawing.step.x.cpu() for drawing in drawings if drawing.step.t == 0])


def restore_examples(
    run: Run,
    denoiser: GaussianDenoiser,
    x0: Float[Tensor, "batch *event"],
    level: float,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> tuple[Float[Tensor, "batch *event"], Iterator[SampleStep]]:
    """Examples noised to t = level, and the steps that bring them back, by the run's sampling recipe (item G8).

    As many steps as the recipe's, scaled by the level: half the way takes half of them.
    """
    require(0 < level <= 1, f"a level of {level} came, expected more than 0 (clean) and at most 1 (noise)")
    schedule = denoiser.corruption.schedule
    start = float(nearest(schedule, torch.tensor(level, dtype=torch.float64)))
    steps = max(1, ceil(start * run.recipe.sampling.steps - 1e-9))
    if schedule.steps is not None:
        steps = min(steps, round(start * schedule.steps))
    generator = SampleGenerators.of(seed, range(x0.shape[0]))
    grid = grid_for(run, denoiser, start, steps, device=device)
    return restore(denoiser, build_sampler(run.recipe.sampling), grid, x0.to(device), generator)
