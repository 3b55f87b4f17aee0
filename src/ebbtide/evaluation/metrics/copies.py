"""Nearest neighbours, and a test of whether samples are copies of the training set."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ebbtide.errors import require
from ebbtide.evaluation.metrics.measured import Measured
from ebbtide.evaluation.metrics.rows import check, check_width, floats, parts, squared_distances, squares


@dataclass(frozen=True)
class Nearest:
    """distance: Euclidean, to the nearest row of the other set, (n,); index: which row that is, (n,)."""

    distance: np.ndarray
    index: np.ndarray


@dataclass(frozen=True)
class Copying:
    """nearer: how often a sample is nearer to the training set than a held-out example; ½ where nothing is copied.

    z: how many standard deviations of chance that lies above ½; far above 0, samples are copies.
    """

    nearer: Measured
    z: float


def nearest(points: np.ndarray, others: np.ndarray, itself: bool = False) -> Nearest:
    """The nearest row of others (m, d) to each of the points (n, d); of several equally near ones the first.

    itself: both are the same set, and no row is its own neighbour.

    |x|² - 2 x·y + |y|² finds the rows that can be nearest, given how far off rounding may put it; their differences
    decide. So the distance to an identical row is exactly 0, and no near miss is taken for it.
    """
    check(points, "points")
    check(others, "others", least=2 if itself else 1)
    check_width(points, others.shape[1], "points")
    require(
        not itself or len(points) == len(others),
        f"{len(points)} points and {len(others)} others came with itself=True, expected one set: give it twice",
    )
    furthest = max(squares(floats(others[part])).max() for part in parts(len(others)))
    distance, index = np.empty(len(points)), np.empty(len(points), dtype=np.int64)
    for part in parts(len(points)):
        x = floats(points[part])
        rough = squared_distances(x, others)
        if itself:
            np.fill_diagonal(rough[:, part], np.inf)
        slack = 4 * (x.shape[1] + 3) * np.finfo(np.float64).eps * (squares(x) + furthest)
        for row in range(len(x)):
            possible = np.flatnonzero(rough[row] <= rough[row].min() + slack[row])
            distance[part.start + row], index[part.start + row] = _nearest_of(x[row], others, possible)
    return Nearest(distance, index)


def _nearest_of(point: np.ndarray, others: np.ndarray, possible: np.ndarray) -> tuple[float, int]:
    """Distance and index of the nearest of the possible rows, by differences."""
    best = (math.inf, -1)
    for part in parts(len(possible)):
        squared = squares(floats(others[possible[part]]) - point)
        first = int(squared.argmin())
        if squared[first] < best[0]:
            best = (float(squared[first]), int(possible[part][first]))
    return math.sqrt(best[0]), best[1]


def copying(of_samples: np.ndarray, of_held_out: np.ndarray) -> Copying:
    """Whether samples lie nearer to the training set than examples that training never saw (Meehan et al. 2020,
    arXiv:2004.05675, whose z has the other sign). Both are distances to the nearest row of the training set.

        nearer = P(sample nearer than held-out) + ½ P(equally near) = U / (m n)

    with the U of Mann & Whitney 1947. Its error holds for any two laws (DeLong, DeLong & Clarke-Pearson 1988): the
    variance of each sample's own share, over m, and of each held-out example's, over n. z is (U - mn/2) / sd, where sd
    is that of equal laws, corrected for ties:

        sd² = m n / 12 · (N + 1 - sum_t (t³ - t) / (N (N - 1))),   N = m + n, t values tied with one another

    Samples that are far from all data hide copies among them: look at the smallest distances too.
    """
    for values, name in ((of_samples, "samples"), (of_held_out, "held-out examples")):
        fits = values.ndim == 1 and len(values) >= 2 and bool(np.isfinite(values).all())
        require(fits, f"distances of {name} of shape {values.shape} came, expected at least 2 finite numbers (n,)")
    samples, held_out = floats(of_samples), floats(of_held_out)
    m, n = len(samples), len(held_out)
    of_each_sample = 1 - _share_below(samples, held_out)
    of_each_held_out = _share_below(held_out, samples)
    nearer = of_each_sample.mean()
    error = math.sqrt(of_each_sample.var(ddof=1) / m + of_each_held_out.var(ddof=1) / n)

    total = m + n
    tied = np.unique(np.concatenate([samples, held_out]), return_counts=True)[1].astype(np.float64)
    variance = (total + 1 - (tied**3 - tied).sum() / (total * (total - 1))) / (12 * m * n)
    z = (nearer - 0.5) / math.sqrt(variance) if len(tied) > 1 else 0.0
    return Copying(Measured(float(nearer), error), float(z))


def _share_below(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The share of others below each value, those equal to it counted half, (n,)."""
    ranked = np.sort(others)
    return (np.searchsorted(ranked, values, "left") + np.searchsorted(ranked, values, "right")) / (2 * len(others))
