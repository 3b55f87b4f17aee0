"""Mean and covariance of a set that is never held in memory as a whole."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ebbtide.errors import require


@dataclass(frozen=True)
class Moments:
    """What a Gaussian knows of a set: how many rows it had, their mean (d,) and covariance (d, d).

    The covariance is the unbiased one, divided by count - 1.
    """

    count: int
    mean: np.ndarray
    covariance: np.ndarray

    def __post_init__(self) -> None:
        size = len(self.mean) if self.mean.ndim == 1 else 0
        require(
            size > 0 and self.covariance.shape == (size, size),
            f"a mean of shape {self.mean.shape} and a covariance of shape {self.covariance.shape} came, "
            "expected (d,) and (d, d): use those of one set",
        )
        require(self.count >= 2, f"moments of {self.count} rows came, expected at least 2: use more examples")


class MomentsSum:
    """Takes rows of d numbers in chunks of any size and gives their moments. Memory: O(d²), whatever came.

    Chunks are merged by the pairwise update of Chan, Golub & LeVeque (Algorithms for Computing the Sample Variance,
    The American Statistician 1983): for sets A, B with means a, b and scatters S (sums of squares about the mean)

        S = S_A + S_B + (b - a)(b - a)ᵀ n_A n_B / (n_A + n_B)

    so that no large squares are subtracted and a mean far from 0 costs no digits.
    """

    def __init__(self, size: int) -> None:
        require(size >= 1, f"{size} features came, expected at least 1: say how many numbers a row has")
        self.count = 0
        self._mean = np.zeros(size)
        self._scatter = np.zeros((size, size))

    def add(self, rows: np.ndarray) -> None:
        """Rows (n, d); n may be anything, 0 too."""
        require(
            rows.ndim == 2 and rows.shape[1] == len(self._mean),
            f"rows of shape {rows.shape} came, expected (n, {len(self._mean)}): use the same features throughout",
        )
        require(
            rows.dtype.kind in "biuf", f"rows of type {rows.dtype} came, expected real numbers: convert them to floats"
        )
        if len(rows) == 0:
            return
        x = rows.astype(np.float64, copy=False)
        bad = ~np.isfinite(x).all(1)
        require(not bad.any(), f"{int(bad.sum())} rows hold numbers that are not finite: look at what made them")
        mean = x.mean(0)
        about = x - mean
        rest = about.mean(0)  # what rounding left of the mean: second order in the scatter, first order in the mean
        mean += rest
        about -= rest

        total = self.count + len(rows)
        delta = mean - self._mean
        self._scatter += about.T @ about + np.outer(delta, delta) * (self.count * len(rows) / total)
        self._mean += delta * (len(rows) / total)
        self.count = total

    def moments(self) -> Moments:
        """The moments of all rows so far."""
        require(self.count >= 2, f"moments of {self.count} rows were asked for, expected at least 2: add more first")
        return Moments(self.count, self._mean.copy(), self._scatter / (self.count - 1))
