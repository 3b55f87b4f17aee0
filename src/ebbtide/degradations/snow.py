"""Falling snow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torch.nn.functional import interpolate

from ebbtide.degradations.degradation import FAINTEST, Drawn, check_drawn, closed, opened, spread
from ebbtide.errors import require
from ebbtide.randomness import Randomness, normal, uniform

LUMA = (0.299, 0.587, 0.114)
"""What red, green and blue add to the grey of a colour (ITU-R BT.601)."""

SIDE = 28
"""Pixels of the picture for which sizes are given; they grow with the square root of the shorter side."""

ZOOM = 1.25
"""Pixels that a cell of the normal field becomes: how large flakes are."""

STREAK = 1.4
"""Pixels of standard deviation along the wind."""

THIN = 0.5
"""Pixels of standard deviation across it: thinner, and streaks would ring by more than a grey level."""

CLEAR, HEAVY = 2.0, 0.5
"""The threshold at t = 0, which two values in a hundred pass, and at t = 1, where it is three in ten."""


@dataclass(frozen=True)
class Snow:
    """Snow over a whitened picture, in the manner of ImageNet-C (Hendrycks and Dietterich 2019, arXiv:1903.12261).

        flakes(t) = density t max(0, z - threshold(t)), z a smooth normal field, blurred along the wind
        cover(t)  = 1 - exp(-(flakes(t) + flakes(t) turned by half))
        white(t)  = (1 - w) x0 + w (1 + grey(x0)) / 2,  w = whitening t
        xt        = white(t) + cover(t) (1 - white(t))

    As there: a normal field is zoomed, thresholded, blurred in a drawn direction within 45 degrees of straight down
    and laid over a picture that has been drawn towards white, with a second copy turned by half. The threshold falls
    with t: flakes grow in number, size and density. Unlike there, snow covers a picture instead of being added to it
    and clamped, so that xt is affine in x0; sizes go with the picture's, so that 28 pixels snow as 224 do; and snow
    that leaves on one side comes in on the other, where nobody can tell.

    density: how thick a flake is at t = 1 for its height over the threshold. whitening: the share of white there.
    Something of the picture is left at t = 1. Raises EbbtideError for a density not above 0, and for a share that is
    none.
    """

    density: float = 2.5
    whitening: float = 0.6

    def __post_init__(self) -> None:
        require(0 < self.density < math.inf, f"density={self.density} came, expected a number above 0; 2.5 is usual")
        require(0 <= self.whitening <= 1, f"whitening={self.whitening} came, expected a share, 0 to 1")

    def draw(self, shape: Sequence[int], generator: Randomness) -> Drawn:
        """z, (batch, height, width), and the wind's angle, (batch,), from along to down: π / 2 is straight down."""
        batch, _, height, width = shape
        zoom = ZOOM * _larger(height, width)
        small = normal((batch, math.ceil(height / zoom), math.ceil(width / zoom)), generator)
        z = interpolate(small[:, None], (height, width), mode="bicubic", align_corners=False)[:, 0]
        return z, math.pi / 4 * (1 + 2 * uniform((batch,), generator))

    def cover(
        self, t: Float64[Tensor, " batch"], z: Float[Tensor, "batch height width"], angle: Float[Tensor, " batch"]
    ) -> Float[Tensor, "batch height width"]:
        """How much of each pixel is under snow, 0 to 1."""
        thick, threshold = (number.to(z)[:, None, None] for number in (t, CLEAR + (HEAVY - CLEAR) * t))
        flakes = _streaked(self.density * thick * (z - threshold).clamp_min(0), angle)
        return 1 - torch.exp(-(flakes + flakes.flip(-1, -2)))

    def __call__(
        self, x0: Float[Tensor, "batch channels height width"], t: Float64[Tensor, " batch"], drawn: Drawn
    ) -> Float[Tensor, "batch channels height width"]:
        x = opened(x0, t)
        check_drawn(2, drawn, self)
        cover = self.cover(t, drawn[0].to(x), drawn[1].to(x))[:, None]
        white = torch.lerp(x, (1 + _grey(x)) / 2, spread(self.whitening * t, x))
        return closed(x0, t, white + cover * (1 - white))


def _larger(height: int, width: int) -> float:
    """How many times as large flakes are as in a picture of SIDE pixels; never smaller than there."""
    return math.sqrt(max(min(height, width) / SIDE, 1.0))


def _grey(x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch 1 height width"]:
    """The grey of colours by their luma; the mean of any other number of channels."""
    if x.shape[1] != len(LUMA):
        return x.mean(dim=1, keepdim=True)
    return (x * x.new_tensor(LUMA).reshape(1, -1, 1, 1)).sum(dim=1, keepdim=True)


def _streaked(
    flakes: Float[Tensor, "batch height width"], angle: Float[Tensor, " batch"]
) -> Float[Tensor, "batch height width"]:
    """Flakes under a Gaussian kernel that is STREAK long and THIN wide, at an angle."""
    height, width = flakes.shape[-2:]
    like = {"dtype": flakes.dtype, "device": flakes.device}
    down = 2 * math.pi * torch.fft.fftfreq(height, **like)[None, :, None]
    along = 2 * math.pi * torch.fft.rfftfreq(width, **like)[None, None, :]
    cosine, sine = angle.cos()[:, None, None], angle.sin()[:, None, None]
    with_wind, across = along * cosine + down * sine, down * cosine - along * sine
    streak = STREAK * _larger(height, width)
    log_gain = -((streak * with_wind).square() + (THIN * across).square()) / 2
    gain = log_gain.clamp_min(FAINTEST).exp()
    # what little rings goes below zero too, and nothing is less than no snow
    return torch.fft.irfft2(torch.fft.rfft2(flakes) * gain, s=(height, width)).clamp_min(0)
