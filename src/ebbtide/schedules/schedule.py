"""What the rest of the library asks of a schedule."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from ebbtide.levels import Level

LAST_LOG_SNR = -15.0
"""Where continuous schedules end: alpha = 5.5e-4. At alpha = 0 a prediction of eps says nothing about x0."""


@runtime_checkable
class Schedule(Protocol):
    """What the rest of the library asks of a schedule."""

    @property
    def steps(self) -> int | None:
        """T of a table; None for a continuous schedule."""

    def level(self, t: Float[Tensor, "*batch"]) -> Level:
        """alpha and sigma at t; a table refuses a t that is no l/T."""
