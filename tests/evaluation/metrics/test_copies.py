"""Nearest neighbours against loops, and the test of copying on sets with and without copies."""

import math

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from draws import honesty
from ebbtide.errors import EbbtideError
from ebbtide.evaluation.metrics import copying, nearest
from parts import SIGMAS


def rows_of(count, width=3, seed=0):
    return np.random.default_rng(seed).normal(size=(count, width))


@pytest.mark.parametrize("block", [4, 256])
@pytest.mark.parametrize("itself", [False, True])
def test_it_is_its_definition_in_blocks_of_any_size(monkeypatch, block, itself):
    monkeypatch.setattr("ebbtide.evaluation.metrics.rows.BLOCK", block)
    points = rows_of(19)
    others = points if itself else rows_of(23, seed=1)
    found = nearest(points, others, itself)
    for i, point in enumerate(points):
        distances = [math.inf if itself and i == j else math.dist(point, other) for j, other in enumerate(others)]
        assert found.index[i] == np.argmin(distances)
        assert found.distance[i] == pytest.approx(min(distances), rel=1e-14)


@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_copies_are_found_at_distance_zero(offset, kind):
    """Also far from 0, where |x|² - 2 x·y + |y|² has no digits left for any distance."""
    train = (rows_of(700, 20) + offset).astype(kind)
    order = np.random.default_rng(1).permutation(len(train))[:300]
    found = nearest(train[order], train)
    assert np.array_equal(found.distance, np.zeros(300))
    assert np.array_equal(train[found.index], train[order])


def test_a_near_miss_is_not_taken_for_a_copy():
    """Beside each row stands one that differs in the last digits, before or after it."""
    train = rows_of(50, 8)
    beside = np.nextafter(train, np.inf)
    for others, shift in ((np.concatenate([beside, train]), 50), (np.concatenate([train, beside]), 0)):
        found = nearest(train, others)
        assert np.array_equal(found.distance, np.zeros(50))
        assert np.array_equal(found.index, np.arange(50) + shift)


def test_of_equally_near_rows_the_first_is_named(monkeypatch):
    monkeypatch.setattr("ebbtide.evaluation.metrics.rows.BLOCK", 2)
    others = np.array([[5, 5], [0, 1], [1, 0], [0, 1], [0, -1], [1, 0]], dtype=np.int64)
    found = nearest(np.array([[0, 0], [1, 0]]), others)
    assert found.index.tolist() == [1, 2]
    assert found.distance.tolist() == [1.0, 0.0]


def test_small_numbers_without_a_sign_do_not_wrap():
    found = nearest(np.array([[0, 200]], dtype=np.uint8), np.array([[255, 255], [250, 0]], dtype=np.uint8))
    assert found.index.tolist() == [0]
    assert found.distance.tolist() == [math.hypot(255, 55)]


def test_within_a_set_a_twin_is_at_distance_zero_and_a_row_not_its_own_neighbour():
    rows = rows_of(10)
    assert (nearest(rows, rows, itself=True).distance > 0).all()
    rows[7] = rows[2]
    found = nearest(rows, rows, itself=True)
    assert (found.index[7], found.index[2]) == (2, 7)
    assert (found.distance == 0).sum() == 2


@pytest.mark.parametrize("tied", [False, True])
def test_z_is_that_of_mann_and_whitney(tied):
    random = np.random.default_rng(3)
    samples, held_out = random.gamma(2, 1.0, 30), random.gamma(2, 1.3, 40)
    if tied:
        samples, held_out = np.round(samples), np.round(held_out)
    found = copying(samples, held_out)
    theirs = mannwhitneyu(held_out, samples, use_continuity=False, alternative="greater", method="asymptotic")
    assert found.nearer.value == pytest.approx(theirs.statistic / (30 * 40))
    assert math.erfc(found.z / 2**0.5) / 2 == pytest.approx(theirs.pvalue)
    pairs = np.array([[(s < h) + (s == h) / 2 for h in held_out] for s in samples])
    assert found.nearer.value == pytest.approx(pairs.mean())
    expected = pairs.mean(1).var(ddof=1) / 30 + pairs.mean(0).var(ddof=1) / 40
    assert found.nearer.error == pytest.approx(expected**0.5)
    back = copying(held_out, samples)
    assert (back.z, back.nearer.value) == pytest.approx((-found.z, 1 - found.nearer.value))


def against_training(random, copied=0.0, shift=0.0):
    """Of 60 samples, each is with a probability of `copied` almost a copy."""
    train, held_out, samples = (random.normal(size=(count, 2)) for count in (80, 50, 60))
    samples = np.where(random.random((60, 1)) < copied, train[:60] + 1e-3, samples)
    return copying(nearest(samples + shift, train).distance, nearest(held_out, train).distance)


def test_where_nothing_is_copied_z_is_standard_normal():
    random = np.random.default_rng(0)
    z = np.array([against_training(random).z for _ in range(200)])
    assert abs(z.mean()) < SIGMAS / 200**0.5
    assert abs(z.var(ddof=1) - 1) < SIGMAS * (2 / 200) ** 0.5


@pytest.mark.parametrize(("copied", "shift"), [(0.0, 0.0), (0.3, 0.0), (0.0, 1.0)], ids=["nothing", "copies", "far"])
def test_the_error_is_the_spread_over_repeated_draws(copied, shift):
    assert 0.85 < honesty(lambda random: against_training(random, copied, shift).nearer) < 1.2


def test_copies_are_told_by_a_large_z_and_bad_samples_by_a_small_one():
    random = np.random.default_rng(0)
    assert against_training(random, copied=0.7).z > 4
    assert against_training(random, shift=2.0).z < -4
    all_copies = copying(np.zeros(30), np.linspace(0.1, 1, 30))
    assert (all_copies.nearer.value, all_copies.nearer.error) == (1, 0)


def test_where_all_are_equally_near_there_is_no_evidence():
    found = copying(np.ones(5), np.ones(9))
    assert (found.nearer.value, found.nearer.error, found.z) == (0.5, 0, 0)


def test_what_does_not_fit_is_refused():
    fine = rows_of(5)
    with pytest.raises(EbbtideError, match="points of 2 numbers came, expected 3 as in the other set"):
        nearest(fine[:, :2], fine)
    with pytest.raises(EbbtideError, match="points: 0 rows came, expected at least 1"):
        nearest(fine[:0], fine)
    with pytest.raises(EbbtideError, match="others: 1 rows came, expected at least 2"):
        nearest(fine[:1], fine[:1], itself=True)
    with pytest.raises(EbbtideError, match="4 points and 5 others came with itself=True, expected one set"):
        nearest(fine[:4], fine, itself=True)
    with pytest.raises(EbbtideError, match=r"others of shape \(3,\) came"):
        nearest(fine, fine[0])
    with pytest.raises(EbbtideError, match="points: numbers that are not finite came"):
        nearest(fine * np.nan, fine)
    for wrong in (fine[:, 0] * np.nan, fine[:1, 0], fine):
        with pytest.raises(EbbtideError, match=r"distances of samples of shape .* at least 2 finite numbers"):
            copying(wrong, fine[:, 0])
        with pytest.raises(EbbtideError, match="distances of held-out examples of shape"):
            copying(fine[:, 0], wrong)
