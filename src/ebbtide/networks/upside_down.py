"""An upside-down U-Net of linear layers, for data too small to be narrowed: it widens them first (item F3)."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ebbtide.conditions import Condition
from ebbtide.errors import require
from ebbtide.networks.layers import Embedding, zeroed


class UpsideDown(nn.Module):
    """Examples of d numbers in, examples of the same shape out: widened to `width`, then narrowed back to d.

    Level i of the `depth` levels is d (width / d)^(i / depth) wide. On the way back each level sees what the level of
    its width left on the way out too, the last one x itself. Time and label are added at every level.
    outputs: the answer has this many times the channels of x (the first axis of an event).
    Source: the notebook `denoising` of CS182 (Berkeley, 2022), which has such a network without saying its widths.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        *,
        width: int = 128,
        depth: int = 3,
        dropout: float = 0.0,
        classes: int = 0,
        outputs: int = 1,
    ) -> None:
        super().__init__()
        size = prod(event_shape)
        require(depth >= 1, f"depth={depth} came, expected at least 1")
        require(width > size, f"width={width} came for examples of {size} numbers, expected a larger one: it widens")
        require(0 <= dropout < 1, f"dropout={dropout} came, expected at least 0 and less than 1")
        require(outputs >= 1, f"outputs={outputs} came, expected at least 1")
        self.answer_shape = (outputs * event_shape[0], *event_shape[1:])
        widths = [round(size * (width / size) ** (level / depth)) for level in range(depth + 1)]
        self.embedding = Embedding(width, width, classes)
        self.widen = nn.ModuleList(_Level(a, b, width, dropout) for a, b in zip(widths, widths[1:], strict=False))
        self.narrow = nn.ModuleList()
        came = width
        for level in range(depth - 1, 0, -1):
            self.narrow.append(_Level(came, widths[level], width, dropout))
            came = 2 * widths[level]
        self.last = zeroed(nn.Linear(came + size, outputs * size))

    def forward(
        self, x: Float[Tensor, "batch *event"], t: Float[Tensor, " batch"], condition: Condition
    ) -> Float[Tensor, "batch *answer"]:
        embedding = self.embedding(t, condition)
        h, skips = x.flatten(1), []
        for level in self.widen:
            skips.append(h)
            h = level(h, embedding)
        for level in self.narrow:
            h = torch.cat([level(h, embedding), skips.pop()], dim=1)
        return self.last(torch.cat([h, skips.pop()], dim=1)).unflatten(1, self.answer_shape)


class _Level(nn.Module):
    """Another width: linear, norm, + embedding, SiLU, dropout."""

    def __init__(self, width_in: int, width: int, embedding: int, dropout: float) -> None:
        super().__init__()
        self.linear = nn.Linear(width_in, width)
        self.norm = nn.LayerNorm(width)
        self.embed = nn.Linear(embedding, width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, h: Float[Tensor, "batch width_in"], embedding: Float[Tensor, "batch size"]
    ) -> Float[Tensor, "batch width"]:
        return self.dropout(F.silu(self.norm(self.linear(h)) + self.embed(F.silu(embedding))))
