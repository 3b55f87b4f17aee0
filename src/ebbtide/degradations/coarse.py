"""Fewer values for the same picture: grey levels, and the coefficients of JPEG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torch.nn.functional import pad

from ebbtide.degradations.degradation import NOTHING, Drawn, closed, opened, spread
from ebbtide.degradations.waves import waves
from ebbtide.errors import require
from ebbtide.randomness import Randomness

BLOCK = 8

LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99, 99, 99, 99, 99, 99, 99, 99),) * 4,
)
"""The tables of ITU-T T.81, annex K, for bytes: a row for each wave down, a column for each along."""

TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
"""Red, green and blue into luma and the two differences of colour (JFIF)."""

FINEST = 0.02
"""The scale of JPEG's tables at quality 99."""


@dataclass(frozen=True)
class Posterise:
    """xt = the picture in n(t) evenly spaced grey levels, black and white among them, in each channel.

        n(t) = round(256^(1 - t) fewest^t);  xt = round(x0 (n - 1)) / (n - 1)

    Values outside are rounded to levels outside: nothing is clamped. Gradients pass through the rounding as if it were
    not there (straight through, Bengio et al. 2013, arXiv:1308.3432), for its own are zero.

    Raises EbbtideError for fewest outside 2 to 256.
    """

    fewest: int = 2

    def __post_init__(self) -> None:
        require(2 <= self.fewest <= 256, f"fewest={self.fewest} came, expected the grey levels at t = 1, 2 to 256")

    def draw(self, shape: Sequence[int], generator: Randomness) -> Drawn:
        """Nothing: the levels are not random."""
        return NOTHING

    def __call__(
        self, x0: Float[Tensor, "batch channels height width"], t: Float64[Tensor, " batch"], drawn: Drawn
    ) -> Float[Tensor, "batch channels height width"]:
        x = opened(x0, t)
        steps = spread((256 ** (1 - t.double()) * self.fewest ** t.double()).round() - 1, x)
        return closed(x0, t, rounded(x * steps) / steps)


@dataclass(frozen=True)
class Jpeg:
    """xt = the picture with the cosine coefficients of its 8 x 8 blocks rounded to multiples of a growing table.

        c = DCT(255 x0 - 128) block by block;  c' = q round(c / q),  q = 1 to 255 within floor(s(t) table + 1/2)
        s(t) = FINEST^(1 - t) s(1)^t, where s = 50 / quality below quality 50 and 2 - quality / 50 from there

    The tables and what a quality means are those of the usual library (libjpeg; ITU-T T.81, annex K): from quality 99
    the picture falls to `worst` at t = 1. Three channels are taken for colours, and rounded as luma and two
    differences of colour in full size (4:4:4); other channels are each taken for a luma. Sides that are no multiples of
    8 are continued by their last pixels. No bytes are written, so nothing is clamped or rounded at the end. Gradients
    pass straight through the rounding, as in `Posterise`.

    Raises EbbtideError for a worst quality outside 1 to 99.
    """

    worst: int = 1

    def __post_init__(self) -> None:
        require(1 <= self.worst < 100, f"worst={self.worst} came, expected the quality at t = 1, 1 to 99")

    def draw(self, shape: Sequence[int], generator: Randomness) -> Drawn:
        """Nothing: rounding is not random."""
        return NOTHING

    def scale(self, t: Float64[Tensor, " batch"]) -> Float64[Tensor, " batch"]:
        """s(t), by which the tables are multiplied."""
        last = 50 / self.worst if self.worst < 50 else 2 - self.worst / 50
        return FINEST ** (1 - t) * last**t

    def __call__(
        self, x0: Float[Tensor, "batch channels height width"], t: Float64[Tensor, " batch"], drawn: Drawn
    ) -> Float[Tensor, "batch channels height width"]:
        x = opened(x0, t)
        height, width = x.shape[-2:]
        colour = torch.tensor(TO_YCC, dtype=x.dtype, device=x.device) if x.shape[1] == 3 else None
        planes = x if colour is None else torch.einsum("ij,bjhw->bihw", colour, x)
        blocks = _blocks(pad(planes, (0, -width % BLOCK, 0, -height % BLOCK), mode="replicate"))
        q = _tables(self.scale(t.double()), x.shape[1]).to(x)[:, :, None]
        wave = _waves(x.dtype, x.device)
        # differences of colour lie around 0 and have nothing to be shifted by
        middle = x.new_tensor([128.0] + [128.0 if colour is None else 0.0] * (x.shape[1] - 1)).reshape(-1, 1, 1)
        c = q * rounded((255 * blocks - middle) @ wave.mT / q)
        planes = _joined((c @ wave + middle) / 255, -(-height // BLOCK))[..., :height, :width]
        if colour is not None:
            planes = torch.einsum("ij,bjhw->bihw", torch.linalg.inv(colour.double().cpu()).to(x), planes)
        return closed(x0, t, planes)


def rounded(x: Tensor) -> Tensor:
    """x rounded, with the gradient of x."""
    return x + (x.round() - x).detach() if x.requires_grad else x.round()


@lru_cache(maxsize=8)
def _waves(dtype: torch.dtype, device: torch.device) -> Float[Tensor, "64 64"]:
    """The cosines over a block of 8 x 8, one a row, so that a whole block is one product."""
    wave = waves("reflect", BLOCK, torch.float64, torch.device("cpu"))
    return torch.kron(wave, wave).to(device=device, dtype=dtype)


def _tables(scale: Float64[Tensor, " batch"], channels: int) -> Float64[Tensor, "batch channels 64"]:
    """q of each channel at these scales."""
    names = (LUMINANCE, CHROMINANCE, CHROMINANCE) if channels == 3 else (LUMINANCE,) * channels
    table = torch.tensor(names, dtype=torch.float64, device=scale.device).flatten(1)
    return (scale[:, None, None] * table + 0.5).floor().clamp(1, 255)


def _blocks(x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels blocks 64"]:
    """Sides that are multiples of 8, cut into blocks."""
    cut = x.unflatten(3, (-1, BLOCK)).unflatten(2, (-1, BLOCK))  # batch, channels, down, 8, along, 8
    return cut.transpose(3, 4).flatten(4).flatten(2, 3)


def _joined(
    blocks: Float[Tensor, "batch channels blocks 64"], down: int
) -> Float[Tensor, "batch channels height width"]:
    """`_blocks` undone, for this many blocks down."""
    cut = blocks.unflatten(3, (BLOCK, BLOCK)).unflatten(2, (down, -1))
    return cut.transpose(3, 4).flatten(4, 5).flatten(2, 3)
