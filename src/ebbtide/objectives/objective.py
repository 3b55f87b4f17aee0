"""What training asks of an objective, and the first lines that all of them share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ebbtide.conditions import Condition
from ebbtide.corruptions import Corruption, GaussianCorruption
from ebbtide.denoisers.network import NetworkDenoiser
from ebbtide.errors import require
from ebbtide.times import Stepped, draw_times

One = TypeVar("One", bound="Drawn")


@dataclass(frozen=True)
class Losses:
    """One loss an example, with the time at which it was taken."""

    values: Float[Tensor, " batch"]
    times: Float64[Tensor, " batch"]


@runtime_checkable
class Objective(Protocol):
    """All that training asks for; data is x0 (batch, *event) with its condition."""

    def __call__(
        self,
        network: Callable[..., Tensor],
        x0: Float[Tensor, "batch *event"],
        condition: Condition,
        generator: torch.Generator,
    ) -> Losses: ...


@runtime_checkable
class ReadObjective(Objective, Protocol):
    """An objective that trains a denoiser, and says how the network is to be read."""

    @property
    def corruption(self) -> Corruption: ...

    def denoiser(self, network: Callable[..., Tensor]) -> Any: ...


@runtime_checkable
class GaussianObjective(ReadObjective, Protocol):
    """An objective that trains a denoiser of Gaussian noise, and says how the network is to be read."""

    @property
    def corruption(self) -> GaussianCorruption: ...

    def denoiser(self, network: Callable[..., Tensor]) -> NetworkDenoiser: ...

    def at(self, t: float) -> GaussianObjective: ...


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A corruption, and what is drawn for each example before it is corrupted.

    drop_condition: the rate at which a condition is withheld, so that guidance is possible later. times: how the times
    of a batch are drawn.
    """

    corruption: Corruption
    drop_condition: float = 0.0
    times: Callable[[int, Stepped, torch.Generator], Tensor] = draw_times

    def __post_init__(self) -> None:
        rate = self.drop_condition
        require(0 <= rate <= 1, f"drop_condition={rate} came, expected a rate between 0 and 1")

    def at(self: One, t: float) -> One:
        """The same objective with every example at time t."""
        return replace(self, times=lambda count, stepped, generator: torch.full((count,), t, dtype=torch.float64))

    def draw(
        self, x0: Float[Tensor, "batch *event"], condition: Condition, generator: torch.Generator
    ) -> tuple[Float64[Tensor, " batch"], Condition]:
        """A time for each example, and what of its condition is told."""
        count = x0.shape[0]
        t = self.times(count, self.corruption, generator)
        drop = torch.rand(count, generator=generator) < self.drop_condition
        return t, condition.dropped(drop.to(x0.device))


@dataclass(frozen=True, kw_only=True)
class GaussianDrawn(Drawn):
    """The same for Gaussian noise."""

    corruption: GaussianCorruption
