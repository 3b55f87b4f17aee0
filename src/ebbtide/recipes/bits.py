"""How many bits a run's data cost: the bound with its parts, the exact likelihood, and codes without a network."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from ebbtide.conditions import Condition
from ebbtide.data import Dataset
from ebbtide.data.dataset import spread
from ebbtide.denoisers import GaussianDenoiser, Variance
from ebbtide.errors import require
from ebbtide.guidance import bare
from ebbtide.likelihood.bound import Bound, aimed, bounds, joined
from ebbtide.likelihood.ladder import Ladder, Limit, Steps
from ebbtide.likelihood.ode import continuous, log_prob_by_ode, solver
from ebbtide.likelihood.reconstruction import GaussianBins, GaussianDensity, Reconstruction, bin_width
from ebbtide.randomness import SampleGenerators, generator_of, normal, seed_of
from ebbtide.recipes.run import Run, Weights
from ebbtide.recipes.run_data import RunData, data_of
from ebbtide.times import time_of

AIM_WITH = 16
"""Examples that are looked at first, to see at which levels the bound is paid."""
ODE_TOLERANCE = 1e-4
"""Of a step, relative; a float32 network asks for no less."""
MOST_LOG_SNR = 40.0
"""Noise of 2e-9 of the data's deviation: beyond it float32 sees none."""
POINTS_LOG_SNR = 9.0
"""Where the bound of real numbers begins: noise of a hundredth of their deviation."""


@dataclass(frozen=True, kw_only=True)
class BitsSettings:
    """What is asked; see the options of `ebbtide bits`."""

    source: str | None = None
    split: Literal["train", "test"] = "test"
    labels: bool = True
    examples: int = 1000
    levels: int = 64
    chain: int | None = None
    full: bool = False
    variance: Variance | None = None
    highest: float | None = None
    first_noise: float = 1.0
    seed: int = 0
    weights: Weights = "average"
    device: str = "cpu"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A run, made ready to be asked for bits."""

    run: Run
    settings: BitsSettings
    denoiser: GaussianDenoiser
    data: RunData
    dataset: Dataset
    ladder: Ladder

    @property
    def examples(self) -> Dataset:
        """Those that are measured, spread over the set."""
        return self.dataset.subset(spread(len(self.dataset), self.settings.examples))

    def reconstruction(self) -> Reconstruction:
        """The last decoder that needs no training."""
        return GaussianBins(self.run.data.value_range) if self.run.data.is_image else GaussianDensity()


def ask(run: Run, settings: BitsSettings, data: RunData | None = None) -> Asked:
    """Check everything, load the newest checkpoint and the data, unless these were found before."""
    require(settings.examples >= 1, f"{settings.examples} examples came, expected at least 1")
    denoiser = run.denoiser(settings.device, settings.weights)
    data = data or data_of(run, settings.source)
    dataset = data.whole(settings.split)
    require(
        dataset.event_shape == run.data.event_shape,
        f"{dataset.name} has {settings.split} examples of shape {_by(dataset.event_shape)}, but {run.path} was trained "
        f"on {_by(run.data.event_shape)}: give data of that shape (--data)",
    )
    labels = settings.labels and dataset.labels is not None and bool(run.data.classes)
    require(
        not labels or dataset.classes == run.data.classes,
        f"{dataset.name} has classes {', '.join(dataset.classes[:5])}.., but {run.path} learned "
        f"{', '.join(run.data.classes[:5])}..: give data with the same ones",
    )
    if not labels:
        dataset = replace(dataset, labels=None, classes=())
    return Asked(
        run=run, settings=settings, denoiser=denoiser, data=data, dataset=dataset, ladder=_ladder(run, settings)
    )


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _ladder(run: Run, settings: BitsSettings) -> Ladder:
    schedule = run.gaussian_objective().corruption.schedule
    learned = run.recipe.objective.variance == "learned"
    variance = settings.variance or ("learned" if learned else "step")
    require(
        variance != "learned" or learned,
        f"--variance learned came, but {run.path} was trained with a fixed variance: step or posterior",
    )
    if schedule.steps is None and settings.chain is None:
        require(not settings.full, "--full came for a schedule in continuous time: say how many steps, --chain 1000")
        require(
            settings.variance is None,
            f"--variance {settings.variance} came for the limit of many steps, where none is left: add --chain 1000",
        )
        highest = highest_log_snr(run, settings.first_noise) if settings.highest is None else settings.highest
        limit = Limit(schedule, highest)
        lowest = limit.ends[1]
        require(highest <= MOST_LOG_SNR, f"--highest {highest:g} came, expected from {lowest:g} to {MOST_LOG_SNR:g}")
        return limit
    require(
        settings.highest is None,
        "--highest came for a chain of steps, whose first step is the schedule's own: leave it out",
    )
    ladder = Steps.of(schedule, settings.chain, variance)
    require(len(ladder.times) >= 2, "a chain of one step came, between whose ends nothing is paid: expected 2 or more")
    return ladder


def highest_log_snr(run: Run, first_noise: float = 1.0) -> float:
    """Where the chain begins in the limit of many steps: noise of so many bytes of the data, relative to its signal."""
    if not run.data.is_image:
        return POINTS_LOG_SNR
    return -2 * math.log(first_noise * bin_width(run.data.value_range))


def measure(asked: Asked, reconstruction: Reconstruction) -> Iterator[Bound]:
    """The bound of the examples, a few at a time."""
    settings, data = asked.settings, asked.examples
    density = None
    if not settings.full:
        pilot, told = _batch(asked, data.subset(spread(len(data), AIM_WITH)))
        with torch.inference_mode():
            density = aimed(asked.denoiser, asked.ladder, pilot, condition=told, seed=settings.seed)
    x0, told = _batch(asked, data)
    parts = bounds(
        asked.denoiser,
        asked.ladder,
        x0,
        reconstruction,
        levels=None if settings.full else settings.levels,
        density=density,
        condition=told,
        seed=settings.seed,
    )
    while True:
        with torch.inference_mode():
            part = next(parts, None)
        if part is None:
            return
        yield part


def _batch(asked: Asked, data: Dataset) -> tuple[Tensor, Condition | None]:
    batch = data.batch(torch.arange(len(data))).to(asked.settings.device)
    return batch.x0, batch.condition if data.labels is not None else None


@dataclass(frozen=True, kw_only=True)
class ExactBits:
    """-log p by the ODE of some examples, nats each; z1 was at this highest log-SNR."""

    nats: Tensor
    evaluations: int
    examples: int
    highest: float


def measure_exactly(
    asked: Asked, reconstruction: Reconstruction, count: int, *, probes: int = 1
) -> Iterator[ExactBits]:
    """The likelihood by the probability-flow ODE, one batch at a time.

    Images are dequantised by the noise at z1 itself: with z1 = alpha x0 + sigma eps,

        -log P(x0) <= -log p(z1) - log P(x0 | z1) + log q(z1 | x0)        averaged over eps

    p(z1) exact by the ODE, P(x0 | z1) from the last decoder. Real numbers need none: z1 = alpha x0 at little noise.
    """
    data = asked.examples
    some = data.subset(spread(len(data), count))
    denoiser = _smooth(asked)
    first = asked.ladder.first
    for start in range(0, len(some), 16):
        indices = range(start, min(start + 16, len(some)))
        x0, told = _batch(asked, some.subset(list(indices)))
        t = torch.full((len(indices),), first, dtype=torch.float64)
        level = denoiser.corruption.level(t)
        eps = normal(x0.shape, SampleGenerators.of(seed_of(asked.settings.seed, "ode"), indices), device=x0.device)
        if not asked.run.data.is_image:
            eps = torch.zeros_like(eps)
        z = level.mix(x0, eps)
        exact = x0[0].numel() <= 4
        found = log_prob_by_ode(
            denoiser,
            z,
            first=first,
            trace="exact" if exact else "hutchinson",
            generator=generator_of(asked.settings.seed, "trace", start),
            probes=probes,
            tolerance=ODE_TOLERANCE,
            condition=told,
        )
        nats = -found.nats.cpu()
        if asked.run.data.is_image:
            with torch.inference_mode():
                nats += reconstruction(asked.denoiser(z, t, told), x0).cpu()
            own = eps.double().square() + (2 * math.pi * level.sigma[0].square()).log()
            nats -= 0.5 * own.flatten(1).sum(1).cpu()
        else:
            nats -= x0[0].numel() * level.alpha.log()
        highest = float(level.log_snr[0])
        yield ExactBits(nats=nats, evaluations=found.evaluations, examples=len(indices), highest=highest)


def check_ode(asked: Asked) -> None:
    """That there is a solver, and an ODE for it: known before the work, not after it."""
    solver()
    continuous(asked.denoiser)


def _smooth(asked: Asked) -> GaussianDenoiser:
    """The denoiser in float32 and without clipping: an adaptive solver wants a smooth right-hand side."""
    run, settings = asked.run, asked.settings
    training = replace(run.recipe.training, precision="fp32")
    denoiser = replace(run, recipe=replace(run.recipe, training=training)).denoiser(settings.device, settings.weights)
    return bare(denoiser)


def summary(asked: Asked, bound: Bound) -> dict[str, Any]:
    """The result as plain JSON: what RUN/bits.json holds and its picture shows."""
    data, d = asked.run.data, bound.dimensions
    order = bound.log_snr.argsort()
    width = (data.range[1] - data.range[0]) / 255 if data.is_image else 1.0
    return {
        "data": asked.dataset.name,
        "split": asked.settings.split,
        "labels": asked.dataset.labels is not None,
        "learned_from": asked.settings.split == "train" and asked.settings.source is None,
        "examples": len(bound),
        "images": data.is_image,
        "dimensions": d,
        "limit": isinstance(asked.ladder, Limit),
        "steps": None if asked.ladder.rungs is None else len(asked.ladder.rungs) + 1,
        "bits": bound.bits,
        "noise_error": bound.noise_error,
        "example_error": bound.example_error if len(bound) > 1 else None,
        "parts": {name: bound.in_bits(getattr(bound, name)) for name in ("prior", "steps", "reconstruction")},
        "log_snr": bound.log_snr[order].tolist(),
        "t": _times(asked.ladder, bound.log_snr[order]).tolist(),
        "rate": _numbers((bound.rate / d / math.log(2))[order]),
        "width": bound.width[order].tolist(),
        "distortion": _numbers(((bound.error / d).sqrt() / width)[order]),
    }


def _numbers(values: Tensor) -> list[float | None]:
    """JSON has no NaN: a bin that no level fell into is null."""
    return [value if math.isfinite(value) else None for value in values.tolist()]


def _times(ladder: Ladder, log_snr: Tensor) -> Tensor:
    """When the chain, or its limit, is at these levels."""
    schedule = ladder.schedule
    if schedule.steps is None:
        return time_of(schedule, log_snr)
    times = torch.arange(1, schedule.steps + 1, dtype=torch.float64) / schedule.steps
    known = schedule.level(times).log_snr
    return times[torch.searchsorted(-known, -log_snr).clamp(max=schedule.steps - 1)]


def join(parts: list[Bound]) -> Bound:
    """All parts of `measure` as one."""
    return joined(parts)
