"""A race: samplers at equal network evaluations, by distance to the data and to where endless steps would lead."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from ebbtide.conditions import Condition
from ebbtide.denoisers import GaussianDenoiser
from ebbtide.errors import EbbtideError, require
from ebbtide.evaluation.metrics import Influences, Measured, frechet, influences
from ebbtide.recipes.build import build_grid
from ebbtide.recipes.draw import BATCH, Density, Times, density_for, draw, grid_for, labels_for
from ebbtide.recipes.evaluate import Sketch
from ebbtide.recipes.recipe import SamplerName
from ebbtide.recipes.run import Run, drawn_by
from ebbtide.recipes.samplers import SAMPLERS, order_of
from ebbtide.times import nearest

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
    influences: Influences = field(repr=False, compare=False)

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        told = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "influences"}
        return told | {"to_data": asdict(self.to_data)}


def behind(laps: Sequence[Lap]) -> list[Measured]:
    """How much farther from the data each lap is than the nearest, with the error of that difference.

    All laps begin with the same noise and are held against the same examples, so that chance has less of a say in a
    difference than in a distance.
    """
    best = min(laps, key=lambda lap: lap.to_data.value)
    return [Measured(lap.to_data.value - best.to_data.value, (lap.influences - best.influences).error) for lap in laps]


def laps(run: Run, denoiser: GaussianDenoiser, settings: RaceSettings, real: Sketch) -> Iterator[int | Lap]:
    """All samplers, the fewest evaluations first; who cannot spend so few, or so many on this table, is left out.

    Between them the evaluations that were spent so far, each of one sample, of those that `evaluations_of` says.
    """
    spent, end = 0, []
    for done in _drawn(_reference_run(run, denoiser, settings), denoiser, settings, settings.compared):
        if isinstance(done, int):
            spent += done
            yield spent
        else:
            end.append(done)
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
            started, x = time.perf_counter(), []
            for done in _drawn(asked, denoiser, settings, settings.samples, grid):
                if isinstance(done, int):
                    spent += done
                    yield spent
                else:
                    x.append(done)
            speed = settings.samples / (time.perf_counter() - started)
            yield _lap(asked, real, torch.cat(x), torch.cat(end), budget, speed)


def evaluations_of(run: Run, denoiser: GaussianDenoiser, settings: RaceSettings) -> int:
    """Network evaluations of the whole race, each of one sample."""
    asked = [asked_for(run, name, budget) for name in settings.samplers for budget in settings.evaluations]
    each = sum(_evaluations_a_sample(one) for one in asked if one is not None)
    first = _evaluations_a_sample(_reference_run(run, denoiser, settings))
    return settings.samples * each + settings.compared * first


def seconds_an_evaluation(run: Run, denoiser: GaussianDenoiser, settings: RaceSettings) -> float:
    """Measured, of one sample in a batch: the second of two calls, as the first one sets things up."""
    count = min(BATCH, settings.samples)
    labels = labels_for(run, count)
    told = None if labels is None else Condition(label=labels).to(settings.device)
    x = torch.zeros(count, *run.data.event_shape, device=settings.device)
    t = nearest(denoiser.corruption.schedule, torch.full((count,), 0.5, dtype=torch.float64)).to(settings.device)
    with torch.inference_mode():
        denoiser(x, t, told)
        started = time.perf_counter()
        float(denoiser(x, t, told).x0.sum())  # a number is waited for
    return (time.perf_counter() - started) / count


def _evaluations_a_sample(run: Run) -> int:
    return run.recipe.sampling.steps * SAMPLERS[run.recipe.sampling.sampler].evaluations


def _drawn(
    run: Run, denoiser: GaussianDenoiser, settings: RaceSettings, count: int, grid: Times | None = None
) -> Iterator[int | Tensor]:
    """Samples batch by batch, and after each step of a batch how many evaluations it took."""
    options: dict[str, Any] = {"labels": labels_for(run, count), "device": settings.device, "grid": grid}
    for drawing in draw(run, denoiser, count, seed=settings.seed, **options):
        yield len(drawing.step.x) * SAMPLERS[run.recipe.sampling.sampler].evaluations
        if drawing.step.t == 0:
            yield drawing.step.x.cpu()


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


def _reference_run(run: Run, denoiser: GaussianDenoiser, settings: RaceSettings) -> Run:
    """What shows where the ODE leads from the same noise."""
    available = denoiser.corruption.schedule.steps
    steps = settings.reference_steps // SAMPLERS[REFERENCE].evaluations
    require(steps >= 1, f"{settings.reference_steps} evaluations came for the reference, expected 2 or more")
    return drawn_by(run, sampler=REFERENCE, steps=steps if available is None else min(steps, available))


def _lap(run: Run, real: Sketch, x: Tensor, end: Tensor, evaluations: int, speed: float) -> Lap:
    name = run.recipe.sampling.sampler
    sketch = Sketch(real.features)
    sketch.add(run.to_bytes(x).numpy() if run.data.is_image else x.numpy())
    moved = influences(sketch.moments, real.moments, sketch.rows, real.rows)
    off = None
    if not SAMPLERS[name].stochastic:
        same = min(len(end), len(x))
        off = float((x[:same] - end[:same]).square().mean().sqrt() / end.std())
    return Lap(
        sampler=name,
        evaluations=evaluations,
        steps=run.recipe.sampling.steps,
        a_step=SAMPLERS[name].evaluations,
        to_data=Measured(frechet(sketch.moments, real.moments), moved.error),
        to_reference=off,
        a_second=speed,
        influences=moved,
    )
