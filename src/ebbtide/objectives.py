"""What training minimises: (kind x weight). Items E4, E5 and every weight between kinds; item H1's dropped labels.

    loss = w(t) ‖ E[a x0 + b eps | xt] - (a x0 + b eps) ‖² / d,  one number an example

The kind in which the error is measured need not be the one that the network predicts: errors of two kinds differ by the
factor of levels.weight_between, so every published weighting is a kind, or a kind times a function of the level.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ebbtide.conditions import Condition
from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers.network import NetworkDenoiser
from ebbtide.errors import require
from ebbtide.levels import KINDS, Kind, Level, Pair, along, weight_between
from ebbtide.times import draw_times


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


@dataclass(frozen=True, kw_only=True)
class DenoisingObjective:
    """Squared error of a Gaussian denoiser, in any kind, under any weight.

    predicts: what the network gives. measured: the kind whose error is minimised (None: the same); "eps" is Ho's simple
    loss (E4), "x0" the plain reconstruction error (E5). weight: a further factor, a function of the Level.
    drop_condition: the rate at which an example's condition is withheld, so that guidance is possible later.
    """

    corruption: GaussianCorruption
    predicts: Kind = "eps"
    measured: Kind | None = None
    weight: Callable[[Level], Tensor] | None = None
    drop_condition: float = 0.0

    def __post_init__(self) -> None:
        for kind in (self.predicts, self.measured):
            known = kind is None or isinstance(kind, Pair) or kind in KINDS
            require(known, f"kind {kind!r} came, expected one of {', '.join(KINDS)}, or a Pair")
        require(
            0 <= self.drop_condition <= 1,
            f"drop_condition={self.drop_condition} came, expected a rate between 0 and 1",
        )

    def denoiser(self, network: Callable[..., Tensor]) -> NetworkDenoiser:
        """The network, read as this objective trains it."""
        return NetworkDenoiser(network, self.corruption, self.predicts)

    def __call__(
        self,
        network: Callable[..., Tensor],
        x0: Float[Tensor, "batch *event"],
        condition: Condition,
        generator: torch.Generator,
    ) -> Losses:
        """Draw t and noise, denoise, compare."""
        count = x0.shape[0]
        t = draw_times(count, self.corruption.schedule, generator)
        drop = torch.rand(count, generator=generator) < self.drop_condition
        xt, eps = self.corruption.corrupt(x0, t, generator)
        assert eps is not None
        estimate = self.denoiser(network)(xt, t, condition.dropped(drop.to(x0.device)))
        return Losses(self.error(estimate.prediction, x0, eps, t), t)

    def error(
        self,
        prediction: Float[Tensor, "batch *event"],
        x0: Float[Tensor, "batch *event"],
        eps: Float[Tensor, "batch *event"],
        t: Float64[Tensor, " batch"],
    ) -> Float[Tensor, " batch"]:
        """The weighted squared error of a prediction, mean over the event's coordinates."""
        level = self.corruption.level(t)
        a, b = self.corruption.pair(self.predicts, t)
        target = along(a, x0) * x0 + along(b, x0) * eps
        error = (prediction - target).square().flatten(1).mean(1)
        weight = weight_between(level, self.predicts, self.measured or self.predicts)
        if self.weight is not None:
            weight = weight * self.weight(level)
        return along(weight, error) * error
