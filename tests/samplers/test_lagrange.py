"""Weights of known values: they integrate polynomials exactly, and keep their digits for steps of any length."""

import math
from fractions import Fraction

import pytest
from scipy.integrate import quad

from ebbtide.samplers.lagrange import (
    MOST_WEIGHT,
    bounded,
    even_moments,
    even_weights,
    exponential_moments,
    weights,
)

LENGTHS = [1e-12, 1e-6, 0.01, 0.5, 1.0, 2.0, 3.5, 5.0, 5.999, 6.0, 6.001, 20.0, 700.0]
UNEQUAL = [0.0, -0.3, -1.7, -1.9, -4.0, -4.5]


@pytest.mark.parametrize("h", LENGTHS)
def test_moments_have_all_their_digits(h):
    for k, moment in enumerate(exponential_moments(h, 6)):
        # beyond 40 lengths from the end nothing of the integrand is left
        points = [max(0.0, 1 - 40 / h)]
        expected, _ = quad(lambda v, k=k: h * math.exp(h * (v - 1)) * v**k, *points, 1, epsabs=0, epsrel=1e-13)
        assert moment == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("h", LENGTHS)
@pytest.mark.parametrize("count", range(1, 7))
def test_weights_add_up_to_the_mass(count, h):
    found = weights(UNEQUAL[:count], exponential_moments(h, count))
    assert math.fsum(found) == pytest.approx(-math.expm1(-h), rel=1e-12)
    assert math.fsum(weights(UNEQUAL[:count], even_moments(count))) == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("count", range(1, 7))
@pytest.mark.parametrize("points", [UNEQUAL, [0.0, 1.0, 0.5, -0.25, -2.0, 0.75]], ids=["before", "around"])
def test_polynomials_of_lower_degree_are_integrated_exactly(points, count):
    for moments in (even_moments(count), exponential_moments(2.5, count)):
        found = weights(points[:count], moments)
        for degree in range(count):
            total = math.fsum(w * p**degree for w, p in zip(found, points, strict=False))
            assert total == pytest.approx(moments[degree], rel=1e-11)


def test_equal_steps_have_the_numbers_of_adams_and_bashforth():
    numbers = {2: [3, -1], 3: [23, -16, 5], 4: [55, -59, 37, -9], 5: [1901, -2774, 2616, -1274, 251]}
    for count, numerators in numbers.items():
        found = weights([-float(j) for j in range(count)], even_moments(count))
        assert found == pytest.approx([number / sum(numerators) for number in numerators], rel=1e-12)


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 1e3, 1e6])
def test_no_digits_are_lost_between_steps_of_very_unequal_length(scale):
    """Against the same sums in whole numbers."""
    points = [0.0, -1.0 * scale, -1.5 * scale, -2.0 * scale - 1, -9.0 * scale - 7, -10.0 * scale - 8]
    exact = [Fraction(point) for point in points]
    for j, found in enumerate(weights(points, even_moments(6))):
        polynomial = [Fraction(1)]
        for other in exact[:j] + exact[j + 1 :]:
            up, down = [Fraction(0), *polynomial], [*polynomial, Fraction(0)]
            polynomial = [(a - other * b) / (exact[j] - other) for a, b in zip(up, down, strict=True)]
        expected = sum(c / (k + 1) for k, c in enumerate(polynomial))
        assert found == pytest.approx(float(expected), rel=1e-13)


def exponential(h):
    return lambda points: weights(points, exponential_moments(h, len(points)))


@pytest.mark.parametrize("count", range(1, 7))
def test_short_equal_steps_keep_all_their_points(count):
    points = [-float(j) for j in range(count)]
    assert len(bounded(points, exponential(0.05))) == count
    assert len(bounded(points, even_weights)) == count


def test_weights_stay_bounded_however_steps_grow():
    for h in LENGTHS:
        for before in (1e-9, 1e-3, 0.1, 0.5, 1.0, 3.0):
            found = bounded([-j * before for j in range(6)], exponential(h))
            assert sum(map(abs, found)) <= MOST_WEIGHT ** len(found) * -math.expm1(-h) * (1 + 1e-9)
            assert math.fsum(found) == pytest.approx(-math.expm1(-h), rel=1e-6)


def test_a_long_step_after_a_very_short_one_forgets_it():
    assert bounded([0.0, -1e-3], exponential(1.0)) == pytest.approx([-math.expm1(-1.0)])


def test_values_at_an_infinite_distance_say_nothing():
    rule = exponential(0.5)
    assert bounded([0.0, -1.0, -math.inf], rule) == rule([0.0, -1.0])
