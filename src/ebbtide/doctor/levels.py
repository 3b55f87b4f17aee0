"""Errors of denoising by noise level, on the same examples with the same noise: so two denoisers compare closely."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
from jaxtyping import Float64
from torch import Tensor

from ebbtide.conditions import Condition
from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers import GaussianDenoiser, GaussianEstimate
from ebbtide.doctor.finding import Progress
from ebbtide.randomness import generator_of, normal
from ebbtide.schedules import Schedule
from ebbtide.times import time_of

Result = TypeVar("Result")
POINTS = 10
LOW, HIGH = -7.0, 7.0
"""log-SNR between which is looked: beyond, nothing or everything is known."""
ENDS = 0.02
"""Share of the draws of t at each end of the schedule that is left out: there a network has seen little."""
BATCH = 128


@dataclass(frozen=True)
class Errors:
    """Mean square error of x0, a dimension, of each example at each time."""

    times: Float64[Tensor, " points"]
    log_snr: Float64[Tensor, " points"]
    values: Float64[Tensor, "points examples"]

    @property
    def mean(self) -> Float64[Tensor, " points"]:
        return self.values.mean(1)

    @property
    def standard_error(self) -> Float64[Tensor, " points"]:
        """Of the mean."""
        return self.values.std(1) / math.sqrt(self.values.shape[1])


@dataclass(frozen=True)
class Comparison:
    """How many times as large one error is as another, level by level, and by how many standard errors it differs."""

    ratio: Float64[Tensor, " points"]
    z: Float64[Tensor, " points"]

    @property
    def overall(self) -> float:
        """The ratio's geometric mean over the levels."""
        return float(self.ratio.log().mean().exp())

    @property
    def overall_z(self) -> float:
        """Standard errors of all levels together, as if independent."""
        return float(self.z.sum() / math.sqrt(len(self.z)))


def times_to_look_at(schedule: Schedule, points: int = POINTS) -> Float64[Tensor, " points"]:
    """Evenly spread over log-SNR, of what the schedule shows a network often enough; its own times, rising."""
    low, high = _times_nearest(schedule, torch.tensor([LOW, HIGH], dtype=torch.float64)).tolist()
    ends = torch.tensor([max(high, ENDS), min(low, 1 - ENDS)], dtype=torch.float64)
    if schedule.steps is not None:
        ends = (ends * schedule.steps).round().clamp(1, schedule.steps) / schedule.steps
    first, last = schedule.level(ends).log_snr.tolist()
    return _times_nearest(schedule, torch.linspace(first, last, points, dtype=torch.float64)).unique()


def _times_nearest(schedule: Schedule, log_snr: Tensor) -> Tensor:
    """The times at which the schedule is at these levels, or nearest to them."""
    if schedule.steps is None:
        return time_of(schedule, log_snr)
    times = torch.arange(1, schedule.steps + 1, dtype=torch.float64) / schedule.steps
    known = schedule.level(times).log_snr
    return times[(known - log_snr[:, None]).abs().argmin(1)]


def same_levels(schedule: Schedule, log_snr: Tensor) -> Float64[Tensor, " points"]:
    """The times of another schedule at these levels."""
    return _times_nearest(schedule, log_snr)


def errors_of(
    denoiser: GaussianDenoiser,
    times: Sequence[float] | Tensor,
    x0: Tensor,
    condition: Condition | None = None,
    **options: Any,
) -> Errors:
    """Those of `measuring`, at once."""
    return result_of(measuring("errors", denoiser, times, x0, condition, **options))


def result_of(work: Generator[Any, None, Result]) -> Result:
    """What a generator returns in the end, whatever it yields on the way."""
    while True:
        try:
            next(work)
        except StopIteration as ended:
            return cast(Result, ended.value)


def measuring(
    what: str,
    denoiser: GaussianDenoiser,
    times: Sequence[float] | Tensor,
    x0: Tensor,
    condition: Condition | None = None,
    *,
    shown_times: Tensor | None = None,
    seed: int = 0,
) -> Generator[Progress, None, Errors]:
    """Corrupt, denoise, compare; the noise of an example is the same for every denoiser and schedule.

    shown_times: what the denoiser is told instead of the time that is true. what: whose errors, for the progress that
    is yielded after each batch.
    """
    times = torch.as_tensor(times, dtype=torch.float64)
    told = times if shown_times is None else shown_times
    rows = []
    for index, t in enumerate(times):
        parts = []
        for first in range(0, len(x0), BATCH):
            some = x0[first : first + BATCH]
            asked = None if condition is None else condition[slice(first, first + BATCH)]
            with torch.inference_mode():  # not around a yield: it would be on in the caller
                xt = _noised(denoiser.corruption, some, t, seed, index, first)
                estimate = denoiser(xt, told[index].expand(len(some)), asked)
                parts.append((estimate.x0.double() - some.double()).square().flatten(1).mean(1).cpu())
            yield Progress(what, index * len(x0) + first + len(some), len(times) * len(x0))
        rows.append(torch.cat(parts))
    return Errors(times, denoiser.corruption.level(times).log_snr, torch.stack(rows))


@torch.inference_mode()
def answers_at(
    denoiser: GaussianDenoiser, t: Tensor, shown: Tensor, x0: Tensor, condition: Condition | None, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """What the network itself says of xt at t, told t, and told another time."""
    some, asked = x0[:BATCH], None if condition is None else condition[slice(0, BATCH)]
    xt = _noised(denoiser.corruption, some, t, seed, 0, 0)
    one, other = (denoiser(xt, time.expand(len(some)), asked) for time in (t, shown))
    return _prediction(one), _prediction(other)


def _prediction(estimate: GaussianEstimate) -> Tensor:
    return estimate.prediction.double()


def _noised(corruption: GaussianCorruption, x0: Tensor, t: Tensor, seed: int, index: int, first: int) -> Tensor:
    eps = normal(x0.shape, generator_of(seed, "doctor", index, first), dtype=x0.dtype, device=x0.device)
    return corruption.level(t.expand(len(x0))).mix(x0, eps).to(x0.dtype)


def compare(one: Errors, other: Errors) -> Comparison:
    """Of the same examples with the same noise: the standard error is that of their differences."""
    difference = one.values - other.values
    count = difference.shape[1]
    spread = difference.std(1, correction=min(1, count - 1)) / math.sqrt(count)
    freedom = torch.full_like(spread, count - 1)
    return Comparison(one.mean / other.mean, _z_score(difference.mean(1), spread, freedom))


def compare_apart(one: Errors, other: Errors) -> Comparison:
    """Of different examples (Welch 1947)."""
    squares = torch.stack([one.standard_error.square(), other.standard_error.square()])
    counts = torch.tensor([[one.values.shape[1] - 1], [other.values.shape[1] - 1]])
    freedom = squares.sum(0).square() / (squares.square() / counts).sum(0).clamp(min=1e-300)
    return Comparison(one.mean / other.mean, _z_score(one.mean - other.mean, squares.sum(0).sqrt(), freedom))


def _z_score(difference: Tensor, spread: Tensor, freedom: Tensor) -> Tensor:
    """The standard errors at which a normal law is as rare as Student's of so many degrees of freedom is here: of few
    examples a difference is soon many of its own standard errors by chance.

    (8 d + 1) / (8 d + 3) sqrt(d log(1 + r² / d)) for the ratio r (Wallace 1959, Annals of Mathematical Statistics 30).
    """
    ratio = difference / spread.clamp(min=1e-30)
    size = (freedom * torch.log1p(ratio.square() / freedom)).sqrt() * (8 * freedom + 1) / (8 * freedom + 3)
    return ratio.sign() * size.nan_to_num(0.0)  # not a number of one example, which cannot tell
