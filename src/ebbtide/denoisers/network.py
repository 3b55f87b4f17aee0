"""A network as a denoiser: what it predicts, and what it is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from ebbtide.conditions import Condition
from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers.estimate import GaussianEstimate, VarianceEstimate
from ebbtide.levels import STEP_KINDS, Kind
from ebbtide.waist import check_answer, check_batch


def answered(
    network: Callable[..., Tensor], xt: Tensor, t: Tensor, condition: Condition | None, times: int = 1
) -> Tensor:
    """What any network says of xt, in xt's type; another shape than xt's (with `times` the channels) is refused."""
    check_batch(xt, t)
    answer = network(xt, t.to(device=xt.device, dtype=xt.dtype), condition or Condition())
    check_answer(answer, xt, times)
    # A network in lower precision must not drag the conversions (which subtract near-equal numbers) down with it.
    return answer.to(xt.dtype)


@dataclass(frozen=True)
class NetworkDenoiser:
    """network(xt, t, condition) -> prediction of the given kind; the network sees float32 and never a schedule."""

    network: Callable[..., Tensor]
    corruption: GaussianCorruption
    predicts: Kind = "eps"

    def __call__(
        self,
        xt: Float[Tensor, "batch *event"],
        t: Float[Tensor, " batch"],
        condition: Condition | None = None,
    ) -> GaussianEstimate:
        return GaussianEstimate(xt, self.corruption.level(t), self._kind(t), answered(self.network, xt, t, condition))

    def _kind(self, t: Tensor) -> Kind:
        return self.corruption.pair(self.predicts, t) if self.predicts in STEP_KINDS else self.predicts


@dataclass(frozen=True)
class VarianceDenoiser(NetworkDenoiser):
    """A network that gives twice as many channels: the prediction, and where the variance lies (item D7)."""

    def __call__(
        self,
        xt: Float[Tensor, "batch *event"],
        t: Float[Tensor, " batch"],
        condition: Condition | None = None,
    ) -> VarianceEstimate:
        answer = answered(self.network, xt, t, condition, times=2)
        prediction, raw = answer.chunk(2, dim=1)
        return VarianceEstimate(xt, self.corruption.level(t), self._kind(t), prediction, share=(raw + 1) / 2)
