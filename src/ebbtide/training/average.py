"""The moving average of the weights, which samples better than the weights themselves.

Karras et al. 2024 (arXiv:2312.02696) measure how much it matters. Its memory is a half-life in images, not a decay per
update, so that another batch size does not change what is averaged.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from ebbtide.errors import require

Tensors = tuple[Tensor, ...] | list[Tensor]

RAMP = 0.05
"""Early on the half-life is at most this share of the images seen, so that the first weights are soon forgotten."""


def half_life_at(images: int, half_life: float) -> float:
    """The half-life in force after so many images."""
    return min(half_life, RAMP * images)


class Average:
    """torch's AveragedModel with weights halving in influence every `half_life` images.

    It is only ever asked, never trained: its network is in eval mode, without dropout, while the trained one drops.
    """

    def __init__(self, network: nn.Module, half_life: float) -> None:
        require(
            0 <= half_life < math.inf,
            f"a half-life of {half_life} images came, expected 0 (the last weights alone) or more, and finite",
        )
        self.half_life = half_life
        self._keep = 0.0
        self.model = AveragedModel(network, multi_avg_fn=self._blend)
        # AveragedModel copies the first weights it is given; they are in it already.
        self.model.n_averaged.fill_(1)
        self.model.eval()

    @property
    def network(self) -> nn.Module:
        """The averaged network."""
        return self.model.module

    def update(self, network: nn.Module, *, batch: int, images: int) -> None:
        """Take in the weights after an update with `batch` images, `images` in all."""
        half_life = half_life_at(images, self.half_life)
        self._keep = 0.5 ** (batch / half_life) if half_life > 0 else 0.0
        self.model.update_parameters(network)

    @torch.no_grad()
    def _blend(self, averaged: Tensors, current: Tensors, _count: Tensor | int) -> None:
        torch._foreach_lerp_(averaged, current, 1 - self._keep)
