"""The U-Net of Ho et al. (item F2): residual blocks down and up, skips between, attention at the coarse levels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ebbtide.conditions import Condition
from ebbtide.errors import require
from ebbtide.networks.layers import Embedding, ResidualBlock, SelfAttention, group_norm, zeroed


class Block(nn.Module):
    """A residual block, with or without attention after it."""

    def __init__(
        self, channels_in: int, channels: int, embedding: int, dropout: float, norms: int, heads: int | None
    ) -> None:
        super().__init__()
        self.residual = ResidualBlock(channels_in, channels, embedding, dropout, norms)
        self.attention = SelfAttention(channels, heads) if heads is not None else nn.Identity()

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        return self.attention(self.residual(h, embedding))


class Down(nn.Module):
    """One level on the way down: its blocks, then half the resolution (not at the last level)."""

    def __init__(self, blocks: Sequence[Block], shrink: nn.Module | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.shrink = shrink

    def forward(self, h: Tensor, embedding: Tensor) -> list[Tensor]:
        """What each block leaves, and the shrunk result: all of them are skips for the way up."""
        left = []
        for block in self.blocks:
            h = block(h, embedding)
            left.append(h)
        if self.shrink is not None:
            left.append(self.shrink(h))
        return left


class Up(nn.Module):
    """One level on the way up: each block sees a skip too; then the resolution of the next skip (not at the first)."""

    def __init__(self, blocks: Sequence[Block], grow: nn.Module | None, grow_last: bool = False) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.grow = grow
        self.grow_last = grow_last

    def forward(self, h: Tensor, embedding: Tensor, skips: list[Tensor]) -> Tensor:
        """Takes its skips off the end of the list."""
        for block in self.blocks:
            h = block(torch.cat([h, skips.pop()], dim=1), embedding)
        if self.grow is None:
            return h
        size = skips[-1].shape[-2:]
        if self.grow_last:
            return F.interpolate(self.grow(h), size=size, mode="nearest")
        return self.grow(F.interpolate(h, size=size, mode="nearest"))


class UNet(nn.Module):
    """Images in, images of the same shape out, in channels-last memory.

    channels: width of the finest level; multipliers: width of each level as a multiple of it, each level half as high
    and wide as the one before (sides need not be even: the way up returns to the sizes of the way down).
    patch: squares of this many pixels a side are folded into channels first and unfolded last, for cheaper levels.
    blocks: residual blocks a level on the way down, one more on the way up. attention: for each level, whether pixels
    attend to one another there. classes: labels that condition it (0: none).
    lean: less work than theirs: one norm a block, and on the way up channels narrow before pixels multiply.
    outputs: the answer has this many times the channels of x.
    """

    def __init__(
        self,
        image_channels: int,
        *,
        patch: int = 1,
        channels: int = 64,
        multipliers: Sequence[int] = (1, 2, 2),
        blocks: int = 2,
        attention: Sequence[bool] = (False, True, True),
        heads: int = 4,
        dropout: float = 0.0,
        lean: bool = False,
        classes: int = 0,
        outputs: int = 1,
    ) -> None:
        super().__init__()
        require(channels >= 4, f"channels={channels} came, expected at least 4")
        require(patch >= 1, f"patch={patch} came, expected at least 1")
        require(blocks >= 1, f"blocks={blocks} came, expected at least 1")
        require(
            len(attention) == len(multipliers) > 0,
            f"attention for {len(attention)} levels came, but {len(multipliers)} multipliers: expected equally many",
        )
        require(min(multipliers) >= 1, f"multipliers={tuple(multipliers)} came, expected each at least 1")
        require(0 <= dropout < 1, f"dropout={dropout} came, expected at least 0 and less than 1")
        require(outputs >= 1, f"outputs={outputs} came, expected at least 1")
        self.patch = patch
        norms = 1 if lean else 2
        size, folded = 4 * channels, image_channels * patch**2
        widths = [channels * multiplier for multiplier in multipliers]
        wanted = [heads if attends else None for attends in attention]
        last = len(widths) - 1
        self.embedding = Embedding(size, channels, classes)
        self.first = nn.Conv2d(folded, channels, 3, padding=1)

        self.down = nn.ModuleList()
        skips, width = [channels], channels
        for level, target in enumerate(widths):
            stage = []
            for _ in range(blocks):
                stage.append(Block(width, target, size, dropout, norms, wanted[level]))
                width = target
                skips.append(width)
            shrink = nn.Conv2d(width, width, 3, stride=2, padding=1) if level < last else None
            skips += [width] if level < last else []
            self.down.append(Down(stage, shrink))

        self.middle = nn.ModuleList(
            [Block(width, width, size, dropout, norms, wanted[-1]), Block(width, width, size, dropout, norms, None)]
        )

        self.up = nn.ModuleList()
        for level in range(last, -1, -1):
            stage = []
            for _ in range(blocks + 1):
                stage.append(Block(width + skips.pop(), widths[level], size, dropout, norms, wanted[level]))
                width = widths[level]
            narrow = widths[level - 1] if lean and level > 0 else width
            self.up.append(Up(stage, nn.Conv2d(width, narrow, 3, padding=1) if level > 0 else None, grow_last=lean))
            width = narrow

        self.norm = group_norm(width)
        self.last = zeroed(nn.Conv2d(width, outputs * folded, 3, padding=1))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(
        self, x: Float[Tensor, "batch channels height width"], t: Float[Tensor, " batch"], condition: Condition
    ) -> Float[Tensor, "batch answer height width"]:
        embedding = self.embedding(t, condition)
        folded = F.pixel_unshuffle(x, self.patch) if self.patch > 1 else x
        skips = [self.first(folded.contiguous(memory_format=torch.channels_last))]
        for stage in self.down:
            skips += stage(skips[-1], embedding)
        h = skips[-1]
        for block in self.middle:
            h = block(h, embedding)
        for stage in self.up:
            h = stage(h, embedding, skips)
        out = self.last(F.silu(self.norm(h)))
        return F.pixel_shuffle(out, self.patch) if self.patch > 1 else out
