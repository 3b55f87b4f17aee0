"""The distance that the benchmarks report, against its definition."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from frechet import Moments, frechet


def moments(seed, size=6, scale=1.0):
    random = np.random.default_rng(seed)
    root = random.normal(size=(size, size)) * scale
    return Moments(random.normal(size=size), root @ root.T)


@pytest.mark.parametrize("seed", range(4))
def test_it_is_its_definition(seed):
    one, other = moments(seed), moments(seed + 10, scale=0.5)
    root = sqrtm(one.covariance @ other.covariance).real
    expected = np.square(one.mean - other.mean).sum() + np.trace(one.covariance + other.covariance - 2 * root)
    assert frechet(one, other) == pytest.approx(expected)
    assert frechet(other, one) == pytest.approx(expected)


def test_it_is_zero_from_a_set_to_itself_and_the_square_of_a_shift():
    one = moments(0)
    assert frechet(one, one) == pytest.approx(0, abs=1e-6)
    assert frechet(one, Moments(one.mean + 2.0, one.covariance)) == pytest.approx(4.0 * len(one.mean))


def test_features_that_never_vary_do_no_harm():
    flat = Moments(np.zeros(3), np.diag([1.0, 0.0, 0.0]))
    assert frechet(flat, Moments(np.zeros(3), np.diag([4.0, 0.0, 0.0]))) == pytest.approx(1.0)
