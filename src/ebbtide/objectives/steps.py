"""Losses of a single step with both of its ends drawn: items E1 (with D1) and E6 (with D4).

    E1   ‖ xs - previous_hat(xt) ‖² / d          E6   ‖ eps_step - step_noise_hat(xt) ‖² / d

where xs is drawn from x0, and xt = (alpha_t/alpha_s) xs + sqrt(beta) eps_step from xs. Given x0 and xt the means of
both targets are known, and DenoisingObjective with the same kind regresses on those: same minimiser, less variance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ebbtide.conditions import Condition
from ebbtide.denoisers.network import NetworkDenoiser
from ebbtide.errors import require
from ebbtide.levels import STEP_KINDS, StepKind, along, share_of_noise_replaced
from ebbtide.objectives.objective import GaussianDrawn, Losses
from ebbtide.randomness import normal


@dataclass(frozen=True, kw_only=True)
class StepObjective(GaussianDrawn):
    """Squared error to what was drawn: the previous latent, or the noise of the step. The schedule must be a table."""

    predicts: StepKind = "previous"

    def __post_init__(self) -> None:
        super().__post_init__()
        known = self.predicts in STEP_KINDS
        require(known, f"kind {self.predicts!r} came for a loss of single steps, expected {' or '.join(STEP_KINDS)}")

    def denoiser(self, network: Callable[..., Tensor]) -> NetworkDenoiser:
        """The network, read as this objective trains it."""
        return NetworkDenoiser(network, self.corruption, self.predicts)

    def __call__(
        self,
        network: Callable[..., Tensor],
        x0: Float[Tensor, "batch *event"],
        condition: Condition,
        generator: torch.Generator,
    ) -> Losses:
        """Draw t, xs and the step to xt; denoise, compare."""
        t, told = self.draw(x0, condition, generator)
        before = self.corruption.before(t)
        xs = self.corruption.corrupt(x0, before, generator).xt
        noise = normal(x0.shape, generator, dtype=x0.dtype, device=x0.device)
        s, now = self.corruption.level(before), self.corruption.level(t)
        beta = now.sigma.square() * share_of_noise_replaced(s, now)
        xt = along(now.alpha / s.alpha, xs) * xs + along(beta.sqrt(), xs) * noise
        prediction = self.denoiser(network)(xt, t, told).prediction
        target = xs if self.predicts == "previous" else noise
        return Losses((prediction - target).square().flatten(1).mean(1), t)
