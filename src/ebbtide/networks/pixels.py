"""A small decoder of pixels: probabilities of the 256 values of each (item E11)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ebbtide.networks.layers import zeroed

VALUES = 256
NARROWEST, WIDEST = -5.0, 5.0
"""Of log-widths."""


class PixelDecoder(nn.Module):
    """Two pictures in bytes, the noisy one and what is believed of the clean one, to log-probabilities.

        P(k) ∝ f_k sum_j π_j N(k; m_j, s_j²),   k = 0..255, normalised over all of them

    f_k, learned on from the frequencies it begins with, is how often a value occurs at all: data that know only some
    values show it. The bells' places and widths are told relative to the belief and to the noise (one number a picture,
    in bytes), from a square of seven pixels around. With one bell around the noisy value this is Bayes' rule for
    independent pixels.
    """

    def __init__(self, channels: int, *, bells: int = 3, width: int = 48) -> None:
        super().__init__()
        self.bells = bells
        self.first = nn.Conv2d(2 * channels, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.third = nn.Conv2d(width, width, 3, padding=1)
        self.last = zeroed(nn.Conv2d(width, 3 * bells * channels, 1))
        self.offsets = nn.Parameter(torch.linspace(-0.5, 0.5, bells))
        self.frequencies = nn.Parameter(torch.zeros(VALUES))

    def forward(
        self,
        noisy: Float[Tensor, "batch channels height width"],
        belief: Float[Tensor, "batch channels height width"],
        noise: Float[Tensor, " batch"],
    ) -> Float[Tensor, "batch channels height width values"]:
        x = torch.cat([noisy, belief], dim=1) / (VALUES / 4) - 2  # of the size that layers like
        h = F.silu(self.first(x))
        h = h + F.silu(self.second(h))
        h = h + F.silu(self.third(h))
        logits, offsets, logs = self.last(h).unflatten(1, (3, self.bells, -1)).unbind(1)
        scale = noise[:, None, None, None, None]
        means = belief.unsqueeze(1) + (offsets + self.offsets[:, None, None, None]) * scale
        logs = logs.clamp(NARROWEST, WIDEST) + scale.log()
        values = torch.arange(VALUES, dtype=x.dtype, device=x.device)
        away = (values - means.unsqueeze(-1)) * (-logs).exp().unsqueeze(-1)
        bells = (logits.log_softmax(1) - logs).unsqueeze(-1) - 0.5 * away.square()
        return (bells.logsumexp(1) + self.frequencies).log_softmax(-1)
