"""Blur along a line in a random direction, as of a camera that moves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ebbtide.degradations.degradation import Drawn, check_drawn, closed, opened
from ebbtide.errors import require
from ebbtide.randomness import Randomness, uniform


@dataclass(frozen=True)
class MotionBlur:
    """xt = the mean of the picture along a line of length(t) = t length pixels through every pixel.

        K points at equal distances on the line, each shared among the four pixels around it as their distances say

    The line's angle is uniform over half a turn. length is in pixels; None stands for the longer side. The picture is
    continued by reflection at its edges, and what this kernel gives is exact, for lines of any length and at any place
    between pixels. At t = 1 something of the picture is left: what does not change along the line. Linear in x0.

    Raises EbbtideError for a length that is not above 0.
    """

    length: float | None = None

    def __post_init__(self) -> None:
        require(
            self.length is None or 0 < self.length < math.inf,
            f"length={self.length} came, expected pixels above 0, or None for the longer side",
        )

    def draw(self, shape: Sequence[int], generator: Randomness) -> Drawn:
        """The angle in [0, π), (batch,), from along to down."""
        return (math.pi * uniform((shape[0],), generator),)

    def __call__(
        self, x0: Float[Tensor, "batch channels height width"], t: Float64[Tensor, " batch"], drawn: Drawn
    ) -> Float[Tensor, "batch channels height width"]:
        x = opened(x0, t)
        check_drawn(1, drawn, self)
        height, width = x.shape[-2:]
        length = float(max(height, width)) if self.length is None else self.length
        mirrored = torch.cat([x, x.flip(-1)], dim=-1)
        mirrored = torch.cat([mirrored, mirrored.flip(-2)], dim=-2)
        kernel = line_kernel(t.cpu() * length, drawn[0].double().cpu(), (2 * height, 2 * width), length).to(x)
        product = torch.fft.rfft2(mirrored) * torch.fft.rfft2(kernel)[:, None]
        return closed(x0, t, torch.fft.irfft2(product, s=mirrored.shape[-2:])[..., :height, :width])


def line_kernel(
    length: Float64[Tensor, " batch"], angle: Float64[Tensor, " batch"], size: tuple[int, int], longest: float
) -> Float64[Tensor, "batch height width"]:
    """Weights of a line through pixel (0, 0) on a grid that goes round and round; they sum to 1.

    longest: of the lengths that any t can have, so that the number of points is the same in every batch.
    """
    height, width = size
    points = 2 * math.ceil(longest) + 1
    place = length[:, None] * torch.linspace(-0.5, 0.5, points, dtype=torch.float64)
    down, along = place * angle.sin()[:, None], place * angle.cos()[:, None]
    top, left = down.floor(), along.floor()
    kernel = torch.zeros(len(length), height * width, dtype=torch.float64)
    for row, row_share in ((top, top + 1 - down), (top + 1, down - top)):
        for column, column_share in ((left, left + 1 - along), (left + 1, along - left)):
            index = (row % height) * width + column % width
            kernel.scatter_add_(1, index.long(), row_share * column_share / points)
    return kernel.unflatten(1, size)
