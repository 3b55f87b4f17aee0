"""A race: samplers at equal network evaluations, by distance to the data and to where endless steps would lead."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from ebbtide.denoisers import GaussianDenoiser
from ebbtide.errors import EbbtideError, require
from ebbtide.evaluation.metrics import Measured, frechet, frechet_error
from ebbtide.recipes.build import build_grid
from ebbtide.recipes.draw import Density, Times, density_for, draw_all, grid_for, labels_for
from ebbtide.recipes.evaluate import Sketch
from ebbtide.recipes.recipe import SamplerName
from ebbtide.recipes.run import Run, drawn_by
from ebbtide.recipes.samplers import SAMPLERS, order_of

REFERENCE: SamplerName = "heun"
"""Second order and without memory: with 500 steps, 1,000 evaluations, its path is that of the ODE."""


@dataclass(frozen=True, kw_only=True)
class RaceSettings:
    """What is asked; see the options of `ebbtide race`. compared: samples whose paths' ends are compared."""

    samplers: tuple[SamplerName, ...]
    evaluations: tuple[int, ...]
    samples: int = 1000
    compared: int = 64
    reference_steps: int = 1000
    seed: int = 0
    device: str = "cpu"


@dataclass(frozen=True, kw_only=True)
class Lap:
    """One sampler at one number of evaluations (steps times a_step, or a few fewer).

    to_data: Fréchet distance. to_reference: root mean square, in standard deviations of the reference's numbers; None
    for stochastic samplers, which lead elsewhere each time.
    """

    sampler: str
    evaluations: int
    steps: int
    a_step: int
    to_data: Measured
    to_reference: float | None
    a_second: float

    def plain(self) -> dict[str, Any]:
        return asdict(self)


def laps(run: Run, denoiser: GaussianDenoiser, settings: RaceSettings, real: Sketch) -> Iterator[Lap]:
    """All samplers, the fewest evaluations first; who cannot spend so few, or so many on this table, is left out."""
    end = reference(run, denoiser, settings)
    densities: dict[int, Density | None] = {}
    for budget in settings.evaluations:
        for name in settings.samplers:
            asked = asked_for(run, name, budget)
            if asked is None:
                continue
            order = order_of(name)
            if order not in densities:
                densities[order] = density_for(asked, denoiser, device=settings.device)
            grid = grid_for(asked, denoiser, device=settings.device, density=densities[order])
            yield _lap(asked, denoiser, settings, real, name, budget, end, grid)


def asked_for(run: Run, name: SamplerName, evaluations: int) -> Run | None:
    """The run, sampled so with so many evaluations; None where that is not possible."""
    cost = SAMPLERS[name].evaluations
    if cost == 0 or evaluations < cost:
        return None
    steps = evaluations // cost
    asked = drawn_by(run, sampler=name, steps=steps)
    try:
        build_grid(asked.recipe.sampling, run.gaussian_objective().corruption.schedule)
    except EbbtideError:
        return None
    return asked


def reference(run: Run, denoiser: GaussianDenoiser, settings: RaceSettings) -> Tensor:
    """Where the ODE leads from the same noise."""
    available = denoiser.corruption.schedule.steps
    steps = settings.reference_steps // SAMPLERS[REFERENCE].evaluations
    require(steps >= 1, f"{settings.reference_steps} evaluations came for the reference, expected 2 or more")
    steps = steps if available is None else min(steps, available)
    asked = drawn_by(run, sampler=REFERENCE, steps=steps)
    labels = labels_for(run, settings.compared)
    return draw_all(asked, denoiser, settings.compared, seed=settings.seed, labels=labels, device=settings.device)


def _lap(
    run: Run,
    denoiser: GaussianDenoiser,
    settings: RaceSettings,
    real: Sketch,
    name: SamplerName,
    evaluations: int,
    end: Tensor,
    grid: Times,
) -> Lap:
    started = time.perf_counter()
    labels = labels_for(run, settings.samples)
    asked: dict[str, Any] = {"seed": settings.seed, "labels": labels, "device": settings.device, "grid": grid}
    x = draw_all(run, denoiser, settings.samples, **asked)
    seconds = time.perf_counter() - started
    sketch = Sketch(real.features)
    sketch.add(run.to_bytes(x).numpy() if run.data.is_image else x.numpy())
    distance = Measured(
        frechet(sketch.moments, real.moments), frechet_error(sketch.moments, real.moments, sketch.rows, real.rows)
    )
    off = None
    if not SAMPLERS[name].stochastic:
        same = min(len(end), len(x))
        off = float((x[:same] - end[:same]).square().mean().sqrt() / end.std())
    return Lap(
        sampler=name,
        evaluations=evaluations,
        steps=run.recipe.sampling.steps,
        a_step=SAMPLERS[name].evaluations,
        to_data=distance,
        to_reference=off,
        a_second=settings.samples / seconds,
    )
