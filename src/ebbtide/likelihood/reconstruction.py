"""The last decoder, p(x0 | z1), from the least noisy latent to the data: -log p in nats (item E11, and L_0 of E9).

Data of real numbers have a density. 8-bit images have probabilities over their 256 values, so that the bound is a true
code length: bins of a Gaussian around the estimate of x0 (Ho et al. 2020, arXiv:2006.11239, eq. 13), or a small decoder
that was trained for this alone (pixels.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from ebbtide.data.dataset import ValueRange
from ebbtide.denoisers.estimate import GaussianEstimate
from ebbtide.errors import require
from ebbtide.levels import along

VALUES = 256


@runtime_checkable
class Reconstruction(Protocol):
    """-log p(x0 | z1) in nats, an example; estimate is the denoiser's at z1."""

    def __call__(self, estimate: GaussianEstimate, x0: Float[Tensor, "batch *event"]) -> Float[Tensor, " batch"]: ...


@dataclass(frozen=True)
class GaussianDensity:
    """-log N(x0; x0_hat, (scale sigma/alpha)² I): for real numbers; in nats per the data's own unit.

    scale 1 is the variance of z1's noise, as seen from x0.
    """

    scale: float = 1.0

    def __call__(self, estimate: GaussianEstimate, x0: Float[Tensor, "batch *event"]) -> Float[Tensor, " batch"]:
        variance = along((self.scale * estimate.level.sigma / estimate.level.alpha).square(), x0)
        squares = (estimate.x0 - x0).square() / variance + (2 * math.pi * variance).log()
        return 0.5 * squares.flatten(1).sum(1)


@dataclass(frozen=True)
class GaussianBins:
    """Each value's probability is that of its bin under N(x0_hat, (scale sigma/alpha)²); the outer bins have no end.

    P(k) = Φ((x_k + h/2 - x0_hat) / s) - Φ((x_k - h/2 - x0_hat) / s),   x_k = low + k h,  h = (high - low) / 255
    """

    range: ValueRange
    scale: float = 1.0

    def __call__(self, estimate: GaussianEstimate, x0: Float[Tensor, "batch *event"]) -> Float[Tensor, " batch"]:
        k = codes(x0, self.range)
        s = along(self._std(estimate), x0)
        h = bin_width(self.range)
        low = (self.range.low + (k - 0.5) * h - estimate.x0.double()) / s
        high = (self.range.low + (k + 0.5) * h - estimate.x0.double()) / s
        log_p = log_of_interval(low.masked_fill(k == 0, -math.inf), high.masked_fill(k == VALUES - 1, math.inf))
        return -log_p.flatten(1).sum(1)

    def probabilities(self, estimate: GaussianEstimate) -> Float[Tensor, "batch *event values"]:
        """Of all 256 values, for each coordinate."""
        edges = self.range.low + (torch.arange(1, VALUES, dtype=torch.float64) - 0.5) * bin_width(self.range)
        mean = estimate.x0.double().unsqueeze(-1)
        below = torch.special.ndtr((edges - mean) / along(self._std(estimate), mean))
        zero, one = torch.zeros_like(below[..., :1]), torch.ones_like(below[..., :1])
        return torch.cat([zero, below, one], dim=-1).diff(dim=-1)

    def _std(self, estimate: GaussianEstimate) -> Tensor:
        return self.scale * estimate.level.sigma / estimate.level.alpha


def bin_width(range: ValueRange) -> float:
    """The distance of neighbouring bytes."""
    return (range.high - range.low) / (VALUES - 1)


def codes(x0: Float[Tensor, "batch *event"], range: ValueRange) -> Float[Tensor, "batch *event"]:
    """The bytes 0..255 that these numbers stand for, float64; one clear error if they stand for none."""
    exact = (x0.double() - range.low) / bin_width(range)
    k = exact.round()
    off = float((exact - k).abs().max())
    inside = bool(((k >= 0) & (k < VALUES)).all())
    require(
        inside and off < 0.01,
        f"numbers from {float(x0.min()):g} to {float(x0.max()):g} came, which are no bytes stretched over "
        f"{range.low:g}..{range.high:g}: a decoder of 256 values wants 8-bit images (real numbers have a density)",
    )
    return k


def log_of_interval(low: Float[Tensor, "*shape"], high: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """log(Φ(high) - Φ(low)) for low < high, with all digits in both tails.

    Both ends are mirrored to the left tail, where log Φ keeps its digits; there it is
    log Φ(high) + log(1 - exp(log Φ(low) - log Φ(high))).
    """
    right = low + high > 0
    low, high = torch.where(right, -high, low), torch.where(right, -low, high)
    top, bottom = torch.special.log_ndtr(high), torch.special.log_ndtr(low)
    return top + torch.log1p(-torch.exp(bottom - top))
