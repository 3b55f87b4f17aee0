"""A network as a denoiser: what it predicts, and what it is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from ebbtide.conditions import Condition
from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers.estimate import GaussianEstimate, VarianceEstimate
from ebbtide.errors import require
from ebbtide.levels import STEP_KINDS, Kind


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
        return GaussianEstimate(xt, self.corruption.level(t), self._kind(t), self._answer(xt, t, condition))

    def _answer(self, xt: Tensor, t: Tensor, condition: Condition | None) -> Tensor:
        time = t.to(device=xt.device, dtype=xt.dtype)
        # A network in lower precision must not drag the conversions (which subtract near-equal numbers) down with it.
        return self.network(xt, time, condition or Condition()).to(xt.dtype)

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
        answer, channels = self._answer(xt, t, condition), xt.shape[1]
        require(
            answer.shape[1] == 2 * channels,
            f"a network that answers with {answer.shape[1]} channels came for data of {channels}: a learned variance "
            f"needs {2 * channels}",
        )
        prediction, raw = answer.chunk(2, dim=1)
        return VarianceEstimate(xt, self.corruption.level(t), self._kind(t), prediction, share=(raw + 1) / 2)
