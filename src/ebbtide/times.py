"""Times: grids that sampling walks down, draws that training learns from, the time of a level.

A table of T steps knows l/T only.
"""

from __future__ import annotations

import torch
from jaxtyping import Float64
from torch import Tensor

from ebbtide.errors import EbbtideError, require
from ebbtide.schedules import Schedule


def nearest(schedule: Schedule, t: Tensor) -> Float64[Tensor, "*batch"]:
    """t rounded to what the schedule knows, but not to 0 where it was more than 0."""
    t = t.double()
    if schedule.steps is None:
        return t
    index = (t * schedule.steps).round()
    return torch.where(t > 0, index.clamp(min=1), index) / schedule.steps


def uniform_grid(schedule: Schedule, steps: int, start: float = 1.0) -> Float64[Tensor, " points"]:
    """steps + 1 times that fall evenly from `start` to 0, on the schedule's own times.

    A table of T steps has no more than T of them: asking for more is an error.
    """
    require(0 < start <= 1, f"a start at t={start:g} came, expected more than 0 and at most 1")
    require(steps >= 1, f"{steps} sampling steps came, expected at least 1")
    grid = nearest(schedule, torch.linspace(start, 0, steps + 1, dtype=torch.float64))
    if bool((grid.diff() >= 0).any()):
        available = round(float(grid[0]) * (schedule.steps or 0))
        raise EbbtideError(
            f"{steps} sampling steps came, but the schedule was made with {schedule.steps} and has {available} from "
            f"t={start:g} on: ask for at most {available}"
        )
    return grid


def karras_grid(
    schedule: Schedule, steps: int, start: float = 1.0, *, rho: float = 7.0, most: float = 40.0, least: float = 0.02
) -> Float64[Tensor, " points"]:
    """steps + 1 times to 0, whose noise ratios n = sigma/alpha are even in n^(1/rho) from `most` to `least`; then 0.

    Karras et al. 2022 (arXiv:2206.00364, eq. 5); their sigma, for data of standard deviation 1, is our n. Little noise
    gets short steps: there solvers err most. The first time is `start` if that has less noise than `most`. The schedule
    must be continuous.
    """
    require(0 < start <= 1, f"a start at t={start:g} came, expected more than 0 and at most 1")
    require(steps >= 1, f"{steps} sampling steps came, expected at least 1")
    require(
        rho > 0 and 0 < least < most, f"rho={rho}, least={least}, most={most} came, expected 0 < least < most, rho > 0"
    )
    require(
        schedule.steps is None,
        f"a grid by noise came for a table of {schedule.steps} steps, which has no times between: use the uniform one",
    )
    first = torch.tensor([start], dtype=torch.float64)
    ratio = float(torch.exp(-0.5 * schedule.level(first).log_snr))
    high = min(most, ratio)
    low = min(least, high / 2)
    share = torch.linspace(0, 1, steps, dtype=torch.float64)
    ratios = (high ** (1 / rho) + share * (low ** (1 / rho) - high ** (1 / rho))) ** rho
    times = time_of(schedule, -2 * ratios.log())
    if ratio <= most:
        times[0] = start  # bisection may end a digit beside it
    return torch.cat([times, torch.zeros(1, dtype=torch.float64)])


def draw_times(count: int, schedule: Schedule, generator: torch.Generator) -> Float64[Tensor, " count"]:
    """Times for a batch of training examples, uniform over (0, 1] or over l = 1..T, stratified.

    One uniform number shifts an even grid, so each example's time is uniform and the batch covers all levels
    (Kingma et al. 2021, arXiv:2107.00630, appendix I). The order is shuffled: it is independent of the examples.
    """
    offset = torch.rand(1, generator=generator, dtype=torch.float64)
    even = (torch.arange(count, dtype=torch.float64) + offset) / count
    t = 1 - even[torch.randperm(count, generator=generator)]
    if schedule.steps is None:
        return t
    return (t * schedule.steps).ceil().clamp(min=1) / schedule.steps


def time_of(schedule: Schedule, log_snr: Float64[Tensor, "*batch"]) -> Float64[Tensor, "*batch"]:
    """The first t in [0, 1] at which a continuous schedule has fallen to this log-SNR; 1 where it never does.

    The bits of float64, read as integers, are ordered as the numbers from 0 on are. So t is found like a word in a
    dictionary, seven bits at a time (a bisection in 128 parts), to its last digit however small it is. Raises
    ValueError for a table (see schedules.InterpolatedSchedule).
    """
    if schedule.steps is not None:
        raise ValueError(f"a table of {schedule.steps} steps came, expected a schedule that knows every t")
    target = log_snr.double().cpu().unsqueeze(-1)
    last = torch.ones_like(target).view(torch.int64)
    found = torch.zeros_like(last)
    for shift in range(56, -1, -7):
        before = found + (torch.arange(1, 128) << shift) - 1
        above = schedule.level(before.minimum(last).view(torch.float64)).log_snr > target
        found = found + ((above & (before < last)).sum(-1, keepdim=True) << shift)
    return found.squeeze(-1).view(torch.float64)
