"""The waves that a symmetric blur keeps: it only makes each of them weaker, by its gain.

A line of n pixels that is reflected at its ends (d c b a | a b c d | d c b a) is a sum of the cosines of DCT-II,
one that goes round and round is a sum of cas(2π j k / n), cas = cos + sin. Both sets are orthonormal, and a symmetric
kernel multiplies wave k by its transform at that wave's frequency: a blur is exact, however wide, and is one product
of matrices a side.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal, get_args

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ebbtide.degradations.degradation import check_choice

Edges = Literal["reflect", "wrap"]

MOST_KEPT = 64
"""Matrices of waves that are kept."""


def check_edges(edges: str) -> None:
    """Raise EbbtideError for a word that names no edges."""
    check_choice("edges", edges, get_args(Edges))


@lru_cache(maxsize=MOST_KEPT)
def waves(edges: Edges, n: int, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "n n"]:
    """The orthonormal waves over n pixels, one a row.

    reflect: c_k cos(π k (j + 1/2) / n), c_0 = sqrt(1/n), c_k = sqrt(2/n);  wrap: cas(2π j k / n) / sqrt(n)
    """
    j, k = torch.arange(n, dtype=torch.float64), torch.arange(n, dtype=torch.float64)[:, None]
    if edges == "reflect":
        matrix = math.sqrt(2 / n) * torch.cos(math.pi / n * k * (j + 0.5))
        matrix[0] = math.sqrt(1 / n)
    else:
        angle = 2 * math.pi / n * (k * j % n)
        matrix = (torch.cos(angle) + torch.sin(angle)) / math.sqrt(n)
    return matrix.to(device=device, dtype=dtype)


def frequencies(edges: Edges, n: int) -> Float64[Tensor, " n"]:
    """ω of each wave in radians a pixel, 0 to π: π k / n, and 2π min(k, n - k) / n where it wraps."""
    k = torch.arange(n, dtype=torch.float64)
    return math.pi / n * k if edges == "reflect" else 2 * math.pi / n * torch.minimum(k, n - k)


def filters(
    gains: Float64[Tensor, "batch n"], edges: Edges, like: Float[Tensor, "batch channels height width"]
) -> Float[Tensor, "batch 1 n n"]:
    """The matrix W^T diag(gain) W of each example, which multiplies every wave W of a side by its gain.

    It is symmetric: one blurs a picture x along both sides by filters(rows) @ x @ filters(columns).
    """
    wave = waves(edges, gains.shape[1], like.dtype, like.device)
    gain = gains.to(device=like.device, dtype=like.dtype)
    return ((wave.mT * gain[:, None, :]) @ wave)[:, None]
