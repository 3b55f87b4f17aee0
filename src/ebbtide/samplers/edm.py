"""The stochastic sampler of EDM: Heun's steps, with new noise before each."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ebbtide.conditions import Condition
from ebbtide.denoisers.continuous import continuous
from ebbtide.denoisers.estimate import GaussianDenoiser
from ebbtide.errors import require
from ebbtide.randomness import Randomness, normal
from ebbtide.samplers.flow import fitting, stepped
from ebbtide.samplers.known import Place, ask, place_of, time_at
from ebbtide.samplers.loop import Moved
from ebbtide.samplers.tableaus import EULER, HEUN

MOST_CHURN = math.sqrt(2) - 1


@dataclass(frozen=True)
class Heun:
    """EDM's sampler (Karras et al. 2022, arXiv:2206.00364, algorithm 2): some new noise, then Heun's step from there.

    churn is their gamma, min(S_churn / N, sqrt(2) - 1) for N steps: in a step from n between `low` and `high` (S_tmin,
    S_tmax) noise is raised to n' = (1 + churn) n by y' = y + sqrt(n'² - n²) noise z, and `noise` (S_noise) a little
    above 1 makes up for what an imperfect denoiser takes away too much. Their sigma for data of standard deviation 0.5
    is half our n for data of 1. At t = 1 there is no more noise to raise to. churn = 0 draws nothing.

    The step to n = 0 is Euler's; a long one, over which Heun's would overshoot, takes the midpoint (`fitting`). With
    churn, and for long steps, tables are asked between their times (`denoisers.continuous`). Raises EbbtideError for
    wrong numbers, for a batch whose examples have different times, and for a table that cannot be asked where it must.
    """

    churn: float = 0.0
    low: float = 0.0
    high: float = math.inf
    noise: float = 1.0

    def __post_init__(self) -> None:
        require(
            0 <= self.churn <= MOST_CHURN + 1e-9,
            f"churn={self.churn} came, expected 0 to {MOST_CHURN:.4f}: give min(S_churn / N, sqrt(2) - 1) for N steps",
        )
        require(0 <= self.low <= self.high, f"low={self.low}, high={self.high} came, expected 0 <= low <= high")
        require(self.noise >= 0, f"noise={self.noise} came, expected 0 or more, 1 for as much as the step removes")

    def __call__(
        self,
        denoiser: GaussianDenoiser,
        xt: Float[Tensor, "batch *event"],
        t: Float[Tensor, " batch"],
        s: Float[Tensor, " batch"],
        condition: Condition | None,
        generator: Randomness,
        history: None,
    ) -> Moved:
        place, end = place_of(denoiser.corruption.level(t)), place_of(denoiser.corruption.level(s))
        if self.churn > 0 and self.low <= place.n <= self.high and t[0] < 1:
            denoiser = continuous(denoiser)
            xt, t = self._churned(denoiser, xt, place, generator)
        now = ask(denoiser, xt, t, condition)
        # the grid's own step says whether it is long: a little noise more is no reason to leave the algorithm
        tableau = fitting(HEUN, place, end) if end.sigma > 0 else EULER
        return Moved(stepped(tableau, denoiser, now, s, condition), now.estimate.x0)

    def _churned(
        self, denoiser: GaussianDenoiser, x: Tensor, place: Place, generator: Randomness
    ) -> tuple[Tensor, Tensor]:
        """x with its noise raised, and the time that it then belongs to."""
        time = time_at(denoiser, place.log_ratio - math.log1p(self.churn), len(x))
        raised = place_of(denoiser.corruption.level(time))
        added = math.sqrt(max(raised.n**2 - place.n**2, 0.0)) * self.noise
        z = normal(x.shape, generator, dtype=x.dtype, device=x.device)
        return torch.add((raised.alpha / place.alpha) * x, z, alpha=raised.alpha * added), time
