"""Denoiser -> Denoiser: ideas that change what is believed, as wrappers that every sampler can use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from ebbtide.conditions import Condition
from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers.estimate import GaussianDenoiser, GaussianEstimate
from ebbtide.errors import require
from ebbtide.levels import along


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


@dataclass(frozen=True)
class Thresholded:
    """Dynamic thresholding (Saharia et al. 2022, arXiv:2205.11487, section 2.3): each estimate of x0 is scaled back so
    that all but a share of its numbers lie within the data's range, instead of being cut off there.

    Around the range's middle m with half-width r: b = max(r, the `share` quantile of |x0 - m|), then
    m + clamp(x0 - m, -b, b) r / b.
    """

    denoiser: GaussianDenoiser
    low: float = -1.0
    high: float = 1.0
    share: float = 0.995

    def __post_init__(self) -> None:
        require(0 < self.share <= 1, f"share={self.share} came, expected more than 0 and at most 1")

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
        middle, half = (self.low + self.high) / 2, (self.high - self.low) / 2
        away = estimate.x0 - middle
        bound = torch.quantile(away.float().abs().flatten(1), self.share, dim=1).clamp(min=half)
        bound = along(bound, away)
        return replace(estimate, kind="x0", prediction=middle + away.clamp(-bound, bound) * (half / bound))


@dataclass(frozen=True)
class Inpainted:
    """What is known of x0 put into every estimate: known where the mask is 1, the denoiser's elsewhere.

    Any sampler then ends with what is known, and sees it on the way as it looks at that level: noised, which says less
    than is known, so the rest follows it too loosely where a sampler does not look twice. Of two Gaussian numbers with
    correlation 0.95, told that the first is 2, DDIM draws the second around 1.1, ancestral sampling around 1.4, a
    predictor with ten steps of Langevin dynamics as its corrector around the right 1.9. (Lugmayr et al. 2022,
    arXiv:2201.09865, go back and forth for the same reason; they put noised pixels into xt, which a wrapper around the
    denoiser need not.) mask, known: (*event) or (batch, *event).
    """

    denoiser: GaussianDenoiser
    known: Float[Tensor, "*known"]
    mask: Float[Tensor, "*mask"]

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
        mask, known = self.mask.to(xt), self.known.to(xt)
        return replace(estimate, kind="x0", prediction=mask * known + (1 - mask) * estimate.x0)


@dataclass(frozen=True)
class Watched:
    """Shows every estimate to a function, `watch(xt, t, estimate)`, and hands it on as it is."""

    denoiser: GaussianDenoiser
    watch: Callable[[Tensor, Tensor, GaussianEstimate], None]

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
        self.watch(xt, t, estimate)
        return estimate


def bare(denoiser: GaussianDenoiser) -> GaussianDenoiser:
    """The denoiser without what holds its estimates in the data's range."""
    while isinstance(denoiser, Clipped | Thresholded):
        denoiser = denoiser.denoiser
    return denoiser
