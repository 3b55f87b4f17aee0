"""Moments of a set, and how an estimate spreads over repeated draws of its sets."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ebbtide.evaluation.metrics import Measured, Moments, MomentsSum


def moments_of(rows: np.ndarray) -> Moments:
    total = MomentsSum(rows.shape[1])
    total.add(rows)
    return total.moments()


def over_draws(
    estimate: Callable[[np.random.Generator], Measured], count: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """The values and the reported errors of an estimate from sets that are drawn afresh each time."""
    random = np.random.default_rng(seed)
    found = [estimate(random) for _ in range(count)]
    return np.array([one.value for one in found]), np.array([one.error for one in found])


def honesty(estimate: Callable[[np.random.Generator], Measured], count: int = 150, seed: int = 0) -> float:
    """The mean reported error over the true spread, 1 where it is right; known to 0.7 / sqrt(count) of itself."""
    values, errors = over_draws(estimate, count, seed)
    return float(errors.mean() / values.std(ddof=1))
