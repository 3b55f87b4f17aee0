"""Sets of examples as rows of numbers (n, d): what every metric asks of them, and all pairs of rows, block by block.

Sets stay in the type in which they came; only the block at hand is float64. So memory grows with BLOCK (m + d) beside
the sets themselves, never with n m.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ebbtide.errors import require

BLOCK = 256


def check(rows: np.ndarray, name: str, least: int = 1) -> None:
    """Refuse what is no set of at least this many rows of finite numbers."""
    require(
        rows.ndim == 2 and rows.shape[1] > 0,
        f"{name} of shape {rows.shape} came, expected one row of numbers an example, (n, d): flatten or stack them",
    )
    require(
        rows.dtype.kind in "biuf",
        f"{name} of type {rows.dtype} came, expected real numbers: convert them to floats",
    )
    require(
        len(rows) >= least,
        f"{name}: {len(rows)} rows came, expected at least {least}: use more examples",
    )
    for part in parts(len(rows)):
        finite = np.isfinite(rows[part]).all(1)
        require(
            bool(finite.all()),
            f"{name}: numbers that are not finite came (row {part.start + int(finite.argmin())}), "
            "expected finite ones: look at what made them",
        )


def check_width(rows: np.ndarray, width: int, name: str) -> None:
    """Refuse rows of another number of features than those they are compared to."""
    require(
        rows.shape[1] == width,
        f"{name} of {rows.shape[1]} numbers came, expected {width} as in the other set: use the same features for both",
    )


def parts(count: int) -> Iterator[slice]:
    """The numbers 0 .. count - 1 in blocks."""
    return (slice(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK))


def floats(rows: np.ndarray) -> np.ndarray:
    return rows.astype(np.float64, copy=False)


def products(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """x · y of each row x with each other row y, (n, m)."""
    out, x = np.empty((len(rows), len(others))), floats(rows)
    for part in parts(len(others)):
        out[:, part] = x @ floats(others[part]).T
    return out


def squared_distances(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """|x - y|² = |x|² - 2 x · y + |y|², (n, m), never below 0. Where x is close to y, digits are lost."""
    out, x = np.empty((len(rows), len(others))), floats(rows)
    for part in parts(len(others)):
        y = floats(others[part])
        out[:, part] = squares(x)[:, None] - 2 * (x @ y.T) + squares(y)
    return np.maximum(out, 0.0, out=out)


def squares(rows: np.ndarray) -> np.ndarray:
    """|x|² of each row, (n,)."""
    return np.einsum("nd,nd->n", rows, rows)
