"""Where a solver's steps err, measured on a few samples of the denoiser at hand: what a grid for it is made from.

A step of order p from l to l + h, l = log(alpha / sigma), puts a polynomial of degree p - 1 in the place of the
estimate x0(l), and xs is off by about alpha_s h^(p+1) |d^p x0 / dl^p|. All steps err alike where their number a unit of
l is in proportion to the (p+1)th root of alpha times that derivative (equidistribution; in the spirit of Sabour et al.
2024, arXiv:2404.14507).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float64
from torch import Tensor

from ebbtide.conditions import Condition
from ebbtide.denoisers.estimate import GaussianDenoiser
from ebbtide.errors import require
from ebbtide.grids import log_snr_grid
from ebbtide.samplers.loop import generate
from ebbtide.samplers.multistep import DpmSolver2M

POINTS, SAMPLES = 64, 16
FLOOR = 0.05
"""Of the largest density: no stretch is left without steps because few samples showed nothing there."""


def error_density(
    denoiser: GaussianDenoiser,
    event_shape: Sequence[int],
    *,
    order: int = 2,
    points: int = POINTS,
    samples: int = SAMPLES,
    seed: int = 0,
    condition: Condition | None = None,
    device: torch.device | str = "cpu",
) -> tuple[Float64[Tensor, " levels"], Float64[Tensor, " levels"]]:
    """Levels (rising log-SNR) and how many steps of a solver of this order they deserve, in proportion.

    From the paths of a few samples in many steps. Raises EbbtideError for fewer points than the derivative needs.
    """
    require(order >= 1, f"order={order} came, expected 1 or more")
    schedule = denoiser.corruption.schedule
    points = points if schedule.steps is None else min(points, schedule.steps)
    require(points >= order + 3, f"{points} points came, expected at least {order + 3} for a solver of order {order}")
    grid = log_snr_grid(schedule, points)
    path = generate(
        denoiser, DpmSolver2M(), grid, event_shape, range(samples), seed=seed, condition=condition, device=device
    )
    estimates = torch.stack([step.x0.double().cpu() for step in path])
    log_snr = schedule.level(grid[:-1]).log_snr
    values, at = estimates, 0.5 * log_snr
    for _ in range(order):  # divided differences, between the points
        values = values.diff(dim=0) / at.diff().reshape(-1, *[1] * (values.ndim - 1))
        at = 0.5 * (at[1:] + at[:-1])
    size = values.flatten(1).square().mean(1).sqrt()
    smooth = torch.nn.functional.avg_pool1d(size[None, None], 3, 1, 1, count_include_pad=False)[0, 0]
    alpha = torch.sigmoid(2 * at).sqrt()
    density = (alpha * smooth) ** (1 / (order + 1))
    most = float(density.max())
    density = density.clamp(min=FLOOR * most) if most > 0 else torch.ones_like(density)
    levels = torch.cat([log_snr[:1], 2 * at, log_snr[-1:]])
    return levels, torch.cat([density[:1], density, density[-1:]])
