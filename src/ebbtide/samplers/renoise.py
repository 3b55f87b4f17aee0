"""Denoise fully, then renoise at a lower level (item G3; DLVU lecture 11)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ebbtide.conditions import Condition
from ebbtide.denoisers.estimate import Denoiser
from ebbtide.errors import require
from ebbtide.randomness import Randomness
from ebbtide.samplers.loop import Moved
from ebbtide.schedules import Schedule


@dataclass(frozen=True)
class Renoise:
    """xs = the corruption of E[x0 | xt] at s, with noise of its own; for Gaussian noise alpha_s x0_hat + sigma_s z.

    For any corruption: all it asks is `corrupt`. Stride K of the lecture is the grid's (`strided_grid`).

    Where the data are one point it has the corruption's own law at every s. In general it has not, in however many
    steps: x0_hat is a mean, which spreads less than the data by Cov[x0 | xt], so

        Cov xs = alpha_s² Cov x0_hat + sigma_s² I  <  alpha_s² Cov x0 + sigma_s² I

    and every step forgets the noise of the last one. Of data N(0, I) with variance preserved, many steps near one level
    leave variance 1/(1 + alpha²), down to a half; a single step from pure noise leaves none, as its guess is the mean.
    """

    def __call__(
        self,
        denoiser: Denoiser,
        xt: Float[Tensor, "batch *event"],
        t: Float[Tensor, " batch"],
        s: Float[Tensor, " batch"],
        condition: Condition | None,
        generator: Randomness,
        history: Any,
    ) -> Moved:
        x0 = denoiser(xt, t, condition).x0
        if bool((s == 0).all()):
            return Moved(x0, x0)
        return Moved(denoiser.corruption.corrupt(x0, s, generator).xt, x0)


def strided_grid(schedule: Schedule, stride: int) -> Float64[Tensor, " points"]:
    """Every K-th time of a table of T steps from its last one down, and 0: l = T, T - K, T - 2K, ..., 0, over T."""
    steps = schedule.steps
    require(
        steps is not None, "a stride came for a schedule in continuous time, which has no steps: use grids.uniform_grid"
    )
    assert steps is not None
    require(1 <= stride <= steps, f"stride={stride} came, expected from 1 to the table's {steps} steps")
    index = torch.arange(steps, 0, -stride, dtype=torch.float64)
    return torch.cat([index, torch.zeros(1, dtype=torch.float64)]) / steps
