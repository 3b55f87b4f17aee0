"""Schedules that know every t (item B3)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ebbtide.errors import EbbtideError, require
from ebbtide.levels import Level
from ebbtide.schedules.schedule import LAST_LOG_SNR
from ebbtide.schedules.tables import TableSchedule, level_of_log_abar


@dataclass(frozen=True)
class CosineSchedule:
    """Nichol & Dhariwal 2021 (arXiv:2102.09672): abar(t) = cos² u(t) / cos² u(0), u(t) = (t + s)/(1 + s) π/2.

    u stops a little short of π/2, where log-SNR is `last_log_snr`.
    """

    offset: float = 0.008
    last_log_snr: float = LAST_LOG_SNR

    @property
    def steps(self) -> None:
        return None

    def level(self, t: Float[Tensor, "*batch"]) -> Level:
        first = self.offset / (1 + self.offset) * math.pi / 2
        last = math.acos(math.sqrt(_sigmoid(self.last_log_snr)) * math.cos(first))
        u = first + (last - first) * t.double().cpu()
        # 1 - abar = (cos² u0 - cos² u) / cos² u0 = sin(u - u0) sin(u + u0) / cos² u0 keeps its digits near t = 0.
        sigma = torch.sqrt(torch.sin(u - first) * torch.sin(u + first)) / math.cos(first)
        return Level(torch.cos(u) / math.cos(first), sigma)


@dataclass(frozen=True)
class SigmoidSchedule:
    """Jabri et al. 2022 (arXiv:2212.11972): abar(t) falls as sigmoid(-x(t)), x from start to end, rescaled to 1..0.

        abar(t) = (sigmoid(end/τ) - sigmoid(x/τ)) / (sigmoid(end/τ) - sigmoid(start/τ)),  x = start + t (end - start)

    x stops a little short of `end`, where log-SNR is `last_log_snr`.
    """

    start: float = -3.0
    end: float = 3.0
    tau: float = 1.0
    last_log_snr: float = LAST_LOG_SNR

    def __post_init__(self) -> None:
        require(self.start < self.end, f"start={self.start}, end={self.end} came, expected start < end")
        require(self.tau > 0, f"tau={self.tau} came, expected more than 0")

    @property
    def steps(self) -> None:
        return None

    def level(self, t: Float[Tensor, "*batch"]) -> Level:
        a, b = self.start / self.tau, self.end / self.tau
        short = _sigmoid(self.last_log_snr) * (_sigmoid(b) - _sigmoid(a))
        last = min(b, math.log((_sigmoid(b) - short) / (_sigmoid(-b) + short)))
        x = (a + (last - a) * t.double().cpu()).clamp(max=last)
        whole = _sigmoid_difference(torch.tensor(b, dtype=torch.float64), a)
        abar = _sigmoid_difference(b, x) / whole
        return Level(abar.sqrt(), (_sigmoid_difference(x, a) / whole).sqrt())


@dataclass(frozen=True)
class NormalSchedule:
    """log-SNR normal over uniform t: λ(t) = mean - std Φ⁻¹(u), u = t Φ((mean - last_log_snr) / std).

    Uniform draws of t are then the log-normal noise levels of Karras et al. 2022 (arXiv:2206.00364, section 5), and
    even steps of t are even shares of what was trained. Theirs, ln σ ~ N(-1.2, 1.2²) for data of standard deviation
    0.5, is λ ~ N(1.0, 2.4²) for data of standard deviation 1.
    """

    mean: float = 1.0
    std: float = 2.4
    last_log_snr: float = LAST_LOG_SNR

    def __post_init__(self) -> None:
        require(math.isfinite(self.mean), f"mean={self.mean} came, expected a finite number")
        require(0 < self.std < math.inf, f"std={self.std} came, expected more than 0")
        require(self.last_log_snr < self.mean, f"last_log_snr={self.last_log_snr} came, expected less than the mean")

    @property
    def steps(self) -> None:
        return None

    def level(self, t: Float[Tensor, "*batch"]) -> Level:
        t = t.double().cpu()
        end = (self.mean - self.last_log_snr) / self.std
        u, rest = t * _normal_cdf(end), (1 - t) + t * _normal_cdf(-end)
        # whichever of u and 1 - u is small holds its digits
        quantile = torch.where(u < 0.5, torch.special.ndtri(u), -torch.special.ndtri(rest))
        return Level.of_log_snr(self.mean - self.std * quantile)


@dataclass(frozen=True)
class FunctionSchedule:
    """The user's own function of t (B3): log-SNR(t), decreasing, or abar(t) if `of` says so; float64 in and out.

    At t = 0 the level is clean, whatever the function says there.
    """

    function: Callable[[Tensor], Tensor]
    of: str = "log_snr"
    name: str = "function"

    def __post_init__(self) -> None:
        require(self.of in ("log_snr", "abar"), f"of={self.of!r} came, expected 'log_snr' or 'abar'")
        t = torch.linspace(0, 1, 513, dtype=torch.float64)[1:]
        level = self.level(t)
        fine = bool(torch.isfinite(level.alpha).all()) and bool((level.log_snr.diff() <= 0).all())
        if not fine:
            raise EbbtideError(
                f"the function {self.name!r} is not finite or rises somewhere: {self.of} must fall with t"
            )

    @property
    def steps(self) -> None:
        return None

    def level(self, t: Float[Tensor, "*batch"]) -> Level:
        times = t.double().cpu()
        value = self.function(times)
        noisy = Level.of_log_snr(value) if self.of == "log_snr" else level_of_log_abar(value.log())
        clean = times == 0
        return Level(noisy.alpha.masked_fill(clean, 1.0), noisy.sigma.masked_fill(clean, 0.0))


@dataclass(frozen=True)
class InterpolatedSchedule:
    """A table asked at any t: its own level at each l/T, and in between

        log abar(t) = -∫₀ᵗ beta(s) ds

    by the monotone cubic through the points (l/T, log abar_l), (0, 0) included (PCHIP: Fritsch & Butland 1984,
    doi:10.1137/0905021). So log-SNR falls strictly and has a continuous slope, from +inf: before 1/T, where the table
    says nothing, sigma² grows as t does, or as t² where the first betas do as in the cosine schedule.
    """

    table: TableSchedule

    @property
    def steps(self) -> None:
        return None

    def level(self, t: Float[Tensor, "*batch"]) -> Level:
        exact = t.double().cpu() * self.table.steps
        index = exact.long().clamp(0, self.table.steps - 1)
        start, first, second, third = (coefficient[index] for coefficient in self._cubics)
        part = exact - index
        return level_of_log_abar(start + part * (first + part * (second + part * third)))

    @cached_property
    def _cubics(self) -> tuple[Float64[Tensor, " T"], ...]:
        """Coefficients of 1, s, s², s³ for log abar((l - 1 + s)/T), l = 1..T."""
        rise = torch.log1p(-self.table.betas)
        start = torch.cat([torch.zeros_like(rise[:1]), rise.cumsum(0)[:-1]])
        inner = 2 * rise[:-1] * rise[1:] / (rise[:-1] + rise[1:])
        # At the ends the slope of the nearest three points if it falls; a flat end would leave t no slope over log-SNR.
        last = len(rise) - 1
        end, beyond = rise[[0, last]], rise[[min(1, last), max(last - 1, 0)]]
        ends = torch.minimum(1.5 * end - 0.5 * beyond, 0.1 * end)
        slope = torch.cat([ends[:1], inner, ends[1:]])
        left, right = slope[:-1], slope[1:]
        return start, left, 3 * rise - 2 * left - right, left + right - 2 * rise


def _sigmoid(x: float) -> float:
    return math.exp(min(x, 0.0)) / (1 + math.exp(-abs(x)))


def _normal_cdf(x: float) -> float:
    """Φ(x), with all digits in the left tail (torch.special.ndtr has none left at -9)."""
    return 0.5 * math.erfc(-x / math.sqrt(2))


def _sigmoid_difference(a: Tensor | float, b: Tensor | float) -> Tensor:
    """sigmoid(a) - sigmoid(b) = sinh((a - b)/2) / (2 cosh(a/2) cosh(b/2)), without cancellation."""
    a, b = torch.as_tensor(a, dtype=torch.float64), torch.as_tensor(b, dtype=torch.float64)
    return torch.sinh((a - b) / 2) / (2 * torch.cosh(a / 2) * torch.cosh(b / 2))
