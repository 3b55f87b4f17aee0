"""The hybrid loss that also learns the variance of each step (item D7; Nichol & Dhariwal 2021, arXiv:2102.09672).

    loss = simple + share · T · KL(q(xs | xt, x0) ‖ p(xs | xt)) / d

The mean inside the second term is held fixed (stop-gradient): it teaches the variance only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from ebbtide.conditions import Condition
from ebbtide.denoisers.decoder import decode
from ebbtide.denoisers.estimate import VarianceEstimate
from ebbtide.denoisers.network import VarianceDenoiser
from ebbtide.errors import require
from ebbtide.gaussian import Spherical, kl
from ebbtide.levels import posterior
from ebbtide.objectives.denoising import DenoisingObjective
from ebbtide.objectives.objective import Losses


@dataclass(frozen=True, kw_only=True)
class VarianceObjective(DenoisingObjective):
    """A DenoisingObjective for the mean, and a small share of the bound for the variance. The schedule must be a table.

    The step to s = 0 has no posterior to compare with and teaches the mean alone.
    """

    share: float = 0.001

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.share > 0, f"share={self.share} came, expected more than 0")

    def denoiser(self, network: Callable[..., Tensor]) -> VarianceDenoiser:
        """The network, whose channels are twice those of the data."""
        return VarianceDenoiser(network, self.corruption, self.predicts)

    def __call__(
        self,
        network: Callable[..., Tensor],
        x0: Float[Tensor, "batch *event"],
        condition: Condition,
        generator: torch.Generator,
    ) -> Losses:
        """Draw t and noise, denoise, compare mean and variance."""
        t, told = self.draw(x0, condition, generator)
        xt, eps = self.corruption.corrupt(x0, t, generator)
        assert eps is not None
        estimate = self.denoiser(network)(xt, t, told)
        values = self.error(estimate.prediction, x0, eps, t) + self.share * self.step_cost(estimate, x0, t)
        return Losses(values, t)

    def step_cost(
        self, estimate: VarianceEstimate, x0: Float[Tensor, "batch *event"], t: Float[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """T KL(q(xs | xt, x0) ‖ p(xs | xt)) / d with a gradient to the variance only; 0 where s = 0."""
        before = self.corruption.before(t)
        s, now = self.corruption.level(before), self.corruption.level(t)
        held = replace(estimate, prediction=estimate.prediction.detach())
        law = decode(held, s, now, "learned")
        target = posterior(estimate.xt, x0, s, now)
        first = (before == 0).to(x0.device)
        # a law without variance would give an infinite value, whose gradient is not a number even where it is not used
        assert isinstance(target.covariance, Spherical)
        filled = replace(target, covariance=Spherical(target.covariance.variance + first))
        cost = kl(filled, law) / math.prod(x0.shape[1:])
        assert self.corruption.schedule.steps is not None
        return torch.where(first, 0.0, cost * self.corruption.schedule.steps)
