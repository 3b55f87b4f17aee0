"""Loss against noise level: where a network learns and where it does not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ebbtide.errors import require
from ebbtide.json_files import typed

BINS = 20


@dataclass
class LevelBins:
    """Running mean of the loss in bins of t; a bin's memory is about its last `memory` examples."""

    memory: int = 2000
    losses: list[float] = field(default_factory=lambda: [0.0] * BINS)
    counts: list[int] = field(default_factory=lambda: [0] * BINS)

    def add(self, values: Float[Tensor, " batch"], times: Float[Tensor, " batch"]) -> None:
        """Take in one loss an example, with its t in (0, 1]."""
        index = (times.double() * BINS).ceil().long().clamp(1, BINS) - 1
        sums = torch.zeros(BINS, dtype=torch.float64).index_add_(0, index, values.double())
        counts = torch.bincount(index, minlength=BINS)
        for bin_, (total, count) in enumerate(zip(sums.tolist(), counts.tolist(), strict=True)):
            if not count:
                continue
            self.counts[bin_] += count
            share = min(1.0, count / min(self.counts[bin_], self.memory))
            self.losses[bin_] += share * (total / count - self.losses[bin_])

    def record(self) -> dict[str, Any]:
        """Edges, mean losses (None where nothing has been seen) and counts, as the report draws them."""
        losses = [loss if count else None for loss, count in zip(self.losses, self.counts, strict=True)]
        return {"edges": [bin_ / BINS for bin_ in range(BINS + 1)], "loss": losses, "count": list(self.counts)}

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"losses": self.losses, "counts": self.counts}

    def restore(self, state: Any) -> None:
        """Go on from a checkpoint."""
        kept = typed(_Kept, state, "bins in state.json")
        fits = len(kept.losses) == len(kept.counts) == BINS and min(kept.counts) >= 0
        require(fits, f"bins in state.json are not {BINS} losses and as many counts")
        self.losses, self.counts = list(kept.losses), list(kept.counts)


@dataclass(frozen=True)
class _Kept:
    losses: tuple[float, ...]
    counts: tuple[int, ...]
