"""The kernel distance against loops, against moments and against repeated draws."""

import numpy as np
import pytest

from draws import honesty, over_draws
from ebbtide.errors import EbbtideError
from ebbtide.evaluation.metrics import kernel_distance
from parts import SIGMAS


def sets(m, n, width=4, shift=0.3, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(size=(m, width)), 1.2 * random.normal(size=(n, width)) + shift


def slow(x, y):
    """Value and error, pair by pair."""

    def k(u, v):
        return (sum(a * b for a, b in zip(u, v, strict=True)) / len(u) + 1) ** 3

    def rows(own, other):
        within = [np.mean([k(u, v) for j, v in enumerate(own) if j != i]) for i, u in enumerate(own)]
        across = [np.mean([k(u, v) for v in other]) for u in own]
        return np.array(within), np.array(across)

    (xx, xy), (yy, yx) = rows(x, y), rows(y, x)
    a, b = 2 * (xx - xy), 2 * (yy - yx)
    return xx.mean() + yy.mean() - 2 * xy.mean(), (a.var(ddof=1) / len(x) + b.var(ddof=1) / len(y)) ** 0.5


@pytest.mark.parametrize(("m", "n"), [(2, 2), (7, 5), (6, 13)])
@pytest.mark.parametrize("block", [3, 256])
def test_it_is_its_definition_in_blocks_of_any_size(monkeypatch, m, n, block):
    monkeypatch.setattr("ebbtide.evaluation.metrics.rows.BLOCK", block)
    x, y = sets(m, n)
    found = kernel_distance(x, y)
    assert (found.value, found.error) == pytest.approx(slow(x, y), rel=1e-10)
    back = kernel_distance(y, x)
    assert (back.value, back.error) == pytest.approx((found.value, found.error), rel=1e-10)


def test_single_precision_in_is_double_precision_inside():
    x, y = (rows.astype(np.float32) for rows in sets(40, 30))
    assert kernel_distance(x, y) == kernel_distance(x.astype(np.float64), y.astype(np.float64))


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_it_is_unbiased_at_any_size(shift):
    """In one dimension it is 3 (Δ E x)² + 3 (Δ E x²)² + (Δ E x³)²; for N(0, 1) and N(μ, 1) these are μ, μ², μ³ + 3μ."""
    expected = 3 * shift**2 + 3 * shift**4 + (shift**3 + 3 * shift) ** 2

    def estimate(random):
        return kernel_distance(random.normal(size=(8, 1)), shift + random.normal(size=(12, 1)))

    values, _ = over_draws(estimate, 2000)
    assert values.mean() == pytest.approx(expected, abs=SIGMAS * values.std() / 2000**0.5)
    assert (values < 0).any()


@pytest.mark.parametrize(
    ("m", "n", "shift", "scale", "bounds"),
    [
        (60, 150, 0.5, 1.0, (0.85, 1.2)),
        (100, 100, 0.0, 1.7, (0.85, 1.25)),
        (100, 100, 0.0, 1.0, (1.1, 1.6)),
        (60, 150, 0.0, 1.0, (1.1, 1.6)),
    ],
    ids=["shift", "scale", "same law: sqrt(2) too wide", "same law, unequal sizes"],
)
def test_the_error_is_the_spread_over_repeated_draws(m, n, shift, scale, bounds):
    def estimate(random):
        return kernel_distance(random.normal(size=(m, 4)) * scale + shift, random.normal(size=(n, 4)))

    assert bounds[0] < honesty(estimate, count=200) < bounds[1]


def test_what_does_not_fit_is_refused():
    x, y = sets(5, 6)
    with pytest.raises(EbbtideError, match="features of set one of 3 numbers came, expected 4 as in the other set"):
        kernel_distance(x[:, :3], y)
    with pytest.raises(EbbtideError, match="features of set one: 1 rows came, expected at least 2"):
        kernel_distance(x[:1], y)
    with pytest.raises(EbbtideError, match="features of set two: 1 rows came, expected at least 2"):
        kernel_distance(x, y[:1])
    with pytest.raises(EbbtideError, match=r"features of set two of shape \(6,\) came"):
        kernel_distance(x, y[:, 0])
    y[3, 2] = np.inf
    with pytest.raises(EbbtideError, match=r"features of set two: numbers that are not finite came \(row 3\)"):
        kernel_distance(x, y)
