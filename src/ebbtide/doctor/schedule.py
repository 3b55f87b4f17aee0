"""The schedule and the sampler's steps, before any network: what is left of the data at t = 1, and what the steps alone
make of data whose ideal denoiser is known."""

from __future__ import annotations

import torch
from torch import Tensor

from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers.wiener import EigenBasis, LinearDenoiser
from ebbtide.doctor.finding import Finding, fine, wrong
from ebbtide.randomness import generator_of
from ebbtide.samplers import Sampler, final, sample

BITS_LEFT = 1e-3
"""Bits a dimension left at t = 1 from which samples begin at noise that the network never saw."""
TOO_COARSE = 0.15
"""Distance between the laws of samples and data that steps alone may make, of the data's spread."""
DIRECTIONS, DRAWS = 16, 4096


def check_end(corruption: GaussianCorruption, x0: Tensor) -> Finding:
    """How much the noise at t = 1 still says of the data (B5)."""
    left = float(corruption.bits_left(x0).mean()) / x0[0].numel()
    said = f"{left:.2g} bits a dimension of the data are left at t = 1"
    if left <= BITS_LEFT:
        return fine("schedule: end", said)
    text = (
        f"{said} (less than {BITS_LEFT:g} is negligible): samples start from pure noise, which the network never saw; "
        "use more steps or larger betas"
    )
    return wrong("schedule: end", text, "a schedule that leaves signal at t = 1")


def check_steps(linear: LinearDenoiser, sampler: Sampler, grid: Tensor) -> Finding:
    """The sampler on Gaussian data with this data's covariance, where the denoiser is exact: errors are its steps'.

    Samples must spread along each principal component as the data do. Between the two laws lies the 2-Wasserstein
    distance sqrt(sum (s - s')²), s and s' their standard deviations; it is told of the data's own sqrt(sum s'²).
    """
    if linear.knows_all:
        return fine("sampling: steps", "the examples are all the same: there is no spread that steps could change")
    found, known = spreads(linear, sampler, grid)
    away = float((found - known).norm() / known.norm())
    steps = len(grid) - 1
    said = f"{steps} steps alone put samples {away:.1%} of the data's spread away from its law"
    if away <= TOO_COARSE:
        return fine("sampling: steps", said)
    return wrong("sampling: steps", f"{said}: take more of them (sampling.steps)", "too few sampling steps")


def spreads(linear: LinearDenoiser, sampler: Sampler, grid: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Standard deviations of samples, and of the data, along some principal components, the widest first."""
    variances = linear.variances.sort(descending=True).values
    chosen = variances[torch.linspace(0, len(variances) - 1, min(DIRECTIONS, len(variances))).round().long()]
    size = len(chosen)
    exact = LinearDenoiser(
        torch.zeros(size, dtype=torch.float64),
        chosen,
        EigenBasis(torch.eye(size, dtype=torch.float64)),
        linear.corruption,
    )
    generator = generator_of(seed, "doctor", "steps")  # one for all samples: one for each takes most of the time
    noise = exact.corruption.prior((DRAWS, size), generator)
    samples = final(sample(exact, sampler, grid, noise, generator))
    return samples.double().std(0), chosen.sqrt()
