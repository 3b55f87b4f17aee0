"""The Fréchet distance of two sets of features, taken for Gaussians, and its standard error.

    F = |m1 - m2|² + tr(C1 + C2 - 2 (C1^½ C2 C1^½)^½)

the squared 2-Wasserstein distance of N(m1, C1) and N(m2, C2) (Dowson & Landau 1982, The Fréchet distance between
multivariate normal distributions); on features of an Inception network it is the FID (Heusel et al. 2017,
arXiv:1706.08500). Singular covariances are allowed throughout.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ebbtide.errors import require
from ebbtide.evaluation.metrics.rows import check, check_width, floats, parts
from ebbtide.moments import Moments


def frechet(one: Moments, other: Moments) -> float:
    """F of the formula above; 0 where the moments are equal, and never below.

    tr (C1^½ C2 C1^½)^½ is the sum of the singular values of C1^½ C2^½. Taken from these, eigenvalues near 0 cost no
    digits; the square root of the rounding error of a product would be 1e-8, not 1e-16.
    """
    _same_size(one, other)
    shift = np.square(one.mean - other.mean).sum()
    overlap = np.linalg.svd(_root(one.covariance) @ _root(other.covariance), compute_uv=False).sum()
    spread = np.trace(one.covariance) + np.trace(other.covariance) - 2 * overlap
    return float(max(shift + spread, 0.0))


def frechet_error(one: Moments, other: Moments, rows_one: np.ndarray, rows_other: np.ndarray | None = None) -> float:
    """The standard error of frechet(one, other) by the delta method: how it spreads over fresh sets of one.count rows.

    To first order a row x of set one moves F by ψ(x) / n1, with the influence function

        ψ(x) = 2 (m1 - m2)·(x - m1) + (x - m1)ᵀ (I - T) (x - m1) - tr((I - T) C1)
        T    = C2^½ (C2^½ C1 C2^½)^-½ C2^½      the map that carries N(0, C1) to N(0, C2), with a pseudo-inverse

    since ∂F/∂m1 = 2 (m1 - m2) and ∂F/∂C1 = I - T. The variance is var ψ / n1; with rows_other, the same with the roles
    exchanged is added (leave it out where set two is given once and for all). Rows may be a part of their set: var ψ is
    read off them, the count off the moments.

    This is the spread alone. F also has a bias of order d² / n, since the covariances of samples differ even where the
    laws do not: for two sets from N(0, I) about (d + d (d + 1) / 4)(1 / n1 + 1 / n2). The floor shows it: real against
    real examples at the same counts. Where both laws are the same, the first order vanishes, F is a square of small
    differences, and its slope at their chance values makes this error up to sqrt(2) too wide.
    """
    return influences(one, other, rows_one, rows_other).error


@dataclass(frozen=True)
class Influences:
    """What each row does to a distance: for each set ψ of its rows, and how many rows it has."""

    sets: tuple[tuple[np.ndarray, int], ...]

    @property
    def error(self) -> float:
        """The standard error."""
        return math.sqrt(sum(float(values.var(ddof=1)) / count for values, count in self.sets))

    def __sub__(self, other: Influences) -> Influences:
        """Of the difference of two distances whose rows are pairs, drawn from the same noise or the very same: what
        pairs have in common, both distances feel, and the difference does not."""
        pairs = list(zip(self.sets, other.sets, strict=True))
        require(
            all(len(a) == len(b) and n == m for (a, n), (b, m) in pairs),
            f"sets of {[n for _, n in self.sets]} and {[m for _, m in other.sets]} rows came, expected pairs of rows",
        )
        return Influences(tuple((a - b, n) for (a, n), (b, _) in pairs))


def influences(one: Moments, other: Moments, rows_one: np.ndarray, rows_other: np.ndarray | None = None) -> Influences:
    """Those of frechet(one, other), for its standard error and that of a difference of two of them."""
    _same_size(one, other)
    found = [(_influence(one, other, rows_one, "features of set one"), one.count)]
    if rows_other is not None:
        found.append((_influence(other, one, rows_other, "features of set two"), other.count))
    return Influences(tuple(found))


def _influence(one: Moments, other: Moments, rows: np.ndarray, name: str) -> np.ndarray:
    """ψ(x) of each row of set one, but for its constant, (n,)."""
    check(rows, name, least=2)
    check_width(rows, len(one.mean), name)
    shift, bend = 2 * (one.mean - other.mean), np.eye(len(one.mean)) - _transport(one.covariance, other.covariance)
    out = np.empty(len(rows))
    for part in parts(len(rows)):
        x = floats(rows[part]) - one.mean
        out[part] = x @ shift + np.einsum("nd,nd->n", x @ bend, x)
    return out


def _transport(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """T: with U S Vᵀ = C2^½ C1^½, the middle (C2^½ C1 C2^½)^-½ is U S⁻¹ Uᵀ."""
    root = _root(other)
    vectors, values, _ = np.linalg.svd(root @ _root(one))
    inverse = np.divide(1.0, values, out=np.zeros_like(values), where=values > _negligible(values))
    half = root @ vectors
    return (half * inverse) @ half.T


def _root(covariance: np.ndarray) -> np.ndarray:
    """The symmetric square root. What rounding made of an eigenvalue 0 counts as 0."""
    values, vectors = np.linalg.eigh(floats(covariance))
    kept = np.where(values > _negligible(values), values, 0.0)
    return (vectors * np.sqrt(kept)) @ vectors.T


def _negligible(values: np.ndarray) -> float:
    """The size below which an eigenvalue or singular value is rounding error."""
    return float(np.abs(values).max() * len(values) * np.finfo(np.float64).eps)


def _same_size(one: Moments, other: Moments) -> None:
    require(
        len(one.mean) == len(other.mean),
        f"moments of {len(one.mean)} features came, expected {len(other.mean)} as in the other set: "
        "use the same features for both",
    )
