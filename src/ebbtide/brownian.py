"""Brownian paths that are the same whatever the steps: W(t) is a function of (seed, sample, t), found when asked for.

Lévy's construction, on the digits of t as float64 holds it. The powers of two cut time into blocks [2^k, 2^(k+1)); the
increment of W over each is one normal number, and the digits of t lead down a tree of halves inside its block, each of
whose middles adds one more:

    W(t) = sum_blocks sqrt(length) z + share of t's own + sum_halves sqrt(length)/2 tent(t) z

tent rises from 0 at the ends of an interval to 1 in its middle. All z are N(0, 1), independent, and found by hashing
(sample's key, place in the tree, coordinate), so nothing is stored, and no order of questions changes an answer. So two
samplers, or two numbers of steps, can be compared path by path. Lévy 1948; the tree that holds nothing: Li et al. 2020
(arXiv:2001.01328); the hash: SplitMix64, Steele et al. 2014 (doi:10.1145/2660193.2660195).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ebbtide.errors import require
from ebbtide.randomness import Randomness, SampleGenerators, normal, seed_of

LOWEST, HIGHEST = -64, 64
"""Blocks are between these powers of two; the first of all is [0, 2^LOWEST)."""
DIGITS = 52
"""Of a float64 in its block: below its last one there is nothing to halve."""
PLACES = DIGITS + 1
"""Bits for the tree of a block: place 0 is the block's increment, 1 its middle, 2 and 3 the middles of its halves."""
AT_ONCE = 2**18
"""Normal numbers that are held in memory together."""


@dataclass(frozen=True)
class BrownianPath(SampleGenerators):
    """One Brownian path W(t), t >= 0, for each sample of a batch: `BrownianPath.of(seed, indices)`.

    It is also one generator per sample, for noise that belongs to no stretch of time (the first noise of all). Steps
    that know their clock (samplers.stochastic) draw from the path, others from the generators.
    """

    keys: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        require(len(self.keys) == len(self), f"{len(self.keys)} keys came for {len(self)} samples: use BrownianPath.of")

    @classmethod
    def of(cls, seed: int, indices: Sequence[int]) -> BrownianPath:
        """The paths of the samples with these indices under this seed."""
        generators = SampleGenerators.of(seed, indices).generators
        return cls(generators, tuple(seed_of(seed, "path", index) for index in indices))

    def increment(self, start: float, end: float, like: Float[Tensor, "batch *event"]) -> Float[Tensor, "batch *event"]:
        """W(end) - W(start), N(0, |end - start|) in each coordinate; of the shape, type and place of `like`.

        Increments over parts add up to that of the whole, to rounding. Raises EbbtideError for times below 0 or from
        2^64 on, and for a batch of another size.
        """
        require(
            like.shape[0] == len(self), f"a batch of {like.shape[0]} came with Brownian paths for {len(self)} samples"
        )
        weights = _weights(end)
        for place, weight in _weights(start).items():
            weights[place] = weights.get(place, 0.0) - weight
        places = [(place, weight) for place, weight in weights.items() if weight != 0]
        size = math.prod(like.shape[1:])
        total = torch.zeros(len(self), size, dtype=torch.float64)
        many = max(1, AT_ONCE // max(1, total.numel()))
        for first in range(0, len(places), many):
            some, counts = zip(*places[first : first + many], strict=True)
            z = _normals(self.keys, some, size)
            total += torch.einsum("p,bpe->be", torch.tensor(counts, dtype=torch.float64), z)
        return total.reshape(like.shape).to(like)


def noise_between(
    like: Float[Tensor, "batch *event"], generator: Randomness, start: float, end: float
) -> Float[Tensor, "batch *event"]:
    """Standard normal noise for a stretch of a clock: a path's increment over sqrt(end - start), or else fresh."""
    if isinstance(generator, BrownianPath):
        return generator.increment(start, end, like) / math.sqrt(end - start)
    return normal(like.shape, generator, dtype=like.dtype, device=like.device)


def _weights(t: float) -> dict[int, float]:
    """What the normal number of each place counts for in W(t)."""
    require(
        0 <= t < 2.0**HIGHEST,
        f"the time {t:g} of a Brownian path came, expected a number from 0 to less than 2^{HIGHEST}",
    )
    block = 0 if t < 2.0**LOWEST else math.frexp(t)[1] - LOWEST
    lengths = [2.0 ** (LOWEST + max(0, number - 1)) for number in range(block + 1)]
    left, length = (0.0 if block == 0 else lengths[-1]), lengths[-1]
    weights = {number << PLACES: math.sqrt(whole) for number, whole in enumerate(lengths[:-1])}
    share, own = (t - left) / length, block << PLACES
    weights[own] = math.sqrt(length) * share
    for depth in range(DIGITS):
        index, part = divmod(share * 2**depth, 1.0)
        if part == 0:
            break
        tent = 1 - abs(2 * part - 1)
        weights[own + 2**depth + int(index)] = 0.5 * math.sqrt(length / 2**depth) * tent
    return weights


def _normals(keys: Sequence[int], places: Sequence[int], size: int) -> Float[Tensor, "batch places size"]:
    """The normal number of each (sample, place, coordinate), by inversion of 52 bits of a hash."""
    word = np.array(keys, dtype=np.uint64)[:, None, None]
    for part in (np.array(places, dtype=np.uint64)[:, None], np.arange(size, dtype=np.uint64)):
        word = _mixed(_mixed(word) + part)
    # the middles of 2^52 even parts of (0, 1), never its ends
    uniform = ((word >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
    return torch.special.ndtri(torch.from_numpy(uniform))


def _mixed(word: np.ndarray) -> np.ndarray:
    """SplitMix64's output function: every bit of the result depends on every bit of the word."""
    word = word + np.uint64(0x9E3779B97F4A7C15)
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))
