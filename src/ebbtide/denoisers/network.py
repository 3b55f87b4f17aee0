"""A network as a denoiser: what it predicts, and what it is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from ebbtide.conditions import Condition
from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers.estimate import GaussianEstimate
from ebbtide.levels import Kind


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
        time = t.to(device=xt.device, dtype=xt.dtype)
        # A network in lower precision must not drag the conversions (which subtract near-equal numbers) down with it.
        prediction = self.network(xt, time, condition or Condition()).to(xt.dtype)
        return GaussianEstimate(xt, self.corruption.level(t), self.predicts, prediction)
