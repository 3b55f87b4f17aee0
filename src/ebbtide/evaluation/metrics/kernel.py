"""The kernel distance of two sets of features, and its standard error."""

from __future__ import annotations

import math

import numpy as np

from ebbtide.evaluation.metrics.measured import Measured
from ebbtide.evaluation.metrics.rows import check, check_width, parts, products


def kernel_distance(x: np.ndarray, y: np.ndarray) -> Measured:
    """The unbiased estimate of MMD² with the cubic kernel k(x, y) = (x·y / d + 1)³, over all rows (m, d) and (n, d).

        mean_{i≠j} k(x_i, x_j) + mean_{i≠j} k(y_i, y_j) - 2 mean_{ij} k(x_i, y_j)

    On features of an Inception network it is the KID (Binkowski et al. 2018, arXiv:1801.01401). It is 0 on average
    where the moments of both laws agree up to the third, so values below 0 occur. m and n may differ.

    The standard error is that of the Hoeffding projection (Hoeffding 1948, A class of statistics with asymptotically
    normal distribution), what each row adds by itself:

        a_i = 2 (mean_{j≠i} k(x_i, x_j) - mean_j k(x_i, y_j)),  b_j likewise,  error² = var(a) / m + var(b) / n

    Where both laws are equal the projection vanishes; what is left in a and b is the noise of single pairs, which each
    pair gives to both of its rows, so it is counted twice and the error is up to sqrt(2) too wide.
    """
    check(x, "features of set one", least=2)
    check(y, "features of set two", least=2)
    check_width(x, y.shape[1], "features of set one")
    m, n = len(x), len(y)
    across_x, across_y = np.empty(m), np.zeros(n)
    for part in parts(m):
        kernel = _kernel(x[part], y)
        across_x[part] = kernel.mean(1)
        across_y += kernel.sum(0) / m
    within_x, within_y = _within(x), _within(y)
    value = within_x.mean() + within_y.mean() - 2 * across_x.mean()
    a, b = 2 * (within_x - across_x), 2 * (within_y - across_y)
    return Measured(float(value), math.sqrt(a.var(ddof=1) / m + b.var(ddof=1) / n))


def _within(rows: np.ndarray) -> np.ndarray:
    """mean_{j≠i} k(x_i, x_j) for each row, (n,)."""
    out = np.empty(len(rows))
    for part in parts(len(rows)):
        kernel = _kernel(rows[part], rows)
        np.fill_diagonal(kernel[:, part], 0.0)
        out[part] = kernel.sum(1) / (len(rows) - 1)
    return out


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """k(x_i, y_j), (m, n)."""
    base = products(x, y)
    base /= x.shape[1]
    base += 1.0
    return base * base * base  # much faster than a power
