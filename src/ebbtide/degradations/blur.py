"""Blur with a Gaussian, exactly and to any width, and by Bansal's repeated truncated kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ebbtide.degradations.degradation import FAINTEST, NOTHING, Drawn, check_choice, closed, opened
from ebbtide.degradations.waves import Edges, check_edges, filters, frequencies
from ebbtide.errors import require
from ebbtide.randomness import Randomness

Growth = Literal["geometric", "linear", "variance"]

FIRST = 0.5
"""Pixels: a Gaussian narrower than this hardly changes a picture, so geometric growth begins here."""

LEFT = 1e-3
"""What the widest default blur leaves of a picture's longest wave."""


@dataclass(frozen=True)
class GaussianBlur:
    """xt = the picture under a Gaussian kernel of standard deviation std(t), continued by reflection at its edges.

        wave k of n times exp(-std(t)² ω² / 2), ω = π k / n, along each side
        geometric  std(t) = FIRST ((1 + std / FIRST)^t - 1)     each step blurs by the same factor (the default)
        linear     std(t) = std t
        variance   std(t) = std sqrt(t)                         equal kernels one after the other: variances add

    std is in pixels. None stands for as many as leave a thousandth of the longest wave, 1.18 times the longer side: at
    t = 1 a picture is its mean colour. With "geometric" every octave of detail has about as long to disappear; a
    linear growth to the same width spends half of its time on pictures that are nearly flat, and "variance" nearly all
    of it (Rissanen et al. 2022, arXiv:2206.13397, grow geometrically too; Bansal et al. 2022 give std per step, see
    `RepeatedBlur`). Two blurs are one: variances add. Linear in x0.

    Raises EbbtideError for a std that is not above 0 and for unknown words.
    """

    std: float | None = None
    growth: Growth = "geometric"
    edges: Edges = "reflect"

    def __post_init__(self) -> None:
        require(
            self.std is None or 0 < self.std < math.inf,
            f"std={self.std} came, expected pixels above 0, or None for as many as leave only the mean colour",
        )
        check_choice("growth", self.growth, get_args(Growth))
        check_edges(self.edges)

    def draw(self, shape: Sequence[int], generator: Randomness) -> Drawn:
        """Nothing: blur is not random."""
        return NOTHING

    def stds(self, t: Float[Tensor, " batch"], side: int) -> Float64[Tensor, " batch"]:
        """std(t) in pixels for pictures whose longer side is this."""
        std = self.std if self.std is not None else side * math.sqrt(-2 * math.log(LEFT)) / math.pi
        t = t.double()
        if self.growth == "geometric":
            return FIRST * torch.expm1(t * math.log1p(std / FIRST))
        return std * (t if self.growth == "linear" else t.sqrt())

    def __call__(
        self, x0: Float[Tensor, "batch channels height width"], t: Float64[Tensor, " batch"], drawn: Drawn
    ) -> Float[Tensor, "batch channels height width"]:
        x = opened(x0, t)
        height, width = x.shape[-2:]
        variance = self.stds(t, max(height, width)).square().cpu()[:, None]
        gains = {n: _gaussian(variance, frequencies(self.edges, n)) for n in (height, width)}
        down, along = _both(gains, x, self.edges)
        return closed(x0, t, down @ x @ along)


@dataclass(frozen=True)
class RepeatedBlur:
    """xt = the picture after the first round(t T) of T truncated Gaussian kernels (Bansal et al. 2022).

        kernel l, of sizes[l] pixels a side: weights exp(-j² / (2 stds[l]²)), |j| <= (sizes[l] - 1) / 2, that sum to 1

    The default is theirs for MNIST: 40 kernels of 11 x 11, std 7. For CIFAR-10 they give 50 of 11 x 11 with std
    0.01 l + 0.35, for CelebA 200 of 15 x 15 with std exp(0.01 l). Applied exactly, as gains of the waves of
    `waves.py`; edges="wrap" continues a picture by itself, which is the circular padding of their code. Linear in x0.

    Raises EbbtideError for sizes that are not odd, and for sizes and stds that do not match.
    """

    sizes: tuple[int, ...] = (11,) * 40
    stds: tuple[float, ...] = (7.0,) * 40
    edges: Edges = "reflect"

    def __post_init__(self) -> None:
        require(
            len(self.sizes) == len(self.stds) > 0,
            f"{len(self.sizes)} sizes and {len(self.stds)} stds came, expected one of each for every kernel",
        )
        bad = [size for size in self.sizes if size < 1 or size % 2 == 0]
        require(not bad, f"kernels of {bad[:3]} pixels a side came, expected odd sizes, which have a middle")
        require(min(self.stds) > 0, f"a std of {min(self.stds)} came, expected pixels above 0")
        check_edges(self.edges)

    def draw(self, shape: Sequence[int], generator: Randomness) -> Drawn:
        """Nothing: blur is not random."""
        return NOTHING

    def __call__(
        self, x0: Float[Tensor, "batch channels height width"], t: Float64[Tensor, " batch"], drawn: Drawn
    ) -> Float[Tensor, "batch channels height width"]:
        x = opened(x0, t)
        level = (t.double().cpu() * len(self.sizes)).round().long()
        gains = {n: _gains(self.sizes, self.stds, self.edges, n)[level] for n in x.shape[-2:]}
        down, along = _both(gains, x, self.edges)
        return closed(x0, level.double(), down @ x @ along)


def _gaussian(variance: Tensor, frequency: Tensor) -> Tensor:
    """exp(-variance ω² / 2)."""
    return (-variance / 2 * frequency.square()).clamp_min(FAINTEST).exp()


def _both(gains: dict[int, Tensor], x: Tensor, edges: Edges) -> tuple[Tensor, Tensor]:
    """The filters down and along x; a square picture needs only one."""
    made = {n: filters(gain, edges, x) for n, gain in gains.items()}
    return made[x.shape[-2]], made[x.shape[-1]]


@lru_cache(maxsize=32)
def _gains(sizes: tuple[int, ...], stds: tuple[float, ...], edges: Edges, n: int) -> Float64[Tensor, "levels n"]:
    """What the first l kernels leave of each of n waves, l = 0 to T: products of Σ_j w_j cos(ω j)."""
    gains = [torch.ones(n, dtype=torch.float64)]
    for size, std in zip(sizes, stds, strict=True):
        j = torch.arange(size, dtype=torch.float64) - size // 2
        weights = torch.softmax(-(j / std).square() / 2, dim=0)
        gains.append(gains[-1] * (torch.cos(frequencies(edges, n)[:, None] * j) @ weights))
    found = torch.stack(gains)
    return torch.where(found.abs() < math.exp(FAINTEST), 0.0, found)
