"""The Fréchet distance against closed forms, and its standard error against derivatives and repeated draws."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from draws import honesty, moments_of, over_draws
from ebbtide.errors import EbbtideError
from ebbtide.evaluation.metrics import Measured, Moments, frechet, frechet_error, influences
from parts import SIGMAS


def law(seed, size=5, rank=None):
    random = np.random.default_rng(seed)
    root = random.normal(size=(size, rank or size))
    return Moments(1000, random.normal(size=size), root @ root.T)


def turned(moments, rotation):
    return Moments(moments.count, rotation @ moments.mean, rotation @ moments.covariance @ rotation.T)


@pytest.mark.parametrize("seed", range(4))
def test_it_is_its_definition(seed):
    one, other = law(seed), law(seed + 10)
    root = sqrtm(one.covariance @ other.covariance).real
    expected = np.square(one.mean - other.mean).sum() + np.trace(one.covariance + other.covariance - 2 * root)
    assert frechet(one, other) == pytest.approx(expected, rel=1e-9)
    assert frechet(other, one) == pytest.approx(expected, rel=1e-9)


def test_where_covariances_commute_it_compares_standard_deviations():
    """Also where some of them are 0."""
    one = Moments(9, np.array([0.0, 1.0, 2.0]), np.diag([4.0, 9.0, 0.0]))
    other = Moments(9, np.array([0.0, 1.0, 5.0]), np.diag([1.0, 0.0, 25.0]))
    expected = 3.0**2 + (2 - 1) ** 2 + 3.0**2 + 5.0**2
    assert frechet(one, other) == pytest.approx(expected, rel=1e-12)
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    assert frechet(turned(one, rotation), turned(other, rotation)) == pytest.approx(expected, rel=1e-7)


def test_two_lines_differ_by_their_angle():
    """uuᵀ and vvᵀ: |u|² + |v|² - 2 |u·v|."""
    u, v = np.random.default_rng(1).normal(size=(2, 6))
    one, other = (Moments(9, np.zeros(6), np.outer(w, w)) for w in (u, v))
    assert frechet(one, other) == pytest.approx(u @ u + v @ v - 2 * abs(u @ v), rel=1e-12)


@pytest.mark.parametrize("rank", [12, 3, 1])
def test_equal_moments_are_no_distance_apart(rank):
    one = law(3, 12, rank)
    assert 0 <= frechet(one, one) < 1e-10
    shifted = Moments(one.count, one.mean + 2.0, one.covariance)
    assert frechet(one, shifted) == pytest.approx(4.0 * 12, abs=1e-10)


def test_a_rotation_of_both_changes_nothing():
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0]
    one, other = law(1), law(2)
    assert frechet(turned(one, rotation), turned(other, rotation)) == pytest.approx(frechet(one, other), rel=1e-11)


def test_the_error_of_a_difference_is_how_far_the_differences_of_pairs_spread():
    """Two sets drawn from the same noise, one a little off, against the same examples: less than the errors apart."""
    random = np.random.default_rng(3)
    differences, errors, apart = [], [], []
    for _ in range(150):
        x, y = random.normal(size=(80, 3)), 1.3 * random.normal(size=(60, 3))
        one, two, real = x + 0.5, 1.05 * x + 0.6, y
        both = [influences(moments_of(rows), moments_of(real), rows, real) for rows in (one, two)]
        far = [frechet(moments_of(rows), moments_of(real)) for rows in (one, two)]
        differences.append(far[1] - far[0])
        errors.append((both[1] - both[0]).error)
        apart.append(np.hypot(both[0].error, both[1].error))
    assert np.mean(errors) == pytest.approx(np.std(differences), rel=0.3)
    assert np.mean(errors) < 0.5 * np.mean(apart)
    with pytest.raises(EbbtideError, match="expected pairs"):
        both[0] - influences(moments_of(one[:40]), moments_of(real), one[:40], real)


@pytest.mark.parametrize("rank", [5, 2], ids=["full rank", "singular"])
def test_the_error_is_that_of_the_slopes(rank):
    """With weight w on a row x beside the set, F moves by w ψ(x): a difference quotient, row by row."""
    random, weight = np.random.default_rng(0), 1e-4
    basis = np.linalg.qr(random.normal(size=(5, 5)))[0][:, :rank]
    rows = random.normal(size=(40, rank)) @ random.normal(size=(rank, rank)) @ basis.T + 1.0
    one, other = moments_of(rows), moments_of(1.5 * random.normal(size=(60, rank)) @ basis.T)

    def with_row(x, w):
        delta = x - one.mean
        covariance = (1 - w) * one.covariance + w * (1 - w) * np.outer(delta, delta)
        return Moments(one.count, one.mean + w * delta, covariance)

    moved = [frechet(with_row(x, weight), other) - frechet(with_row(x, -weight), other) for x in rows]
    influence = np.array(moved) / (2 * weight)
    assert frechet_error(one, other, rows) == pytest.approx(influence.std(ddof=1) / 40**0.5, rel=1e-5)


def drawn(size, counts, scale, shift, both=True, part=None):
    """An estimate from sets of N(0, AAᵀ) and of N(shift, scale² I), for over_draws."""
    root = np.random.default_rng(9).normal(size=(size, size)) if scale != 1 else np.eye(size)

    def estimate(random):
        x = random.normal(size=(counts[0], size)) @ root.T
        y = shift + scale * random.normal(size=(counts[1], size))
        one = moments_of(x)
        other = moments_of(y) if both else Moments(10**9, np.full(size, shift), scale**2 * np.eye(size))
        return Measured(frechet(one, other), frechet_error(one, other, x[:part], y if both else None))

    return estimate


@pytest.mark.parametrize(
    ("estimate", "bounds"),
    [
        (drawn(3, (100, 150), 1.4, 1.0), (0.85, 1.15)),
        (drawn(8, (200, 200), 1.0, 0.5), (0.85, 1.2)),
        (drawn(3, (100, 0), 1.4, 0.5, both=False), (0.85, 1.15)),
        (drawn(3, (100, 100), 1.4, 1.0, part=50), (0.85, 1.15)),
        (drawn(4, (100, 100), 1.0, 0.0), (1.2, 1.7)),
    ],
    ids=["skew", "shift", "other given", "some rows", "same law: sqrt(2) too wide"],
)
def test_the_error_is_the_spread_over_repeated_draws(estimate, bounds):
    assert bounds[0] < honesty(estimate) < bounds[1]


def test_sets_of_one_law_show_the_floor():
    """(d + d (d + 1) / 4)(1 / n1 + 1 / n2) for N(0, I), but for terms of the next order."""
    values, _ = over_draws(drawn(4, (300, 400), 1.0, 0.0), 200)
    floor = (4 + 5) * (1 / 300 + 1 / 400)
    assert values.mean() == pytest.approx(floor, abs=SIGMAS * values.std() / 200**0.5 + 0.02 * floor)


def test_what_does_not_fit_is_refused():
    one, rows = law(0), np.zeros((4, 5))
    with pytest.raises(EbbtideError, match="moments of 5 features came, expected 3 as in the other set"):
        frechet(one, law(0, 3))
    with pytest.raises(EbbtideError, match="moments of 5 features came, expected 3 as in the other set"):
        frechet_error(one, law(0, 3), rows)
    with pytest.raises(EbbtideError, match="features of set one of 3 numbers came, expected 5"):
        frechet_error(one, one, rows[:, :3])
    with pytest.raises(EbbtideError, match="features of set two: 1 rows came, expected at least 2"):
        frechet_error(one, one, rows, rows[:1])
    with pytest.raises(EbbtideError, match="features of set one: numbers that are not finite came"):
        frechet_error(one, one, rows * np.nan)
