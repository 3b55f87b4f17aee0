"""A hole that grows from a random place until nothing is left (inpainting)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ebbtide.degradations.degradation import FAINTEST, GREY, Drawn, check_colour, check_drawn, closed, opened, painted
from ebbtide.errors import require
from ebbtide.randomness import Randomness, uniform

LEFT = 1e-3
"""What is left at t = 1 of the corner that is farthest from the centre."""

POWER = 1.5
"""Of the growth of the bumps' widths."""


@dataclass(frozen=True)
class GrowingMask:
    """xt = w(t) x0 + (1 - w(t)) colour, where T bumps around a random centre are taken out of w, one by one.

        w(t, r) = Π_i (1 - h_i exp(-r² / (2 s_i²))),  h_i = t T - i + 1 within [0, 1],  s_i = c R (i / T)^1.5

    r is the distance from the centre and R that of the corner farthest from it: at t = i / T, i Gaussian bumps of
    growing width have been multiplied into the mask as in Bansal et al. 2022, and between two levels the next one
    rises. c is so large that at t = 1 that corner keeps a thousandth of itself, and everything else less. The power
    covers a picture at an even pace; about half of it at t = 0.4. The centre is uniform over the picture. Affine in
    x0, linear for colour 0.

    Raises EbbtideError for fewer than one bump and for a colour of another number of channels.
    """

    bumps: int = 32
    colour: float | tuple[float, ...] = GREY

    def __post_init__(self) -> None:
        require(self.bumps >= 1, f"bumps={self.bumps} came, expected 1 or more; 32 grow smoothly")
        check_colour(self.colour)

    def draw(self, shape: Sequence[int], generator: Randomness) -> Drawn:
        """The centre, (batch, 2), down and along, as a share of the height and of the width."""
        return (uniform((shape[0], 2), generator),)

    def weight(
        self, height: int, width: int, t: Float64[Tensor, " batch"], centre: Float[Tensor, "batch 2"]
    ) -> Float[Tensor, "batch height width"]:
        """w(t), what is left of each pixel, in the type and place of the centre."""
        at = centre * torch.tensor([height, width], dtype=centre.dtype, device=centre.device) - 0.5
        down = torch.arange(height, dtype=centre.dtype, device=centre.device) - at[:, :1]
        along = torch.arange(width, dtype=centre.dtype, device=centre.device) - at[:, 1:]
        down, along = down.square()[:, :, None], along.square()[:, None, :]
        far = (down + along) / (down.amax(dim=1, keepdim=True) + along.amax(dim=2, keepdim=True)).clamp_min(0.25)
        weight = torch.ones_like(far)
        risen = (t.double() * self.bumps).to(far)[:, None, None]
        for i, width_i in enumerate(_widths(self.bumps), start=1):
            bump = (far * (-0.5 / width_i**2)).clamp_min_(FAINTEST).exp_()
            weight *= bump.mul_((i - 1 - risen).clamp(-1, 0)).add_(1)  # in place: nothing here needs a gradient
        return weight

    def __call__(
        self, x0: Float[Tensor, "batch channels height width"], t: Float64[Tensor, " batch"], drawn: Drawn
    ) -> Float[Tensor, "batch channels height width"]:
        x = opened(x0, t)
        check_drawn(1, drawn, self)
        weight = self.weight(x.shape[-2], x.shape[-1], t, drawn[0].to(x))[:, None]
        return closed(x0, t, weight * x + (1 - weight) * painted(self.colour, x))


@lru_cache(maxsize=32)
def _widths(bumps: int) -> tuple[float, ...]:
    """s_i / R = c (i / T)^POWER, for the c with Π_i (1 - exp(-(R / s_i)² / 2)) = LEFT, by bisection."""
    low, high = 0.0, 64.0
    for _ in range(60):
        c = (low + high) / 2
        widths = tuple(c * (i / bumps) ** POWER for i in range(1, bumps + 1))
        left = math.fsum(math.log(-math.expm1(-0.5 / width**2)) for width in widths)
        low, high = (low, c) if left < math.log(LEFT) else (c, high)
    return widths
