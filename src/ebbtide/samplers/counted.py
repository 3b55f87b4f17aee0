"""How often a denoiser is asked, which is what sampling costs."""

from __future__ import annotations

from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from ebbtide.conditions import Condition
from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers.estimate import GaussianDenoiser, GaussianEstimate


@dataclass(frozen=True)
class Counted:
    """The denoiser as it is, and a count of its evaluations; copies that were made of it count together."""

    denoiser: GaussianDenoiser
    calls: list[int] = field(default_factory=list, repr=False)
    """The batch sizes it was asked with, in turn."""

    @property
    def corruption(self) -> GaussianCorruption:
        return self.denoiser.corruption

    @property
    def evaluations(self) -> int:
        return len(self.calls)

    def __call__(
        self,
        xt: Float[Tensor, "batch *event"],
        t: Float[Tensor, " batch"],
        condition: Condition | None = None,
    ) -> GaussianEstimate:
        self.calls.append(xt.shape[0])
        return self.denoiser(xt, t, condition)
