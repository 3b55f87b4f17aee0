"""Fewer and larger pixels, down to one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from ebbtide.degradations.degradation import NOTHING, Drawn, closed, opened
from ebbtide.randomness import Randomness


@dataclass(frozen=True)
class Pixelate:
    """xt = every cell of a grid of m(t) by m(t) cells filled with the mean of its pixels (Bansal et al. 2022).

        m(t) = round(n^(1 - t)) cells along a side of n pixels; pixel j lies in cell floor((j + 1/2) m / n)

    The grid falls geometrically from the full one to a single cell: at t = 1 a picture is its mean colour. Cells are
    made of whole pixels, so where n is no multiple of m some are a pixel wider than others; in return every level is a
    projection (pixelating twice changes nothing) that keeps the mean of every channel. Where m divides n this is area
    averaging, blown up again by copying. Linear in x0.
    """

    def draw(self, shape: Sequence[int], generator: Randomness) -> Drawn:
        """Nothing: the grid is not random."""
        return NOTHING

    def __call__(
        self, x0: Float[Tensor, "batch channels height width"], t: Float64[Tensor, " batch"], drawn: Drawn
    ) -> Float[Tensor, "batch channels height width"]:
        x = opened(x0, t)
        averaging = {n: _averaging(n, cells(n, t), x)[:, None] for n in x.shape[-2:]}  # a square picture needs only one
        return closed(x0, t, averaging[x.shape[-2]] @ x @ averaging[x.shape[-1]])


def cells(n: int, t: Float[Tensor, " batch"]) -> Int64[Tensor, " batch"]:
    """m(t) = round(n^(1 - t)), n to 1."""
    return (float(n) ** (1 - t.double())).round().long()


def _averaging(
    n: int, m: Int64[Tensor, " batch"], like: Float[Tensor, "batch channels height width"]
) -> Float[Tensor, "batch n n"]:
    """The symmetric matrix that gives each of n pixels the mean of its cell, for m cells."""
    j = torch.arange(n, device=m.device)
    cell = torch.div((2 * j + 1) * m[:, None], 2 * n, rounding_mode="floor")  # whole numbers: no pixel on a border
    same = (cell[:, :, None] == cell[:, None, :]).to(device=like.device, dtype=like.dtype)
    return same / same.sum(dim=-1, keepdim=True)
