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
from ebbtide.waist import known_times


@dataclass(frozen=True)
class CosineSchedule:
    """Nichol & Dhariwal 2021 (arXiv:2102.09672): abar(t) = cos² u(t) / cos² u(0), u(t) = (t + s)/(1 + s) π/2.

    u stops a little short of π/2, where log-SNR is `last_log_snr`.
    """

    offset: float = 0.008
    last_log_snr: float = LAST_LOG_SNR

    def __post_init__(self) -> None:
        require(0 <= self.offset < math.inf, f"offset={self.offset} came, expected 0 or more, and finite")
        _check_last(self.last_log_snr)

    @property
    def steps(self) -> None:
        return None

    def level(self, t: Float[Tensor, "*batch"]) -> Level:
        t = known_times(t)
        first = self.offset / (1 + self.offset) * math.pi / 2
        short = math.asin(math.sqrt(_sigmoid(self.last_log_snr)) * math.cos(first))  # of π/2, where u ends
        span = math.pi / 2 - first - short
        # 1 - abar = (cos² u0 - cos² u) / cos² u0 = sin(u - u0) sin(u + u0) / cos² u0, and cos u = sin(π/2 - u)
        noise = torch.sin(span * t) * torch.sin(2 * first + span * t) / math.cos(first) ** 2
        signal = (torch.sin(short + span * (1 - t)) / math.cos(first)).square()
        return _level_of_both(signal, noise)


@dataclass(frozen=True)
class SigmoidSchedule:
    """Jabri et al. 2022 (arXiv:2212.11972): abar(t) falls as sigmoid(-x(t)), x from start to end, rescaled to 1..0.

        abar(t) = (S(b) - S(x)) / (S(b) - S(a)),  S = sigmoid, a = start/τ, b = end/τ, x = a + t (b - a)

    x stops a little short of b, where log-SNR is `last_log_snr`. As S(x) - S(a) = S(x) S(-a) (1 - exp(a - x)), both
    abar and 1 - abar are products in which nothing cancels:

        abar      S(-x)/S(-a) (1 - exp(x - b)) / (1 - exp(a - b))
        1 - abar  S(x)/S(b) (1 - exp(a - x)) / (1 - exp(a - b))
    """

    start: float = -3.0
    end: float = 3.0
    tau: float = 1.0
    last_log_snr: float = LAST_LOG_SNR

    def __post_init__(self) -> None:
        finite = -math.inf < self.start < self.end < math.inf
        require(finite, f"start={self.start}, end={self.end} came, expected start < end, both finite")
        require(0 < self.tau < math.inf, f"tau={self.tau} came, expected more than 0")
        _check_last(self.last_log_snr)

    @property
    def steps(self) -> None:
        return None

    def level(self, t: Float[Tensor, "*batch"]) -> Level:
        t = known_times(t)
        a, b, width = self.start / self.tau, self.end / self.tau, (self.end - self.start) / self.tau
        fall = math.expm1(-width)
        # abar is S(last_log_snr) where S(b) - S(x) = left: at x = b - short
        left = -_sigmoid(self.last_log_snr) * _sigmoid(b) * _sigmoid(-a) * fall
        short = math.log1p(left / (_sigmoid(-b) * (_sigmoid(b) - left)))
        passed, ahead = (width - short) * t, short + (width - short) * (1 - t)
        x = a + passed
        noise = torch.sigmoid(x) / _sigmoid(b) * torch.expm1(-passed) / fall
        signal = torch.sigmoid(-x) / _sigmoid(-a) * torch.expm1(-ahead) / fall
        return _level_of_both(signal, noise)


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
        t = known_times(t)
        end = (self.mean - self.last_log_snr) / self.std
        u, rest = t * _normal_cdf(end), (1 - t) + t * _normal_cdf(-end)
        # whichever of u and 1 - u is small holds its digits
        quantile = torch.where(u < 0.5, torch.special.ndtri(u), -torch.special.ndtri(rest))
        # beyond 38 standard deviations Φ has no digits left to tell the end from infinity
        return Level.of_log_snr(self.mean - self.std * quantile.clamp(max=end))


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
        times = known_times(t)
        value = self.function(times)
        require(
            value.shape == times.shape,
            f"the function {self.name!r} gave shape {tuple(value.shape)} for times of shape {tuple(times.shape)}: "
            "expected a number for each",
        )
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
        exact = known_times(t) * self.table.steps
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


def _level_of_both(signal: Float64[Tensor, "*batch"], noise: Float64[Tensor, "*batch"]) -> Level:
    """The level of abar and 1 - abar, each found without the other: the smaller has all its digits, and gives both."""
    little = noise < 0.5
    return Level(torch.where(little, 1 - noise, signal).sqrt(), torch.where(little, noise, 1 - signal).sqrt())


def _check_last(log_snr: float) -> None:
    require(
        log_snr < math.inf, f"last_log_snr={log_snr} came, expected a number, or -inf for no signal at all at t = 1"
    )
