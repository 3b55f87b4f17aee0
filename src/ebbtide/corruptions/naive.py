"""Naive diffusion: pixels set to black or white at random, one step at a time (items C5 and C6).

A place is a pixel, or one number of it (by="channel"). A place that is hit loses what it was for a fair coin: low or
high. A hit pixel takes a coin for each channel, so that a colour becomes one of the eight corners of the cube. Both
chains are known at any level l without walking there: the number of places hit has a law of its own, and given the
number every set of so many places is equally likely.

    CoinFlips       naive diffusion 1: each of T steps hits the same number of places, whether hit before or not
    PixelByPixel    naive diffusion 2: each step hits one place that was not hit yet, so T is the number of places

Source: Bloem's lecture on diffusion.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from ebbtide.corruptions.corruption import Corrupted
from ebbtide.errors import require
from ebbtide.randomness import Randomness, uniform
from ebbtide.waist import check_batch, known_times

Place = Literal["pixel", "channel"]

UNSEEN = 2.0**-64
"""Probability of a tail that no draw can reach: uniform numbers are multiples of 2^-53."""
MOST_STEPS = 2**53
"""Beyond it float64 no longer tells one level from the next."""
MOST_LAWS = 2**26
"""Levels times places up to which the laws of all levels are worked out: half a minute, and half a GiB at most."""


class Worn(NamedTuple):
    """A latent with what the chain keeps track of: which places have been hit, in the order of the picture."""

    z: Float[Tensor, "batch channels height width"]
    hit: Bool[Tensor, "batch places"]


@dataclass(frozen=True, kw_only=True)
class _Naive(ABC):
    """What both chains share. shape: (channels, height, width) of one picture; low, high: black and white in the data.

    t = l / T is level l; between two levels the nearer one is meant. Errors: EbbtideError for low >= high, a shape
    that is not one of a picture, an unknown `by`, pictures of another shape and times outside [0, 1].
    """

    low: float
    high: float
    shape: tuple[int, int, int]
    by: Place = "pixel"

    def __post_init__(self) -> None:
        require(self.low < self.high, f"low={self.low} and high={self.high} came, expected low < high")
        require(
            len(self.shape) == 3 and min(self.shape) >= 1,
            f"shape={tuple(self.shape)} came, expected (channels, height, width) of a picture",
        )
        require(self.by in ("pixel", "channel"), f"by={self.by!r} came, expected 'pixel' or 'channel'")

    @property
    def places(self) -> int:
        """How many places a picture has: its pixels, or all its numbers."""
        channels, height, width = self.shape
        return height * width * (channels if self.by == "channel" else 1)

    @property
    @abstractmethod
    def _levels(self) -> int:
        """T: of some a field, of some what follows from the shape."""

    @abstractmethod
    def survival(self, t: Float[Tensor, "*batch"]) -> Float64[Tensor, "*batch"]:
        """The probability that a place has not been hit at t: the expected share of untouched places."""

    @abstractmethod
    def _counts(self, level: Int64[Tensor, " batch"], generator: Randomness) -> Int64[Tensor, " batch"]:
        """How many places have been hit at each example's level, drawn from the exact law."""

    @abstractmethod
    def _struck(self, hit: Bool[Tensor, "batch places"], generator: Randomness) -> Bool[Tensor, "batch places"]:
        """The places that the next step hits."""

    def level(self, t: Float[Tensor, "*batch"]) -> Int64[Tensor, "*batch"]:
        """l = round(t T)."""
        return (known_times(t) * self._levels).round().long()

    def corrupt(
        self, x0: Float[Tensor, "batch channels height width"], t: Float[Tensor, " batch"], generator: Randomness
    ) -> Corrupted:
        """z_l at t in one draw; x0 itself, bit for bit, where l = 0. There is no noise to give."""
        return Corrupted(self.worn(x0, t, generator).z, None)

    def worn(
        self, x0: Float[Tensor, "batch channels height width"], t: Float[Tensor, " batch"], generator: Randomness
    ) -> Worn:
        """z_l at t in one draw, and which places have been hit."""
        check_batch(x0, t)
        return self._worn(x0, self.level(t), generator)

    def step(self, before: Worn, generator: Randomness) -> Worn:
        """One step of the chain, z_l -> z_{l+1}. Raises EbbtideError where PixelByPixel has no place left to hit."""
        struck = self._struck(before.hit, generator)
        return Worn(self._flipped(before.z, struck, generator), before.hit | struck)

    def successive(
        self, x0: Float[Tensor, "batch channels height width"], t: Float[Tensor, " batch"], generator: Randomness
    ) -> tuple[Float[Tensor, "batch channels height width"], Float[Tensor, "batch channels height width"]]:
        """(z_{l-1}, z_l) of one path: the first drawn at once, the second by a step of the chain.

        Raises EbbtideError for times nearer to 0 than to 1/T, before which there is no step.
        """
        check_batch(x0, t)
        level = self.level(t)
        require(bool((level >= 1).all()), f"a step that ends at t=0 came, expected at least 1/{self._levels}")
        before = self._worn(x0, level - 1, generator)
        return before.z, self.step(before, generator).z

    def chain(
        self, x0: Float[Tensor, "batch channels height width"], generator: Randomness
    ) -> Iterator[Float[Tensor, "batch channels height width"]]:
        """z_1, ..., z_T of one path, walked by single steps."""
        self._refuse_others(x0.shape)
        at = Worn(x0, torch.zeros(len(x0), self.places, dtype=torch.bool, device=x0.device))
        for _ in range(self._levels):
            at = self.step(at, generator)
            yield at.z

    def prior(self, shape: Sequence[int], generator: Randomness) -> Float[Tensor, "batch channels height width"]:
        """A fair coin for each number: what z_T becomes, whatever the data."""
        self._refuse_others(shape)
        return self._coins(torch.empty(tuple(shape)), generator)

    def _worn(self, x0: Tensor, level: Tensor, generator: Randomness) -> Worn:
        self._refuse_others(x0.shape)
        hit = self._subset(self._counts(level.cpu(), generator), generator).to(x0.device)
        return Worn(self._flipped(x0, hit, generator), hit)

    def _subset(self, counts: Int64[Tensor, " batch"], generator: Randomness) -> Bool[Tensor, "batch places"]:
        """As many places as counted, every set of them equally likely: those of the smallest uniform numbers.

        numpy sorts several times as fast as torch on a CPU, where the numbers are drawn. In float64 no two are equal,
        which another machine might sort otherwise.
        """
        numbers = uniform((len(counts), self.places), generator, dtype=torch.float64)
        taken = torch.arange(self.places) < counts.unsqueeze(1)
        return torch.zeros_like(taken).scatter_(1, torch.from_numpy(numbers.numpy().argsort(axis=1)), taken)

    def _flipped(self, z: Tensor, struck: Bool[Tensor, "batch places"], generator: Randomness) -> Tensor:
        _, height, width = self.shape
        return torch.where(struck.unflatten(1, (-1, height, width)), self._coins(z, generator), z)

    def _coins(self, like: Tensor, generator: Randomness) -> Tensor:
        heads = uniform(like.shape, generator, device=like.device) < 0.5
        return torch.full_like(like, self.low).masked_fill_(heads, self.high)

    def _refuse_others(self, shape: Sequence[int]) -> None:
        require(
            tuple(shape[1:]) == tuple(self.shape),
            f"pictures of shape {tuple(shape[1:])} came for a corruption of {tuple(self.shape)}: build it for theirs",
        )


@dataclass(frozen=True, kw_only=True)
class PixelByPixel(_Naive):
    """z_l has exactly l places hit, of T = height · width (· channels by="channel"); z_T is coins alone (C6)."""

    @property
    def steps(self) -> int:
        """T, the number of places."""
        return self.places

    @property
    def _levels(self) -> int:
        return self.places

    def survival(self, t: Float[Tensor, "*batch"]) -> Float64[Tensor, "*batch"]:
        """1 - l / T."""
        return 1 - self.level(t).double() / self.places

    def _counts(self, level: Int64[Tensor, " batch"], generator: Randomness) -> Int64[Tensor, " batch"]:
        return level

    def _struck(self, hit: Bool[Tensor, "batch places"], generator: Randomness) -> Bool[Tensor, "batch places"]:
        require(not bool(hit.all(1).any()), "a step from level T came, which has no place left to hit")
        numbers = uniform(hit.shape, generator, dtype=torch.float64, device=hit.device).masked_fill_(hit, 2.0)
        return torch.zeros_like(hit).scatter_(1, numbers.argmin(1, keepdim=True), True)


@dataclass(frozen=True, kw_only=True)
class CoinFlips(_Naive):
    """Each of T steps hits `hits` places chosen at random, no place twice in a step, anew at each step (C5).

    share: hits = max(1, round(share · places)). z_T is pure coin flips but for the places that `survival(1)` expects
    to be left over. The number of places hit is a Markov chain of its own,

        M_{l+1} = M_l + hits - overlap,   overlap ~ Hypergeometric(places, M_l, hits)

    whose law at every level is computed once for a value of this class, in float64. After
    places / hits · (log places + 64 log 2) steps no draw can find a place that was not hit, however large T is.
    """

    steps: int
    share: float

    def __post_init__(self) -> None:
        super().__post_init__()
        require(1 <= self.steps <= MOST_STEPS, f"steps={self.steps} came, expected from 1 to {MOST_STEPS}")
        require(0 < self.share <= 1, f"share={self.share} came, expected more than 0 and at most 1")
        settled = self.places / self.hits * (math.log(self.places) - math.log(UNSEEN))
        require(
            min(self.steps, settled) * self.places <= MOST_LAWS,
            f"steps={self.steps} and share={self.share} came for pictures of {self.places:,} places, of which too few "
            "are set a step for the laws of all steps to be worked out: give a larger share, or fewer steps",
        )

    @property
    def hits(self) -> int:
        """Places a step."""
        return max(1, round(self.share * self.places))

    @property
    def _levels(self) -> int:
        return self.steps

    def survival(self, t: Float[Tensor, "*batch"]) -> Float64[Tensor, "*batch"]:
        """(1 - hits / places)^l."""
        return (1 - self.hits / self.places) ** self.level(t).double()

    def _counts(self, level: Int64[Tensor, " batch"], generator: Randomness) -> Int64[Tensor, " batch"]:
        """The cdf of the level inverted at one uniform number an example."""
        lowest, cdf = self._law
        numbers = uniform((len(level), 1), generator, dtype=torch.float64)
        level = level.clamp(max=len(lowest) - 1)
        return lowest[level] + torch.searchsorted(cdf[level], numbers, right=True).squeeze(1)

    def _struck(self, hit: Bool[Tensor, "batch places"], generator: Randomness) -> Bool[Tensor, "batch places"]:
        return self._subset(torch.full((len(hit),), self.hits), generator).to(hit.device)

    @cached_property
    def _law(self) -> tuple[Int64[Tensor, " levels"], Float64[Tensor, "levels width"]]:
        """For levels 0..T: the smallest number of places hit that can be drawn, and P(M <= that, that + 1, ...).

        The last law holds for all further levels as well: every place has been hit.
        """
        laws = list(occupancy(self.places, self.hits, self.steps))
        cdf = torch.ones(len(laws), max(len(pmf) for _, pmf in laws), dtype=torch.float64)
        for row, (_, pmf) in zip(cdf, laws, strict=True):
            row[: len(pmf) - 1] = pmf.cumsum(0)[:-1]  # the last is 1 whatever the rounding
        return torch.tensor([lowest for lowest, _ in laws]), cdf


def occupancy(places: int, hits: int, steps: int) -> Iterator[tuple[int, Float64[Tensor, " width"]]]:
    """The law of how many of `places` have been hit after l = 0, ..., `steps` steps of `hits` different places each.

        P(M' = m + new) = P(M = m) C(places - m, new) C(m, hits - new) / C(places, hits)

    Yields for each l the smallest number that matters and the probabilities from it on; tails that together weigh less
    than any uniform number can tell are left out, so that a law is as wide as it is spread. Ends early where nothing
    but `places` is left, as it stays so.
    """
    factorials = torch.lgamma(torch.arange(places + 1, dtype=torch.float64) + 1)
    new = torch.arange(hits + 1)
    every = factorials[places] - factorials[hits] - factorials[places - hits]

    def chosen(of: Tensor, number: Tensor) -> Tensor:
        """log C(of, number), -inf where there is no such choice."""
        left = of - number
        logs = factorials[of] - factorials[number.clamp(0, places)] - factorials[left.clamp(0, places)]
        return logs.masked_fill((number < 0) | (left < 0), -math.inf)

    lowest, pmf = 0, torch.ones(1, dtype=torch.float64)
    yield lowest, pmf
    for _ in range(steps):
        m = torch.arange(lowest, lowest + len(pmf)).unsqueeze(1)
        moves = (chosen(places - m, new) + chosen(m, hits - new) - every).exp()
        moves *= pmf.unsqueeze(1) / moves.sum(1, keepdim=True)
        index = (m - lowest + new).flatten()
        pmf = torch.zeros(len(pmf) + hits, dtype=torch.float64).index_add_(0, index, moves.flatten())
        kept = ((pmf.cumsum(0) > UNSEEN) & (pmf.flip(0).cumsum(0).flip(0) > UNSEEN)).nonzero().flatten()
        lowest, pmf = lowest + int(kept[0]), pmf[int(kept[0]) : int(kept[-1]) + 1]
        yield lowest, pmf
        if lowest == places:
            return
