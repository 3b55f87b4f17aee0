"""Where along log-SNR the bound is paid: the rungs of a T-step chain, or every level in the limit of many steps.

Either way the middle of the bound is an integral over log-SNR,

    sum_l L_{l-1} = ∫ f(λ) dλ,      f = L_{l-1} / (λ_{l-1} - λ_l) on the rung between z_l and z_{l-1}
                                    f = ½ E‖eps - eps_hat‖²       in the limit

so one estimate serves both: levels drawn with density g along λ, each counted f/g. f is bounded (by d/2 for a denoiser
that is any good), whatever the schedule.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from ebbtide.conditions import Condition
from ebbtide.denoisers.estimate import GaussianDenoiser
from ebbtide.errors import require
from ebbtide.likelihood.terms import DecoderVariance, Term, limit_term, step_term
from ebbtide.schedules import Schedule
from ebbtide.times import time_of

LEAST_LOG_SNR = -40.0
"""Stands for -inf: alpha = 2e-9."""


@runtime_checkable
class Ladder(Protocol):
    """What the estimate asks for."""

    @property
    def schedule(self) -> Schedule:
        """t -> Level."""

    @property
    def first(self) -> float:
        """The time of z_1."""

    @property
    def ends(self) -> tuple[float, float]:
        """The highest and the lowest log-SNR, those of z_1 and of z_T."""

    @property
    def rungs(self) -> Float64[Tensor, " rungs"] | None:
        """A log-SNR inside of each rung, if there are finitely many."""

    def width(self, log_snr: Float64[Tensor, " batch"]) -> Float64[Tensor, " batch"]:
        """λ_{l-1} - λ_l of the rung at this log-SNR; 1 in the limit."""

    def term(
        self,
        denoiser: GaussianDenoiser,
        x0: Float[Tensor, "batch *event"],
        eps: Float[Tensor, "batch *event"],
        log_snr: Float64[Tensor, " batch"],
        condition: Condition | None,
    ) -> Term:
        """f width, in nats, and the error of x0."""


@dataclass(frozen=True)
class Steps:
    """The chain z_1..z_T at these rising times, with this variance of the decoder."""

    schedule: Schedule
    times: Float64[Tensor, " steps"]
    variance: DecoderVariance = "posterior"

    def __post_init__(self) -> None:
        rising = self.times.ndim == 1 and len(self.times) > 0 and bool((self.times.diff() > 0).all())
        require(
            rising and float(self.times[0]) > 0 and float(self.times[-1]) == 1,
            "times of a chain came that do not rise from more than 0 to 1",
        )

    @classmethod
    def of(cls, schedule: Schedule, steps: int | None = None, variance: DecoderVariance = "posterior") -> Steps:
        """All steps of a table, or `steps` even ones of it or of a continuous schedule."""
        count = schedule.steps if steps is None else steps
        require(count is not None, "a continuous schedule has no steps of its own: say how many the bound should have")
        assert count is not None
        fits = count >= 1 and (schedule.steps is None or count <= schedule.steps)
        require(fits, f"{count} steps of the bound came, expected from 1 to {schedule.steps or 'any number'}")
        times = torch.arange(1, count + 1, dtype=torch.float64) / count
        if schedule.steps is not None:
            times = (times * schedule.steps).round() / schedule.steps
        return cls(schedule, times, variance)

    @cached_property
    def _log_snr(self) -> Tensor:
        return self.schedule.level(self.times).log_snr.clamp(min=LEAST_LOG_SNR)

    @property
    def first(self) -> float:
        return float(self.times[0])

    @property
    def ends(self) -> tuple[float, float]:
        return float(self._log_snr[0]), float(self._log_snr[-1])

    @property
    def rungs(self) -> Float64[Tensor, " rungs"]:
        return (self._log_snr[1:] + self._log_snr[:-1]) / 2

    def width(self, log_snr: Float64[Tensor, " batch"]) -> Float64[Tensor, " batch"]:
        upper = self._upper(log_snr)
        return self._log_snr[upper] - self._log_snr[upper + 1]

    def term(
        self,
        denoiser: GaussianDenoiser,
        x0: Float[Tensor, "batch *event"],
        eps: Float[Tensor, "batch *event"],
        log_snr: Float64[Tensor, " batch"],
        condition: Condition | None,
    ) -> Term:
        upper = self._upper(log_snr)
        return step_term(denoiser, x0, eps, self.times[upper], self.times[upper + 1], self.variance, condition)

    def _upper(self, log_snr: Tensor) -> Int64[Tensor, " batch"]:
        """Which of z_1..z_{T-1} is the upper end of the rung."""
        rising = -self._log_snr
        return (torch.searchsorted(rising, -log_snr, right=True) - 1).clamp(0, len(self.times) - 2)


@dataclass(frozen=True)
class Limit:
    """Every level from the highest log-SNR, that of z_1, to t = 1; the schedule is continuous."""

    schedule: Schedule
    highest: float

    @cached_property
    def ends(self) -> tuple[float, float]:
        one = torch.ones(1, dtype=torch.float64)
        lowest = max(float(self.schedule.level(one).log_snr), LEAST_LOG_SNR)
        require(
            lowest < self.highest, f"a highest log-SNR of {self.highest:g} came, but the schedule ends at {lowest:g}"
        )
        return self.highest, lowest

    @cached_property
    def first(self) -> float:
        return float(time_of(self.schedule, torch.tensor(self.highest, dtype=torch.float64)))

    @property
    def rungs(self) -> None:
        return None

    def width(self, log_snr: Float64[Tensor, " batch"]) -> Float64[Tensor, " batch"]:
        return torch.ones_like(log_snr)

    def term(
        self,
        denoiser: GaussianDenoiser,
        x0: Float[Tensor, "batch *event"],
        eps: Float[Tensor, "batch *event"],
        log_snr: Float64[Tensor, " batch"],
        condition: Condition | None,
    ) -> Term:
        return limit_term(denoiser, x0, eps, time_of(self.schedule, log_snr), condition)
