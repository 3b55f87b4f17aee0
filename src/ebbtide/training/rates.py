"""The learning rate as a function of how far training is: warm-up, flat, then down to zero."""

from __future__ import annotations

import math

from ebbtide.errors import require


def rate_factor(step: int, progress: float, *, warmup: int, decay: float) -> float:
    """The factor on the peak rate for the update after `step` updates, at `progress` of the whole run (0 to 1).

        linear from 1/(warmup + 1) over the first `warmup` updates; 1; a half cosine to 0 over the last `decay` share

    Progress may be counted in updates or in minutes: a run with a budget of time adapts by itself.
    """
    require(0 <= decay <= 1, f"decay={decay} came, expected the share of the run, 0 to 1")
    require(warmup >= 0, f"warmup={warmup} came, expected 0 updates or more")
    rise = min(1.0, (step + 1) / (warmup + 1))
    begin = 1 - decay
    if decay == 0 or progress <= begin:
        return rise
    fall = min(1.0, (progress - begin) / decay)
    return rise * 0.5 * (1 + math.cos(math.pi * fall))
