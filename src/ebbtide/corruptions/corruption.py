"""The first half of the narrow waist (the other is denoisers.Denoiser): how data is worn away to a level t.

A corruption needs no noise and no formula, only these:

    corrupt(x0, t, generator) -> Corrupted(xt, noise or None)
    prior(shape, generator)   -> what is left at t = 1, drawn without any data
    steps                     -> T where t is one of l / T, None where it is any number from 0 to 1
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from ebbtide.randomness import Randomness


class Corrupted(NamedTuple):
    """xt, and the noise that made it where the corruption adds one."""

    xt: Float[Tensor, "batch *event"]
    noise: Float[Tensor, "batch *event"] | None


@runtime_checkable
class Corruption(Protocol):
    """Data worn to t in one draw, and what is left of it at the end."""

    @property
    def steps(self) -> int | None: ...

    def corrupt(
        self, x0: Float[Tensor, "batch *event"], t: Float[Tensor, " batch"], generator: Randomness
    ) -> Corrupted: ...

    def prior(self, shape: Sequence[int], generator: Randomness) -> Float[Tensor, "batch *event"]: ...


@runtime_checkable
class Stepwise(Corruption, Protocol):
    """A corruption of T single steps: two latents of one path can be drawn, x_{t - 1/T} and xt."""

    def successive(
        self, x0: Float[Tensor, "batch *event"], t: Float[Tensor, " batch"], generator: Randomness
    ) -> tuple[Float[Tensor, "batch *event"], Float[Tensor, "batch *event"]]: ...


@runtime_checkable
class Settling(Corruption, Protocol):
    """A corruption whose chance can be drawn once: what it settles to takes the same way to every t."""

    def settled(self, shape: Sequence[int], generator: Randomness) -> Corruption: ...
