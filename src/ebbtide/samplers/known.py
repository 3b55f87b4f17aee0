"""What the deterministic solvers know: the level where they are, and what was estimated on the way there."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ebbtide.conditions import Condition
from ebbtide.denoisers.estimate import GaussianDenoiser, GaussianEstimate
from ebbtide.errors import require
from ebbtide.levels import Level
from ebbtide.times import time_of

MOST = 6
"""Estimates that are remembered: as many as the solver of the highest order looks back on."""


class Place(NamedTuple):
    """The one level that a whole batch shares, as two numbers, and the clocks that solvers go by."""

    alpha: float
    sigma: float

    @property
    def log_ratio(self) -> float:
        """l = log(alpha / sigma): rises while sampling, to inf where nothing is left of the noise."""
        if self.alpha == 0:
            return -math.inf
        return math.log(self.alpha) - math.log(self.sigma) if self.sigma > 0 else math.inf

    @property
    def n(self) -> float:
        """n = sigma / alpha: falls while sampling, to 0; inf where nothing is left of the data."""
        return self.sigma / self.alpha if self.alpha > 0 else math.inf


class Known(NamedTuple):
    """An estimate, the place it was made at, and the state x there (corrected, where a corrector has worked on it)."""

    place: Place
    x: Float[Tensor, "batch *event"]
    estimate: GaussianEstimate


History = tuple[Known, ...]
"""The estimates at the starts of the last steps, the newest first: any solver here can go on from any other's."""


def place_of(level: Level) -> Place:
    """The level of a batch as numbers; EbbtideError where its examples have different ones."""
    alpha, sigma = level.thin.alpha.reshape(-1), level.thin.sigma.reshape(-1)
    require(
        bool((alpha == alpha[0]).all()) and bool((sigma == sigma[0]).all()),
        "a batch with different times came, expected one t and one s for all: take examples of other times in a batch "
        "of their own",
    )
    return Place(float(alpha[0]), float(sigma[0]))


def ask(
    denoiser: GaussianDenoiser,
    x: Float[Tensor, "batch *event"],
    t: Float[Tensor, " batch"],
    condition: Condition | None,
) -> Known:
    """What the denoiser says at (x, t), and where that was."""
    return Known(place_of(denoiser.corruption.level(t)), x, denoiser(x, t, condition))


def time_at(denoiser: GaussianDenoiser, log_ratio: float, batch: int) -> Float64[Tensor, " batch"]:
    """The time at which log(alpha / sigma) is this, one number expanded; the denoiser is one that knows every t."""
    return time_of(denoiser.corruption.schedule, torch.tensor([2 * log_ratio], dtype=torch.float64)).expand(batch)


def remembered(now: Known, history: History | None) -> History:
    """The history with one more estimate, as far back as any solver looks."""
    return (now, *(history or ()))[:MOST]
