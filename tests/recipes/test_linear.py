"""The linear denoiser of a data set: of two halves that share no example, by waves where examples are few."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ebbtide.corruptions import GaussianCorruption
from ebbtide.data import load
from ebbtide.recipes.linear import ENOUGH, LEAST_FOR_LINEAR, apart, both_ways, linear_denoiser
from parts import COSINE

CORRUPTION = GaussianCorruption(COSINE)
DIGITS = load("digits")
LEVELS = CORRUPTION.level(torch.linspace(0.05, 0.95, 9, dtype=torch.float64))


@pytest.mark.parametrize("count", [1, 7, 40, 89])
def test_a_set_is_cut_into_two_that_share_nothing_and_miss_nothing(count):
    some, rest = apart(DIGITS.subset(range(90)), count)
    assert (len(some), len(rest)) == (count, 90 - count)
    together = np.concatenate([some.values, rest.values]).reshape(90, -1)
    assert sorted(map(bytes, together)) == sorted(map(bytes, DIGITS.values[:90].reshape(90, -1)))


def test_halves_do_not_fall_in_step_with_labels_that_alternate():
    one, other = apart(replace(DIGITS.subset(range(200)), labels=np.arange(200) % 2, classes=("a", "b")), 100)
    for half in (one, other):
        assert half.labels is not None
        assert 30 < half.labels.sum() < 70


@pytest.mark.parametrize(("count", "exact"), [(2 * ENOUGH * 64, True), (2 * ENOUGH * 64 - 2, False)])
def test_pictures_that_are_too_few_for_their_covariance_are_told_in_waves(count, exact):
    assert linear_denoiser(DIGITS.subset(range(count)), CORRUPTION).exact == exact
    assert linear_denoiser(load("moons").subset(range(LEAST_FOR_LINEAR)), CORRUPTION).exact


def test_a_picture_that_was_seen_is_no_better_known_than_another():
    """By heart, 30 digits of 64 numbers would have next to no error left where there is little noise."""
    few = linear_denoiser(DIGITS.subset(range(60)), CORRUPTION).error(LEVELS)
    many = linear_denoiser(DIGITS, CORRUPTION).error(LEVELS)
    assert (few > 0.9 * many).all()
    assert (few < 2 * many).all()


def test_both_ways_are_about_all_the_examples():
    data = DIGITS.subset(range(41))
    one, other = both_ways(data, CORRUPTION)
    assert not torch.equal(one.variances, other.variances)
    x0 = data.batch(range(41)).x0.double().flatten(1)
    away = 20 * (one.mean - other.mean).square().mean() / 41  # what the means of halves miss
    expected = float((x0 - x0.mean(0)).square().mean() + away)
    assert (one.constant_error + other.constant_error) / 2 == pytest.approx(expected, rel=0.05)
