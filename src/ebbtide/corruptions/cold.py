"""Cold diffusion (item C7; Bansal et al. 2022, arXiv:2208.09392): xt = D(x0, t) for any degradation D, no noise.

D works on pictures with black 0 and white 1; the data's own range is translated there and back. What D draws at random
(a mask's centre, a pattern of snow, another picture) can be settled once for a batch: then xt is one path in t, which
restoring and degrading again can follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from ebbtide.corruptions.corruption import Corrupted
from ebbtide.corruptions.start import Start
from ebbtide.degradations import Degradation
from ebbtide.errors import EbbtideError, require
from ebbtide.randomness import Randomness, generator_of
from ebbtide.waist import check_batch, known_times


@dataclass(frozen=True, kw_only=True, eq=False)
class ColdCorruption:
    """low, high: what black and white are in the data. start: what is left at t = 1, as a law that can be drawn from.

    drawn: what has been settled, None while it is drawn anew for each batch.
    """

    degradation: Degradation
    low: float
    high: float
    start: Start | None = None
    drawn: tuple[Tensor, ...] | None = None

    def __post_init__(self) -> None:
        require(self.low < self.high, f"low={self.low} and high={self.high} came, expected low < high")

    @property
    def steps(self) -> None:
        """None: t is any number from 0 to 1."""
        return None

    def degrade(
        self, x0: Float[Tensor, "batch *event"], t: Float[Tensor, " batch"], drawn: tuple[Tensor, ...]
    ) -> Float[Tensor, "batch *event"]:
        """D(x0, t) in the data's range; x0 itself where t = 0."""
        check_batch(x0, t)
        t = known_times(t)
        span = self.high - self.low
        degraded = self.low + span * self.degradation((x0 - self.low) / span, t, drawn)
        worn = (t > 0).to(x0.device).reshape(-1, *[1] * (x0.ndim - 1))
        return torch.where(worn, degraded, x0)

    def settled(self, shape: Sequence[int], generator: Randomness) -> ColdCorruption:
        """The same degradation with its chance drawn for a batch of this shape."""
        return replace(self, drawn=self.degradation.draw(shape, generator))

    def corrupt(
        self, x0: Float[Tensor, "batch *event"], t: Float[Tensor, " batch"], generator: Randomness
    ) -> Corrupted:
        """D(x0, t)."""
        check_batch(x0, t)
        drawn = self.degradation.draw(x0.shape, generator) if self.drawn is None else self.drawn
        return Corrupted(self.degrade(x0, t, drawn), None)

    def prior(self, shape: Sequence[int], generator: Randomness) -> Float[Tensor, "batch *event"]:
        """What is left at t = 1: drawn from `start`, then degraded if chance has a part in it."""
        if self.start is None:
            raise EbbtideError(
                "new samples were asked of a degradation whose end has not been fitted: restore pictures, or fit "
                "corruptions.start.fit_start to data first"
            )
        x = self.start.draw(shape, generator)
        if not self.chance(shape):
            return x
        drawn = self.degradation.draw(shape, generator) if self.drawn is None else self.drawn
        return self.degrade(x, torch.ones(shape[0], dtype=torch.float64), drawn)

    def chance(self, shape: Sequence[int]) -> bool:
        """Whether the degradation draws anything at random."""
        drawn = self.degradation.draw((1, *shape[1:]), generator_of("chance"))
        return any(one.numel() > 0 for one in drawn)

    def to_fit(self, x0: Float[Tensor, "batch *event"]) -> Float[Tensor, "batch *event"]:
        """What `start` is fitted to: data degraded fully, or as it is where chance has a part in the degradation."""
        if self.chance(x0.shape):
            return x0
        return self.degrade(x0, torch.ones(len(x0), dtype=torch.float64), ())
