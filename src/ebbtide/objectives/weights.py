"""Weights on squared errors of x0: functions of the noise level alone, float64, (batch,)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float64
from torch import Tensor

from ebbtide.corruptions import GaussianCorruption
from ebbtide.errors import require
from ebbtide.levels import share_of_noise_replaced


@runtime_checkable
class Weight(Protocol):
    """A factor on each example's squared error."""

    def __call__(self, corruption: GaussianCorruption, t: Float64[Tensor, " batch"]) -> Float64[Tensor, " batch"]: ...


@dataclass(frozen=True)
class MinSnr:
    """min(alpha²/sigma², gamma), on errors of x0 (Hang et al. 2023, arXiv:2303.09556)."""

    gamma: float = 5.0

    def __post_init__(self) -> None:
        require(self.gamma > 0, f"gamma={self.gamma} came, expected more than 0")

    def __call__(self, corruption: GaussianCorruption, t: Float64[Tensor, " batch"]) -> Float64[Tensor, " batch"]:
        return corruption.level(t).snr.clamp(max=self.gamma)


@dataclass(frozen=True)
class BoundWeight:
    """What an error of x0 costs in the bound, nats a dimension, scaled so that the mean over t is the whole sum.

        table of T steps     T (alpha_s (1 - exp(λ_t - λ_s)))² / (2 variance): KL(q(xs|xt,x0) ‖ p(xs|xt)), times T
        continuous           ½ |d SNR / dt|, the limit of many steps (Kingma et al. 2021, arXiv:2107.00630)

    On the mean's error this is T / (2 variance) (E2), on the noise's T beta² / (2 variance (1 - beta) (1 - abar)) (E3,
    in Ho's beta and abar). variance: of the decoder, "step" (beta) or "posterior" (btilde, infinite at the first step).
    """

    variance: Literal["step", "posterior"] = "step"

    def __post_init__(self) -> None:
        known = self.variance in ("step", "posterior")
        require(known, f"variance={self.variance!r} came, expected 'step' (beta) or 'posterior' (btilde)")

    def __call__(self, corruption: GaussianCorruption, t: Float64[Tensor, " batch"]) -> Float64[Tensor, " batch"]:
        steps = corruption.schedule.steps
        if steps is None:
            return 0.5 * _rate_of_snr(corruption, t)
        level, before = corruption.level(t), corruption.level(corruption.before(t))
        scale = level.sigma if self.variance == "step" else before.sigma
        return 0.5 * steps * before.alpha.square() * share_of_noise_replaced(before, level) / scale.square()


def _rate_of_snr(corruption: GaussianCorruption, t: Tensor) -> Tensor:
    """|d SNR / dt| = SNR |dλ/dt|, by automatic differentiation of the schedule."""
    with torch.enable_grad():
        time = t.detach().double().requires_grad_()
        log_snr = corruption.schedule.level(time).log_snr
        (rate,) = torch.autograd.grad(log_snr.sum(), time)
    return log_snr.detach().exp() * rate.abs()
