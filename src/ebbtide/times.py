"""Times: draws that training learns from, the nearest that a table knows, the time of a level.

A table of T steps knows l/T only.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float64
from torch import Tensor

from ebbtide.errors import require
from ebbtide.schedules import Schedule
from ebbtide.waist import known_times


@runtime_checkable
class Stepped(Protocol):
    """A schedule or a corruption: T where it knows l/T only, None where it knows any t."""

    @property
    def steps(self) -> int | None: ...


def nearest(schedule: Stepped, t: Tensor) -> Float64[Tensor, "*batch"]:
    """t rounded to what the schedule (or corruption) knows, but not to 0 where it was more than 0; on the CPU."""
    t = known_times(t)
    if schedule.steps is None:
        return t
    index = (t * schedule.steps).round()
    return torch.where(t > 0, index.clamp(min=1), index) / schedule.steps


def draw_times(count: int, schedule: Stepped, generator: torch.Generator) -> Float64[Tensor, " count"]:
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
    EbbtideError for a table (see schedules.InterpolatedSchedule).
    """
    require(schedule.steps is None, f"a table of {schedule.steps} steps came, expected a schedule that knows every t")
    target = log_snr.double().cpu().unsqueeze(-1)
    last = torch.ones_like(target).view(torch.int64)
    found = torch.zeros_like(last)
    for shift in range(56, -1, -7):
        before = found + (torch.arange(1, 128) << shift) - 1
        above = schedule.level(before.minimum(last).view(torch.float64)).log_snr > target
        found = found + ((above & (before < last)).sum(-1, keepdim=True) << shift)
    return found.squeeze(-1).view(torch.float64)
