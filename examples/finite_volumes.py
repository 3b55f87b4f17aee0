"""The Fokker-Planck equation on a grid of any dimension: mass kept exactly, densities kept positive (item J2).

    dp/dt = -div(b p) + D laplace p        the density of        dx = b(x) dt + sqrt(2 D) dw

Through the face between two cells, h apart, b along it, there flows

    J = D/h (B(-q) p_left - B(q) p_right),     q = b h / D,     B(q) = q / (e^q - 1)

which is exact where b and J are constant between the two centers (Scharfetter & Gummel 1969,
doi:10.1109/T-ED.1969.16566; Chang & Cooper 1970, doi:10.1016/0021-9991(70)90001-X). What leaves one cell enters another
and nothing leaves the grid, so mass is kept to rounding; no flow takes from a cell more than it has, so implicit steps
stay positive, whatever their length.
Errors are of second order in h, and of second order in the time step for Crank and Nicolson's rule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix, csc_matrix, identity
from scipy.sparse.linalg import splu

Drift = Callable[[np.ndarray], np.ndarray]
"""Points (n, d) -> b there, (n, d)."""


@dataclass(frozen=True)
class Grid:
    """`cells` cells along each of the dimensions, from -half to half. Densities are arrays (cells, ..., cells)."""

    half: float
    cells: int
    dimensions: int = 1

    @property
    def width(self) -> float:
        """h, of a cell."""
        return 2 * self.half / self.cells

    @property
    def volume(self) -> float:
        """h^d."""
        return self.width**self.dimensions

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.cells,) * self.dimensions

    @property
    def centers(self) -> np.ndarray:
        """Along one dimension, (cells,)."""
        return -self.half + self.width * (np.arange(self.cells) + 0.5)

    @property
    def points(self) -> np.ndarray:
        """The centers of all cells, (cells^d, d), in the order of a flattened density."""
        return np.stack(np.meshgrid(*[self.centers] * self.dimensions, indexing="ij"), axis=-1).reshape(
            -1, self.dimensions
        )

    def density(self, log_density: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """A density on the grid, of mass 1: points (n, d) -> log p (n,), to any constant."""
        values = log_density(self.points).reshape(self.shape)
        p = np.exp(values - values.max())
        return p / (p.sum() * self.volume)

    def mass(self, p: np.ndarray) -> float:
        """The integral of p."""
        return float(p.sum() * self.volume)

    def distance(self, p: np.ndarray, q: np.ndarray) -> float:
        """The integral of |p - q|: 2 for densities that do not meet."""
        return float(np.abs(p - q).sum() * self.volume)


def bernoulli(q: np.ndarray) -> np.ndarray:
    """q / (e^q - 1), 1 at 0, positive everywhere."""
    small = np.abs(q) < 1e-5
    safe = np.where(small, 1.0, q)
    return np.where(small, 1 - q / 2 + q * q / 12, safe / np.expm1(np.clip(safe, -700, 700)))


def flow_matrix(grid: Grid, drift: Drift, diffusion: float) -> csc_matrix:
    """A with dp/dt = A p for flattened p; D = diffusion > 0. Each column sums to 0: mass is kept."""
    index = np.arange(grid.cells**grid.dimensions).reshape(grid.shape)
    rows, columns, values = [], [], []
    for axis in range(grid.dimensions):
        left = np.delete(index, -1, axis).ravel()
        right = np.delete(index, 0, axis).ravel()
        faces = 0.5 * (grid.points[left] + grid.points[right])
        q = drift(faces)[:, axis] * grid.width / diffusion
        out, back = (diffusion / grid.width**2 * bernoulli(sign * q) for sign in (-1, 1))
        rows += [left, right, left, right]
        columns += [left, left, right, right]
        values += [-out, out, back, -back]
    size = index.size
    entries = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
    return coo_matrix(entries, shape=(size, size)).tocsc()


class Step:
    """p -> p after a time dt under dp/dt = A p: (1 - share dt A) p_new = (1 + (1 - share) dt A) p.

    share 1/2: Crank and Nicolson, second order, positive for dt max|A_ii| <= 2 and in practice as long as p is smooth;
    1: implicit Euler, first order, positive always.
    """

    def __init__(self, matrix: csc_matrix, dt: float, share: float = 0.5) -> None:
        one = identity(matrix.shape[0], format="csc")
        self.solve = splu((one - share * dt * matrix).tocsc()).solve
        self.explicit = (one + (1 - share) * dt * matrix).tocsr()

    def __call__(self, p: np.ndarray) -> np.ndarray:
        return self.solve(self.explicit @ p.ravel()).reshape(p.shape)


@dataclass(frozen=True)
class Counted:
    """Particles against a density, bin by bin: sum |share - probability|, its mean and spread if by chance alone."""

    distance: float
    expected: float
    spread: float

    @classmethod
    def of(cls, x: np.ndarray, grid: Grid, p: np.ndarray, bins: int = 50) -> Counted:
        """Bins of whole cells along each dimension; chance is that of independent particles."""
        if grid.cells % bins:
            raise ValueError(f"{bins} bins came for {grid.cells} cells a dimension, expected a divisor")
        edges = np.linspace(-grid.half, grid.half, bins + 1)
        share = np.histogramdd(x, [edges] * grid.dimensions)[0] / len(x)
        whole = p * grid.volume
        for axis in range(grid.dimensions):
            whole = np.add.reduceat(whole, np.arange(0, grid.cells, grid.cells // bins), axis)
        variance = np.clip(whole * (1 - whole), 0, None) / len(x)
        expected = np.sqrt(2 / np.pi * variance).sum()
        return cls(
            float(np.abs(share - whole).sum()), float(expected), float(np.sqrt((1 - 2 / np.pi) * variance.sum()))
        )
