"""Noise schedules: t in [0, 1] -> Level, from data (t = 0) to noise (t = 1). Items B1-B4 of docs/lectures.md.

A table has T steps and knows the times l/T only; a continuous schedule knows every t. Both start at alpha = 1,
sigma = 0 exactly, so nothing is left over when sampling ends at t = 0.

Ho et al. and the lectures name a table by its steps' variances; the translation, for l = 1..T:

    beta_l                          variance added at step l
    gamma_l = sqrt(1 - beta_l)      shrinkage of the sample at step l
    abar_l  = prod_{i<=l} (1 - beta_i) = alpha_l²,  1 - abar_l = sigma_l²,  log-SNR λ_l = log abar_l / (1 - abar_l)

Between them we go through log abar, which keeps all digits at both ends (abar -> 1 and abar -> 0).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ebbtide.errors import EbbtideError, require
from ebbtide.levels import Level

LAST_LOG_SNR = -15.0
"""Where continuous schedules end: alpha = 5.5e-4. At alpha = 0 a prediction of eps says nothing about x0."""


@runtime_checkable
class Schedule(Protocol):
    """What the rest of the library asks of a schedule."""

    @property
    def steps(self) -> int | None:
        """T of a table; None for a continuous schedule."""

    def level(self, t: Float[Tensor, "*batch"]) -> Level:
        """alpha and sigma at t; a table refuses a t that is no l/T."""


# --- conversions (B4) -------------------------------------------------------------------------------------------------


def level_of_betas(betas: Float64[Tensor, " T"]) -> Level:
    """The levels at l = 1..T."""
    return level_of_log_abar(torch.log1p(-betas).cumsum(0))


def level_of_log_abar(log_abar: Float64[Tensor, "*batch"]) -> Level:
    """alpha = sqrt(abar), sigma = sqrt(1 - abar), from log abar in [-inf, 0]."""
    return Level(torch.exp(0.5 * log_abar), torch.sqrt(-torch.expm1(log_abar)))


def log_abar_of_level(level: Level) -> Float64[Tensor, "*batch"]:
    """log alpha², from whichever of alpha and sigma holds more digits (variance-preserving levels)."""
    near_data = torch.log1p(-level.sigma.square())
    return torch.where(level.sigma < 0.7, near_data, 2 * level.alpha.log())


def betas_of_level(level: Level) -> Float64[Tensor, " T"]:
    """beta_l of a table of levels at l = 1..T: 1 - abar_l / abar_{l-1}, with abar_0 = 1."""
    log_abar = log_abar_of_level(level)
    before = torch.cat([torch.zeros_like(log_abar[:1]), log_abar[:-1]])
    return -torch.expm1(log_abar - before)


# --- tables -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TableSchedule:
    """T steps given by their variances beta_1..beta_T, each in (0, 1): the user's own list, or a table below."""

    betas: Float64[Tensor, " T"] = field(repr=False)
    name: str = "list"

    def __post_init__(self) -> None:
        betas = self.betas
        require(
            betas.ndim == 1 and len(betas) > 0,
            f"betas of shape {tuple(betas.shape)} came, expected a list of numbers",
        )
        inside = bool(((betas > 0) & (betas < 1)).all())
        require(
            inside,
            f"betas from {betas.min():g} to {betas.max():g} came, expected each between 0 and 1 (exclusive)",
        )

    @property
    def steps(self) -> int:
        return len(self.betas)

    @property
    def gammas(self) -> Float64[Tensor, " T"]:
        """gamma_l = sqrt(1 - beta_l), l = 1..T."""
        return torch.exp(0.5 * torch.log1p(-self.betas))

    @property
    def abars(self) -> Float64[Tensor, " T"]:
        """abar_l, l = 1..T."""
        return self.levels.alpha[1:].square()

    @cached_property
    def levels(self) -> Level:
        """The levels at l = 0..T."""
        noisy = level_of_betas(self.betas)
        one, zero = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
        return Level(torch.cat([one, noisy.alpha]), torch.cat([zero, noisy.sigma]))

    def level(self, t: Float[Tensor, "*batch"]) -> Level:
        exact = t.double().cpu() * self.steps
        index = exact.round()
        if bool((exact - index).abs().max() > 1e-3) or bool((index < 0).any()) or bool((index > self.steps).any()):
            raise ValueError(
                f"t = {t.flatten()[0]:g}.. came, but a table of {self.steps} steps knows only l/{self.steps} in "
                "[0, 1]; round with times.nearest"
            )
        return Level(self.levels.alpha[index.long()], self.levels.sigma[index.long()])


def table(betas: Sequence[float] | Tensor, name: str = "list") -> TableSchedule:
    """The user's own list of variances (B3)."""
    return TableSchedule(torch.as_tensor(betas, dtype=torch.float64), name)


def linear_schedule(steps: int = 1000) -> TableSchedule:
    """Ho et al. 2020 (arXiv:2006.11239): linspace(1e-4, 0.02, 1000) (B1).

    With another T the ends are scaled by 1000 / T (at most 0.999), so that as much of the data is forgotten.
    """
    require(steps >= 1, f"steps={steps} came, expected at least 1")
    scale = 1000 / steps
    betas = torch.linspace(1e-4 * scale, 0.02 * scale, steps, dtype=torch.float64)
    return TableSchedule(betas.clamp(max=0.999), "linear")


def lecture_schedule(steps: int = 1000) -> TableSchedule:
    """TTIC 31230: beta_l = 1e-4 + 0.02 l / T, T = 1000 (B1): nearly Ho's, not equal; a small T leaves much data."""
    require(steps >= 1, f"steps={steps} came, expected at least 1")
    index = torch.arange(1, steps + 1, dtype=torch.float64)
    return TableSchedule(1e-4 + 0.02 * index / steps, "lecture")


def constant_schedule(beta: float, steps: int | None = None) -> TableSchedule:
    """abar_l = (1 - beta)^l (B2); steps None: as many as forget data of power 1 to 0.001 bits a dimension."""
    require(0 < beta < 1, f"beta={beta} came, expected a number between 0 and 1 (exclusive)")
    count = steps_to_forget(beta) if steps is None else steps
    return TableSchedule(torch.full((count,), beta, dtype=torch.float64), "constant")


def steps_to_forget(beta: float, bits: float = 1e-3, power: float = 1.0) -> int:
    """The least T with KL(q(z_T|x) ‖ N(0, I)) at most `bits` a dimension, for x of mean square `power` (B2, B5)."""
    require(0 < beta < 1, f"beta={beta} came, expected a number between 0 and 1 (exclusive)")
    require(bits > 0, f"bits={bits} came, expected more than 0 (no finite number of steps forgets everything)")

    def left(count: int) -> float:
        abar = math.exp(count * math.log1p(-beta))
        return 0.5 * (abar * (power - 1) - math.log1p(-abar)) / math.log(2)

    low, high = 0, 1
    while left(high) > bits:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if left(middle) > bits else (low, middle)
    return high


def discretised(schedule: Schedule, steps: int, name: str) -> TableSchedule:
    """A continuous schedule read off at l/T, with beta at most 0.999 (Nichol & Dhariwal 2021, arXiv:2102.09672)."""
    require(steps >= 1, f"steps={steps} came, expected at least 1")
    times = torch.arange(1, steps + 1, dtype=torch.float64) / steps
    return TableSchedule(betas_of_level(schedule.level(times)).clamp(max=0.999), name)


# --- continuous schedules ---------------------------------------------------------------------------------------------


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


def _sigmoid(x: float) -> float:
    return math.exp(min(x, 0.0)) / (1 + math.exp(-abs(x)))


def _normal_cdf(x: float) -> float:
    """Φ(x), with all digits in the left tail (torch.special.ndtr has none left at -9)."""
    return 0.5 * math.erfc(-x / math.sqrt(2))


def _sigmoid_difference(a: Tensor | float, b: Tensor | float) -> Tensor:
    """sigmoid(a) - sigmoid(b) = sinh((a - b)/2) / (2 cosh(a/2) cosh(b/2)), without cancellation."""
    a, b = torch.as_tensor(a, dtype=torch.float64), torch.as_tensor(b, dtype=torch.float64)
    return torch.sinh((a - b) / 2) / (2 * torch.cosh(a / 2) * torch.cosh(b / 2))
