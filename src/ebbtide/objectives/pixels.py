"""The loss of the trained last decoder: its own share of the bound, L_0, nats a dimension (item E11)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ebbtide.conditions import Condition
from ebbtide.data.dataset import ValueRange
from ebbtide.denoisers.estimate import GaussianDenoiser
from ebbtide.likelihood.pixels import TrainedPixels
from ebbtide.objectives.objective import Losses


@dataclass(frozen=True, kw_only=True)
class PixelObjective:
    """-log p(x0 | z1) / d with z1 at t = first; the denoiser is finished and stays as it is."""

    denoiser: GaussianDenoiser
    first: float
    range: ValueRange

    def __call__(
        self,
        network: Callable[..., Tensor],
        x0: Float[Tensor, "batch channels height width"],
        condition: Condition,
        generator: torch.Generator,
    ) -> Losses:
        """Noise to z1, denoise, decode."""
        t = torch.full((x0.shape[0],), self.first, dtype=torch.float64)
        with torch.no_grad():
            estimate = self.denoiser(self.denoiser.corruption.corrupt(x0, t, generator).xt, t, condition)
        return Losses((TrainedPixels(self.range, network)(estimate, x0) / math.prod(x0.shape[1:])).float(), t)
