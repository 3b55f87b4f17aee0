"""The pieces that networks are built of."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ebbtide.conditions import Condition
from ebbtide.errors import require
from ebbtide.waist import check_labels


def zeroed(layer: nn.Module) -> nn.Module:
    """The layer with all its parameters at zero: a residual block that ends in it begins as the identity."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class GroupNorm(nn.GroupNorm):
    """Group norm (Wu & He 2018, arXiv:1803.08494) computed in its weights' own precision, given back in the input's.

    Sums are then exact, and what follows works on half as many bytes.
    """

    def forward(self, x: Float[Tensor, "batch channels *space"]) -> Float[Tensor, "batch channels *space"]:
        return super().forward(x.to(self.weight.dtype)).to(x.dtype)


def group_norm(channels: int) -> GroupNorm:
    """Up to 32 groups of at least 4 channels."""
    groups = next(g for g in range(min(32, max(1, channels // 4)), 0, -1) if channels % g == 0)
    return GroupNorm(groups, channels)


def sinusoids(t: Float[Tensor, " batch"], size: int, slowest: float = 1e4) -> Float[Tensor, "batch size"]:
    """Sine and cosine of 1000 t at `size/2` frequencies from 1 to 1/slowest (Vaswani et al. 2017, arXiv:1706.03762)."""
    half = (size + 1) // 2
    frequencies = torch.exp(-math.log(slowest) * torch.arange(half, device=t.device, dtype=torch.float32) / half)
    angles = 1000 * t.float().unsqueeze(1) * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=1)[:, :size]


class Embedding(nn.Module):
    """Time and condition as one vector: sinusoids through a shallow network, plus a learned vector for each label.

    classes: number of labels (0: the network is unconditional). Label -1 has a vector of its own, "not told".
    """

    def __init__(self, size: int, features: int, classes: int = 0) -> None:
        super().__init__()
        require(classes >= 0, f"classes={classes} came, expected at least 0 (unconditional)")
        self.features = features
        self.classes = classes
        self.shallow = nn.Sequential(nn.Linear(features, size), nn.SiLU(), nn.Linear(size, size))
        self.label = nn.Embedding(classes + 1, size) if classes else None

    def forward(self, t: Float[Tensor, " batch"], condition: Condition) -> Float[Tensor, "batch size"]:
        embedding = self.shallow(sinusoids(t, self.features))
        if self.label is None:
            return embedding
        if condition.label is None:
            index = torch.zeros(t.shape[0], dtype=torch.long, device=t.device)
        else:
            check_labels(condition.label, len(t), self.classes)
            index = condition.label + 1
        return embedding + self.label(index)


class ResidualBlock(nn.Module):
    """norm, SiLU, conv, + embedding, norm, SiLU, dropout, conv (zero at first), + input: Ho et al.'s block (F2).

    norms: 2 as theirs; 1 leaves out the second.
    """

    def __init__(self, channels_in: int, channels: int, embedding: int, dropout: float, norms: int = 2) -> None:
        super().__init__()
        self.norm_in = group_norm(channels_in)
        self.conv_in = nn.Conv2d(channels_in, channels, 3, padding=1)
        self.embed = nn.Linear(embedding, channels)
        self.norm_out = group_norm(channels) if norms == 2 else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.conv_out = zeroed(nn.Conv2d(channels, channels, 3, padding=1))
        self.skip = nn.Identity() if channels_in == channels else nn.Conv2d(channels_in, channels, 1)

    def forward(
        self, x: Float[Tensor, "batch channels height width"], embedding: Float[Tensor, "batch size"]
    ) -> Float[Tensor, "batch channels_out height width"]:
        h = self.conv_in(F.silu(self.norm_in(x)))
        h = h + self.embed(F.silu(embedding))[:, :, None, None]
        h = self.conv_out(self.dropout(F.silu(self.norm_out(h))))
        return self.skip(x) + h


MOST_SCORES = 1024
"""Pixels up to which a CPU holds all scores at once."""


def attended(
    q: Float[Tensor, "batch heads pixels size"],
    k: Float[Tensor, "batch heads pixels size"],
    v: Float[Tensor, "batch heads pixels size"],
) -> Float[Tensor, "batch heads pixels size"]:
    """softmax(q kᵀ / √size) v (Vaswani et al. 2017, arXiv:1706.03762).

    torch's fused attention on devices; on a CPU its bf16 kernel takes several times as long as two plain products.
    """
    if q.device.type != "cpu" or q.shape[-2] > MOST_SCORES:
        return F.scaled_dot_product_attention(q, k, v)
    scores = (q * q.shape[-1] ** -0.5) @ k.mT
    return scores.softmax(-1).to(v.dtype) @ v


class SelfAttention(nn.Module):
    """Every pixel looks at every other, `heads` times over, + input; zero at first."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        fits = heads >= 1 and channels % heads == 0
        require(fits, f"{heads} attention heads came for {channels} channels: expected a divisor")
        self.heads = heads
        self.norm = group_norm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = zeroed(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels height width"]:
        batch, channels, height, width = x.shape
        # In channels-last memory a pixel's numbers lie side by side, as the fused kernel wants them: no copies.
        pixels = self.qkv(self.norm(x)).permute(0, 2, 3, 1)
        pixels = pixels.reshape(batch, height * width, 3, self.heads, channels // self.heads)
        q, k, v = pixels.permute(2, 0, 3, 1, 4).unbind(0)
        seen = attended(q, k, v).transpose(1, 2)
        return x + self.out(seen.reshape(batch, height, width, channels).permute(0, 3, 1, 2))
