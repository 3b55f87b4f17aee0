"""Drawing from a run: new samples, and real examples noised and restored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from math import ceil
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from ebbtide.conditions import NO_LABEL, Condition
from ebbtide.corruptions import ColdCorruption, GaussianCorruption
from ebbtide.data import Dataset
from ebbtide.errors import EbbtideError, near_misses, require
from ebbtide.randomness import SampleGenerators, generator_of
from ebbtide.recipes.build import build_grid, outputs_of, plain_grid
from ebbtide.recipes.run import Run
from ebbtide.recipes.samplers import build_sampler, check_sampling, order_of
from ebbtide.samplers import Renoise, SampleStep, generate, restore, sample, settled
from ebbtide.samplers.local_error import error_density
from ebbtide.times import nearest

Times = Float64[Tensor, " points"]
Density = tuple[Tensor, Tensor]
"""Levels, and how many steps each deserves."""
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


def own_labels(run: Run, dataset: Dataset, indices: Tensor | np.ndarray) -> Int[Tensor, " count"] | None:
    """The labels that these examples have, as the run counts its classes: -1 where an example has none, or one that
    the run has not learned; None if the run knows no labels."""
    classes = run.data.classes
    if not classes:
        return None
    if dataset.labels is None:
        return torch.full((len(indices),), NO_LABEL)
    known = [classes.index(name) if name in classes else NO_LABEL for name in dataset.classes]
    return torch.tensor([*known, NO_LABEL])[torch.from_numpy(dataset.labels)[torch.as_tensor(indices)]]


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
    grid: Times | None = None,
) -> Iterator[Drawing]:
    """New samples 0..count-1 under this seed, batch by batch, step by step, by the run's sampling recipe.

    offset: samples offset..offset+count-1 instead, and grid: the times of their steps (`grid_for`), for those who draw
    a few at a time; labels are those of these.
    """
    require(count >= 1, f"{count} samples came, expected at least 1")
    require(batch >= 1, f"batches of {batch} came, expected at least 1")
    sampling = run.recipe.sampling
    check_sampling(run.recipe, denoiser.corruption, run.data.is_image)
    sampler = build_sampler(sampling)
    grid = grid_for(run, denoiser, device=device) if grid is None else grid
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
    density: Density | None = None,
) -> Times:
    """The recipe's times, measured first where it asks for that; steps: another number than the recipe's.

    density: what was measured of this denoiser before (`density_for`).
    """
    sampling = run.recipe.sampling
    chosen = sampling if steps is None else replace(sampling, steps=steps)
    if not isinstance(denoiser.corruption, GaussianCorruption):
        return plain_grid(chosen, denoiser.corruption, start)
    density = density or density_for(run, denoiser, device=device)
    return build_grid(chosen, denoiser.corruption.schedule, start, density)


def density_for(run: Run, denoiser: Any, *, device: torch.device | str = "cpu") -> Density | None:
    """Where steps of the recipe's sampler err with this denoiser, if its grid goes by that; else None."""
    if run.recipe.sampling.grid != "measured":
        return None
    labels = labels_for(run, MEASURED_ON)
    told = None if labels is None else Condition(label=labels).to(device)
    order = order_of(run.recipe.sampling.sampler)
    return error_density(
        denoiser, run.data.event_shape, order=order, samples=MEASURED_ON, condition=told, device=device
    )


def check_drawing(run: Run) -> None:
    """That the run can be drawn from as its recipe says, known without any weights; raises EbbtideError if it cannot.

    It is tried: a network that always answers zero takes the place of the run's own for the first two steps. So
    whatever the sampler, its grid, the kind of prediction and the schedule ask of one another shows at once.
    """
    recipe, outputs = run.recipe, outputs_of(run.recipe.objective)
    denoiser = run.read(lambda x, t, condition: x.repeat(1, outputs, *[1] * (x.ndim - 2)) * 0)
    check_sampling(recipe, denoiser.corruption, run.data.is_image)
    grid = grid_for(run, denoiser)
    x, generator = torch.zeros(2, *run.data.event_shape), generator_of("tried")
    tried = sample(settled(denoiser, x.shape, generator), build_sampler(recipe.sampling), grid, x, generator)
    for _ in islice(tried, 2):
        pass


def draw_all(run: Run, denoiser: Any, count: int, **options: object) -> Float[Tensor, "count *event"]:
    """The samples of `draw`, on the CPU."""
    drawings = draw(run, denoiser, count, **options)  # type: ignore[arg-type]
    return torch.cat([drawing.step.x.cpu() for drawing in drawings if drawing.step.t == 0])


def grid_back(run: Run, denoiser: Any, level: float, *, device: torch.device | str = "cpu") -> Times:
    """The times of the way back from t = level: as many steps as the recipe's, scaled by it (half of them from 0.5 on).

    The first of them is the level that examples are corrupted to, and that the network is told: the nearest to the one
    asked for which the corruption knows and the grid begins at.
    """
    require(0 < level <= 1, f"a level of {level} came, expected more than 0 (clean) and at most 1 (noise)")
    corruption = denoiser.corruption
    start = float(nearest(corruption, torch.tensor(level, dtype=torch.float64)))
    steps = max(1, ceil(start * run.recipe.sampling.steps - 1e-9))
    if corruption.steps is not None:
        steps = min(steps, round(start * corruption.steps))
    return grid_for(run, denoiser, start, steps, device=device)


def restore_examples(
    run: Run,
    denoiser: Any,
    x: Float[Tensor, "batch *event"],
    grid: Times,
    *,
    seed: int = 0,
    offset: int = 0,
    labels: Int[Tensor, " batch"] | None = None,
    device: torch.device | str = "cpu",
    degraded: bool = False,
) -> tuple[Float[Tensor, "batch *event"], Iterator[SampleStep]]:
    """Examples corrupted to t = grid[0] (`grid_back`), and the steps that bring them back, by the run's sampler (G8).

    They are examples offset, offset + 1, ... under this seed: what chance does to each is the same in any batch.
    labels: what the network is told of them. degraded: x is what is left at this level already. Where chance had a part
    in that nothing but the network's first answer can be had, in one step.
    """
    corruption = denoiser.corruption
    check_sampling(run.recipe, corruption, run.data.is_image)
    generator = SampleGenerators.of(seed, range(offset, offset + x.shape[0]))
    sampler = build_sampler(run.recipe.sampling)
    told = None if labels is None else Condition(label=labels).to(device)
    if degraded and isinstance(corruption, ColdCorruption) and corruption.chance(x.shape):
        grid, sampler = grid[[0, -1]], Renoise()
    if not degraded:
        return restore(denoiser, sampler, grid, x.to(device), generator, told)
    return x, sample(settled(denoiser, x.shape, generator), sampler, grid, x.to(device), generator, told)
