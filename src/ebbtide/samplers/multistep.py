"""Multistep solvers of the probability-flow ODE: the last estimate helps the next step (Lu et al. 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ebbtide.conditions import Condition
from ebbtide.denoisers.estimate import GaussianDenoiser
from ebbtide.levels import along
from ebbtide.randomness import Randomness
from ebbtide.samplers.loop import Moved


class Before(NamedTuple):
    """What the next step remembers: the estimate of x0, and the step's length in log(alpha / sigma)."""

    x0: Float[Tensor, "batch *event"]
    length: Float64[Tensor, " batch"]


@dataclass(frozen=True)
class DpmSolver2M:
    """DPM-Solver++(2M), deterministic, second order, one evaluation a step (Lu et al. 2022, arXiv:2211.01095, Alg. 2).

    With l = log(alpha / sigma) and h = l_s - l_t, the ODE is linear but for x0(l); its integral over a straight line
    through this estimate of x0 and the one before gives

        xs = sigma_s / sigma_t xt - alpha_s (e^-h - 1) D,   D = x0 + (x0 - x0_before) h / (2 h_before)

    The first step, and the one to t = 0 where h is infinite, take D = x0: they are DDIM's.
    """

    def __call__(
        self,
        denoiser: GaussianDenoiser,
        xt: Float[Tensor, "batch *event"],
        t: Float[Tensor, " batch"],
        s: Float[Tensor, " batch"],
        condition: Condition | None,
        generator: Randomness,
        history: Before | None,
    ) -> Moved:
        x0 = denoiser(xt, t, condition).x0
        now, after = denoiser.corruption.level(t).thin, denoiser.corruption.level(s).thin
        h = 0.5 * (after.log_snr - now.log_snr)
        ahead = x0
        if history is not None and not bool(torch.isinf(h).any()):
            ahead = torch.addcmul(x0, along(h / (2 * history.length), x0), x0 - history.x0)
        xs = torch.addcmul(along(after.sigma / now.sigma, xt) * xt, along(-after.alpha * torch.expm1(-h), xt), ahead)
        return Moved(xs, x0, Before(x0, h))
