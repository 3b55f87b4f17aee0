"""A number that was estimated from a sample, and how far off chance may have put it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Measured:
    """error: the standard error of value, that is the standard deviation it would have over fresh sets of this size."""

    value: float
    error: float
