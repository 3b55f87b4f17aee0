"""Tables of T steps, and the conversions between the numbers that name them (items B1, B2, B4)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ebbtide.errors import EbbtideError, require
from ebbtide.levels import Level
from ebbtide.schedules.schedule import Schedule
from ebbtide.waist import known_times

# --- conversions (B4) -------------------------------------------------------------------------------------------------


def level_of_betas(betas: Float64[Tensor, " T"]) -> Level:
    """The levels at l = 1..T."""
    return level_of_log_abar(torch.log1p(-betas).cumsum(0))


def level_of_log_abar(log_abar: Float64[Tensor, "*batch"]) -> Level:
    """alpha = sqrt(abar), sigma = sqrt(1 - abar), from log abar in [-inf, 0]."""
    return Level(torch.exp(0.5 * log_abar), torch.sqrt(-torch.expm1(log_abar)))


def log_abar_of_level(level: Level) -> Float64[Tensor, "*batch"]:
    """log alpha², from whichever of alpha and sigma holds more digits.

    Raises EbbtideError for levels that do not preserve variance: betas alone do not tell them.
    """
    away = (level.alpha.square() + level.sigma.square() - 1).detach().abs()
    off = float(away.max()) if away.numel() else 0.0
    require(
        off < 1e-9,
        f"levels whose alpha² + sigma² differs from 1 by up to {off:.2g} came, expected a schedule that preserves "
        "variance: a table of betas can hold no other",
    )
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
        exact = known_times(t) * self.steps
        index = exact.round()
        unknown = (exact - index).abs() > 1e-3
        if bool(unknown.any()):
            raise EbbtideError(
                f"t = {float(exact[unknown][0]) / self.steps:g} came, but a table of {self.steps} steps knows only "
                f"l/{self.steps}: round with times.nearest"
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
