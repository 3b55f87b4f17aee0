"""Which examples make up batch k: a function of (seed, k) alone, so that nothing has to be saved to go on."""

from __future__ import annotations

from functools import lru_cache

import torch
from jaxtyping import Int
from torch import Tensor

from ebbtide.randomness import generator_of


def batch_indices(seed: int, examples: int, size: int, number: int) -> Int[Tensor, " size"]:
    """The examples of batch `number` (0, 1, ...): a stream of reshuffled epochs, cut into batches.

    Each epoch holds every example once; a batch may straddle two epochs and may be larger than the data.
    """
    position = number * size
    parts: list[Tensor] = []
    missing = size
    while missing:
        epoch, offset = divmod(position, examples)
        part = _epoch(seed, examples, epoch)[offset : offset + missing]
        parts.append(part)
        position += len(part)
        missing -= len(part)
    return torch.cat(parts)


@lru_cache(maxsize=2)
def _epoch(seed: int, examples: int, epoch: int) -> Tensor:
    return torch.randperm(examples, generator=generator_of(seed, "order", epoch))
