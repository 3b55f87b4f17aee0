"""Moments of sets that come in chunks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from draws import moments_of
from ebbtide.errors import EbbtideError
from ebbtide.evaluation.metrics import Moments, MomentsSum


def rows_of(count, size, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(size=(count, size)) @ random.normal(size=(size, size)) + 3 * random.normal(size=size)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=8), st.integers(1, 5), st.integers(0, 2**20))
def test_chunks_of_any_size_give_the_moments_of_the_whole(sizes, width, seed):
    rows = rows_of(sum(sizes) + 2, width, seed)
    total, start = MomentsSum(width), 0
    for size in [*sizes, 2]:
        total.add(rows[start : start + size])
        start += size
    found = total.moments()
    assert found.count == len(rows)
    scale = np.abs(rows).max()
    assert found.mean == pytest.approx(rows.mean(0), abs=1e-13 * scale)
    assert found.covariance == pytest.approx(np.cov(rows, rowvar=False).reshape(width, width), abs=1e-13 * scale**2)


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_a_mean_far_from_zero_costs_no_digits(chunk):
    """The rows are multiples of 1/1024, so that they move by 10⁶ without any rounding."""
    rows = np.round(rows_of(1000, 3) * 1024) / 1024
    near, far = MomentsSum(3), MomentsSum(3)
    for start in range(0, len(rows), chunk):
        near.add(rows[start : start + chunk])
        far.add(rows[start : start + chunk] + 1e6)
    assert far.moments().covariance == pytest.approx(near.moments().covariance, rel=1e-9, abs=1e-9)
    assert far.moments().mean - 1e6 == pytest.approx(near.moments().mean, abs=1e-8)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.uint8])
def test_rows_of_any_type_are_summed_in_double_precision(kind):
    rows = (50 + 20 * np.random.default_rng(0).normal(size=(3000, 2))).clip(0, 255).astype(kind)
    found = moments_of(rows)
    assert found.mean.dtype == found.covariance.dtype == np.float64
    assert found.mean == pytest.approx(rows.astype(float).mean(0), rel=1e-12)
    assert found.covariance == pytest.approx(np.cov(rows.astype(float), rowvar=False), rel=1e-12)


def test_what_was_given_out_stays_as_it_was():
    total, rows = MomentsSum(2), rows_of(20, 2)
    total.add(rows[:10])
    first = total.moments()
    mean, covariance = first.mean.copy(), first.covariance.copy()
    total.add(rows[10:])
    assert np.array_equal(first.mean, mean)
    assert np.array_equal(first.covariance, covariance)
    assert total.count == 20


def test_rows_are_not_changed():
    rows = rows_of(9, 2)
    before = rows.copy()
    moments_of(rows)
    assert np.array_equal(rows, before)


def test_fewer_than_two_rows_have_no_covariance():
    total = MomentsSum(2)
    for count in (0, 1):
        with pytest.raises(EbbtideError, match=f"moments of {count} rows were asked for, expected at least 2"):
            total.moments()
        total.add(rows_of(1, 2))
    assert total.moments().count == 2
    with pytest.raises(EbbtideError, match="moments of 1 rows came, expected at least 2"):
        Moments(1, np.zeros(2), np.eye(2))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.zeros((4, 3)), r"rows of shape \(4, 3\) came, expected \(n, 2\)"),
        (np.zeros(4), r"rows of shape \(4,\) came, expected \(n, 2\)"),
        (np.zeros((4, 2, 2)), r"rows of shape \(4, 2, 2\) came"),
        (np.zeros((4, 0)), r"rows of shape \(4, 0\) came"),
        (np.array([[0.0, 1.0], [np.nan, 0.0]]), r"1 rows hold numbers that are not finite"),
        (np.array([[np.inf, 1.0]]), "1 rows hold numbers that are not finite"),
        (np.zeros((4, 2), dtype=complex), "rows of type complex128 came, expected real numbers"),
    ],
)
def test_what_are_no_rows_is_refused_and_not_counted(wrong, message):
    total = MomentsSum(2)
    with pytest.raises(EbbtideError, match=message):
        total.add(wrong)
    assert total.count == 0


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(EbbtideError, match="0 features came, expected at least 1"):
        MomentsSum(0)
    with pytest.raises(EbbtideError, match=r"a mean of shape \(2,\) and a covariance of shape \(3, 3\) came"):
        Moments(9, np.zeros(2), np.eye(3))
    with pytest.raises(EbbtideError, match=r"a mean of shape \(1, 2\)"):
        Moments(9, np.zeros((1, 2)), np.eye(2))
