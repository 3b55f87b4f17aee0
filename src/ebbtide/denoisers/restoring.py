"""Networks that undo any corruption, noise or not: their answers are data (D1, D2; E8), there is no eps to speak of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from ebbtide.conditions import Condition
from ebbtide.corruptions import Corruption
from ebbtide.denoisers.network import answered
from ebbtide.errors import require


@dataclass(frozen=True)
class PlainEstimate:
    """What the data is believed to be, and nothing else."""

    x0: Float[Tensor, "batch *event"]


@dataclass(frozen=True)
class PreviousEstimate:
    """What the latent of one step before is believed to be: E[x_{t - 1/T} | xt]."""

    previous: Float[Tensor, "batch *event"]


@dataclass(frozen=True, kw_only=True)
class Values:
    """How a network's answer becomes values of the data: as it is, or as log-odds between two values.

    limits: the data's lowest and highest value (black and white), or None where it has none. log_odds: the answer y
    means low + (high - low) / (1 + exp(-y)), so that a pixel's share of white is its probability (Bernoulli).
    """

    limits: tuple[float, float] | None = None
    log_odds: bool = False

    def __post_init__(self) -> None:
        require(
            self.limits is not None or not self.log_odds,
            "log-odds came for data without a lowest and a highest value: they are for pictures",
        )

    def read(self, answer: Float[Tensor, "batch *event"]) -> Float[Tensor, "batch *event"]:
        """Values within the limits."""
        if self.limits is None:
            return answer
        low, high = self.limits
        return low + (high - low) * answer.sigmoid() if self.log_odds else answer.clamp(low, high)


@dataclass(frozen=True)
class RestoringDenoiser:
    """network(xt, t, condition) -> x0, for any corruption."""

    network: Callable[..., Tensor]
    corruption: Corruption
    values: Values = Values()

    def answer(self, xt: Tensor, t: Tensor, condition: Condition | None) -> Tensor:
        """What the network says, before it is read as values."""
        return answered(self.network, xt, t, condition)

    def __call__(
        self,
        xt: Float[Tensor, "batch *event"],
        t: Float[Tensor, " batch"],
        condition: Condition | None = None,
    ) -> Any:
        return PlainEstimate(self.values.read(self.answer(xt, t, condition)))


@dataclass(frozen=True)
class PreviousDenoiser(RestoringDenoiser):
    """network(xt, t, condition) -> the latent of one step before, for a corruption of T steps."""

    def __call__(
        self,
        xt: Float[Tensor, "batch *event"],
        t: Float[Tensor, " batch"],
        condition: Condition | None = None,
    ) -> PreviousEstimate:
        return PreviousEstimate(self.values.read(self.answer(xt, t, condition)))


@dataclass(frozen=True)
class Around:
    """A denoiser whose corruption has been settled: the same answers, asked about one path of what is random."""

    denoiser: Any
    corruption: Corruption

    def __call__(
        self,
        xt: Float[Tensor, "batch *event"],
        t: Float[Tensor, " batch"],
        condition: Condition | None = None,
    ) -> Any:
        return self.denoiser(xt, t, condition)
