"""Problems whose answers are known, for solvers: polynomials, Gaussians, a mixture; and walks along given times."""

from __future__ import annotations

import math
from itertools import pairwise

import torch

from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers import GaussianEstimate, GaussianOracle, MixtureOracle
from ebbtide.samplers import Moved
from ebbtide.schedules import FunctionSchedule
from parts import covariance, seeded

STRAIGHT = FunctionSchedule(lambda t: 8 - 14 * t)
"""Even steps of t are even steps of l = log(alpha / sigma), as the orders of solvers are stated for."""
CORRUPTION = GaussianCorruption(STRAIGHT)
CENTER = torch.tensor([0.7, -1.5], dtype=torch.float64)
MATRIX = covariance(2, seed=3)
GAUSSIAN = GaussianOracle(CENTER, MATRIX, CORRUPTION)
MEANS = torch.tensor([[-2.0, 0.0], [2.0, 0.0], [0.0, 3.0]], dtype=torch.float64)
MIXTURE = MixtureOracle.spherical(torch.full((3,), 1 / 3, dtype=torch.float64), MEANS, 0.8, CORRUPTION)
BOTH = MixtureOracle(
    torch.full((3,), 1 / 3, dtype=torch.float64),
    tuple(
        GaussianOracle(
            torch.cat([mean, CENTER]), torch.block_diag(0.64 * torch.eye(2, dtype=torch.float64), MATRIX), CORRUPTION
        )
        for mean in MEANS
    ),
)
"""The mixture and, independent of it, the Gaussian beside it: four coordinates, one walk."""
POLYNOMIAL = [0.7, -0.4, 0.3, 0.2, -0.1, 0.05]


def gaussian_flow(x, t, s, schedule=STRAIGHT):
    """The ODE's way for N(m, C): every principal coordinate keeps its place in units of its standard deviation."""
    values, axes = torch.linalg.eigh(MATRIX)
    start, end = (schedule.level(torch.tensor(one, dtype=torch.float64)) for one in (t, s))
    before, after = ((level.alpha**2 * values + level.sigma**2).sqrt() for level in (start, end))
    return end.alpha * CENTER + ((x - start.alpha * CENTER) @ axes * (after / before)) @ axes.mT


def walk(sampler, denoiser, times, x) -> list[Moved]:
    """What each step along these times returned."""
    found, history = [], None
    for t, s in pairwise(times):
        t, s = (torch.tensor([one], dtype=torch.float64).expand(len(x)) for one in (t, s))
        moved = sampler(denoiser, x, t, s, None, seeded(0), history)
        x, history = moved.xs, moved.history
        found.append(moved)
    return found


class Path:
    """A denoiser whose x0 is a polynomial in l = log(alpha / sigma), whatever x is."""

    corruption = CORRUPTION

    def __init__(self, *coefficients):
        self.coefficients = coefficients

    def __call__(self, xt, t, condition=None):
        level = CORRUPTION.level(t)
        x0 = sum(c * (0.5 * level.log_snr) ** k for k, c in enumerate(self.coefficients))
        return GaussianEstimate(xt, level, "x0", x0.unsqueeze(1).expand_as(xt))

    def carried(self, x, t, s):
        """xs = sigma_s / sigma_t xt + sigma_s ∫ e^l x0(l) dl, by the antiderivative e^l sum_j (-1)^j x0^(j)(l)."""

        def whole(at):
            derivative, total, sign = list(self.coefficients), 0.0, 1
            while derivative:
                total += sign * sum(c * at**k for k, c in enumerate(derivative))
                derivative, sign = [k * c for k, c in enumerate(derivative)][1:], -sign
            return math.exp(at) * total

        now, after = (CORRUPTION.level(torch.tensor(one, dtype=torch.float64)) for one in (t, s))
        first, last = (whole(0.5 * float(level.log_snr)) for level in (now, after))
        return after.sigma / now.sigma * x + after.sigma * (last - first)


class Slope:
    """A denoiser whose eps is a polynomial in n = sigma / alpha, whatever x is."""

    def __init__(self, *coefficients, schedule=STRAIGHT):
        self.coefficients, self.corruption = coefficients, GaussianCorruption(schedule)

    def __call__(self, xt, t, condition=None):
        level = self.corruption.level(t)
        eps = sum(c * (level.sigma / level.alpha) ** k for k, c in enumerate(self.coefficients))
        return GaussianEstimate(xt, level, "eps", eps.unsqueeze(1).expand_as(xt))

    def carried(self, x, t, s):
        """xs = alpha_s (xt / alpha_t + ∫ eps dn)."""
        now, after = (self.corruption.level(torch.tensor(one, dtype=torch.float64)) for one in (t, s))
        first, last = (
            sum(c * (level.sigma / level.alpha) ** (k + 1) / (k + 1) for k, c in enumerate(self.coefficients))
            for level in (now, after)
        )
        return after.alpha * (x / now.alpha + last - first)
