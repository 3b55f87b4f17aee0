"""One solver for the first steps, another from there on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from ebbtide.conditions import Condition
from ebbtide.errors import require
from ebbtide.randomness import Randomness
from ebbtide.samplers.loop import Moved, Sampler


@dataclass(frozen=True)
class Started:
    """`first` takes the first `steps` steps, `then` all others, and goes on from what `first` remembers.

    A multistep solver of order k knows too few estimates for its order in its first k - 1 steps. With another solver
    of order k - 1 or more there (its error in one step is then no more than all of the others' together), the whole has
    order k. The deterministic solvers of this package remember in one form, so any can start any other.
    """

    first: Sampler
    then: Sampler
    steps: int = 1

    def __post_init__(self) -> None:
        require(self.steps >= 1, f"steps={self.steps} came, expected at least 1: with none `first` has nothing to do")

    def __call__(
        self,
        denoiser: Any,
        xt: Float[Tensor, "batch *event"],
        t: Float[Tensor, " batch"],
        s: Float[Tensor, " batch"],
        condition: Condition | None,
        generator: Randomness,
        history: tuple[int, Any] | None,
    ) -> Moved:
        taken, remembered = history or (0, None)
        sampler = self.first if taken < self.steps else self.then
        moved = sampler(denoiser, xt, t, s, condition, generator, remembered)
        return moved._replace(history=(taken + 1, moved.history))
