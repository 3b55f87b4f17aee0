"""The three classic processes in continuous time, as schedules (item C4; Song et al. 2021, arXiv:2011.13456).

    dx = f(t) x dt + g(t) dw,     f = d log alpha / dt,     g² = d sigma² / dt - 2 f sigma²

                 alpha          sigma²              f            g²
    VP           exp(-B/2)      1 - exp(-B)        -beta/2       beta
    sub-VP       exp(-B/2)      (1 - exp(-B))²     -beta/2       beta (1 - exp(-2B))
    VE           1              a² (r^(2t) - 1)     0            2 a² r^(2t) log r

with B(t) = ∫₀ᵗ beta ds, a = sigma_min and r = sigma_max / sigma_min. Each is the law of its equation begun at the data,
so sigma is 0 at t = 0. All numbers are float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ebbtide.errors import require
from ebbtide.levels import Level
from ebbtide.schedules.schedule import Schedule
from ebbtide.schedules.tables import level_of_log_abar
from ebbtide.waist import known_times


class Rates(NamedTuple):
    """f and g² of dx = f x dt + g dw, one number a time."""

    f: Float64[Tensor, "*batch"]
    g2: Float64[Tensor, "*batch"]


@runtime_checkable
class Process(Schedule, Protocol):
    """A schedule that knows its equation in closed form, at t = 0 too."""

    def rates(self, t: Float[Tensor, "*batch"]) -> Rates: ...


@dataclass(frozen=True)
class LinearBeta:
    """beta(t) = beta_min + t (beta_max - beta_min): how fast the signal shrinks, alpha = exp(-B/2)."""

    beta_min: float = 0.1
    beta_max: float = 20.0

    def __post_init__(self) -> None:
        rising = 0 < self.beta_min <= self.beta_max < math.inf
        require(
            rising,
            f"beta_min={self.beta_min}, beta_max={self.beta_max} came, expected 0 < beta_min <= beta_max, both finite",
        )

    @property
    def steps(self) -> None:
        return None

    def beta(self, t: Float64[Tensor, "*batch"]) -> Float64[Tensor, "*batch"]:
        """beta_min + t (beta_max - beta_min)."""
        return self.beta_min + t * (self.beta_max - self.beta_min)

    def integral(self, t: Float64[Tensor, "*batch"]) -> Float64[Tensor, "*batch"]:
        """B(t) = t beta_min + t²/2 (beta_max - beta_min)."""
        return t * (self.beta_min + 0.5 * t * (self.beta_max - self.beta_min))


@dataclass(frozen=True)
class VpSchedule(LinearBeta):
    """Variance preserving: the limit of Ho et al.'s table of many steps, whose betas are beta(l/T) / T."""

    def level(self, t: Float[Tensor, "*batch"]) -> Level:
        return level_of_log_abar(-self.integral(known_times(t)))

    def rates(self, t: Float[Tensor, "*batch"]) -> Rates:
        """f = -beta/2, g² = beta."""
        beta = self.beta(known_times(t))
        return Rates(-0.5 * beta, beta)


@dataclass(frozen=True)
class SubVpSchedule(LinearBeta):
    """VP's signal with less noise, sigma = 1 - alpha²: alpha² + sigma² is below 1 between the ends."""

    def level(self, t: Float[Tensor, "*batch"]) -> Level:
        integral = self.integral(known_times(t))
        return Level(torch.exp(-0.5 * integral), -torch.expm1(-integral))

    def rates(self, t: Float[Tensor, "*batch"]) -> Rates:
        """f = -beta/2, g² = beta (1 - exp(-2B))."""
        t = known_times(t)
        beta = self.beta(t)
        return Rates(-0.5 * beta, -beta * torch.expm1(-2 * self.integral(t)))


@dataclass(frozen=True)
class VeSchedule:
    """Variance exploding: the signal stays, the noise grows geometrically from sigma_min to sigma_max.

    sigma² = sigma_min² (r^(2t) - 1) is what dx = g dw adds to the data. Song et al. write sigma_min² r^(2t), as if
    noise of sigma_min had been there before t = 0; their g is this one, and the two differ by sigma_min² at every t.
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0

    def __post_init__(self) -> None:
        rising = 0 < self.sigma_min < self.sigma_max < math.inf
        require(
            rising,
            f"sigma_min={self.sigma_min}, sigma_max={self.sigma_max} came, expected 0 < sigma_min < sigma_max, "
            "both finite",
        )

    @property
    def steps(self) -> None:
        return None

    @property
    def _log_ratio(self) -> float:
        return math.log(self.sigma_max / self.sigma_min)

    def level(self, t: Float[Tensor, "*batch"]) -> Level:
        t = known_times(t)
        return Level(torch.ones_like(t), self.sigma_min * torch.expm1(2 * self._log_ratio * t).sqrt())

    def rates(self, t: Float[Tensor, "*batch"]) -> Rates:
        """f = 0, g² = 2 sigma_min² r^(2t) log r."""
        t = known_times(t)
        grown = (2 * self._log_ratio * t).exp()
        return Rates(torch.zeros_like(t), 2 * self.sigma_min**2 * self._log_ratio * grown)
