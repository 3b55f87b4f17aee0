"""Denoiser -> Denoiser: ideas that change what is believed, as wrappers that every sampler can use."""

from __future__ import annotations

from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

from ebbtide.conditions import Condition
from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers.estimate import GaussianDenoiser, GaussianEstimate


@dataclass(frozen=True)
class Clipped:
    """The estimate of x0 held within the data's range; eps, score and v follow from the clipped x0 (Ho et al. 2020)."""

    denoiser: GaussianDenoiser
    low: float = -1.0
    high: float = 1.0

    @property
    def corruption(self) -> GaussianCorruption:
        return self.denoiser.corruption

    def __call__(
        self,
        xt: Float[Tensor, "batch *event"],
        t: Float[Tensor, " batch"],
        condition: Condition | None = None,
    ) -> GaussianEstimate:
        estimate = self.denoiser(xt, t, condition)
        return replace(estimate, kind="x0", prediction=estimate.x0.clamp(self.low, self.high))
