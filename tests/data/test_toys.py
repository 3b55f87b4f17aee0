"""The toys' samples agree with their closed forms, within what chance allows."""

from math import pi

import numpy as np
import pytest
import torch

from ebbtide.data import MIXTURE
from ebbtide.data.toys import MOONS_NOISE, POINTS, SWISS_ROLL_NOISE, load_toy

NAMES = ["swiss-roll", "moons", "mixture"]
# a bound that chance breaks once in two million
SIGMAS = 5


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("name", NAMES)
def test_mean_and_variance_are_standard(name, split):
    values = load_toy(name, split).values.astype(np.float64)
    assert values.shape == (POINTS, 2)
    assert (abs(values.mean(0)) < SIGMAS * values.std(0) / POINTS**0.5).all()
    if name == "mixture":
        energy = (values**2).sum(1)
        assert abs(energy.mean() - 2) < SIGMAS * energy.std() / POINTS**0.5
    else:
        squares = values**2
        assert (abs(squares.mean(0) - 1) < SIGMAS * squares.std(0) / POINTS**0.5).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_splits_are_two_draws_and_each_is_always_the_same(name):
    train, again, test = load_toy(name, "train"), load_toy(name, "train"), load_toy(name, "test")
    assert np.array_equal(train.values, again.values)
    assert not np.isin(train.values, test.values).all(1).any()
    assert train.batch([3]).names != test.batch([3]).names


def test_the_mixture_is_a_density_of_mean_0_and_mean_variance_1():
    weights, means, std = MIXTURE.weights, MIXTURE.means, MIXTURE.std
    assert {weights.dtype, means.dtype, std.dtype} == {torch.float64}
    assert float(weights.sum()) == pytest.approx(1, abs=1e-15)
    assert len(set(weights.tolist())) == 8
    torch.testing.assert_close(weights @ means, torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-14)
    covariance = (weights[:, None] * means).T @ means + std**2 * torch.eye(2, dtype=torch.float64)
    assert float(covariance.trace()) == pytest.approx(2, abs=1e-13)


def test_the_mixture_sample_has_the_density_of_its_components():
    dataset = load_toy("mixture", "train")
    values, labels = dataset.values.astype(np.float64), dataset.labels
    assert len(dataset.classes) == 8
    for k, weight in enumerate(MIXTURE.weights.tolist()):
        some = (values[labels == k] - MIXTURE.means[k].numpy()) / float(MIXTURE.std)
        assert abs(len(some) - POINTS * weight) < SIGMAS * (POINTS * weight * (1 - weight)) ** 0.5
        assert (abs(some.mean(0)) < SIGMAS / len(some) ** 0.5).all()
        assert (abs((some**2).mean(0) - 1) < SIGMAS * (2 / len(some)) ** 0.5).all()
        assert abs((some[:, 0] * some[:, 1]).mean()) < SIGMAS / len(some) ** 0.5


def test_moons_are_two_half_circles():
    from ebbtide.data.toys import MOONS_CENTRE, MOONS_SCALE

    dataset = load_toy("moons", "train")
    plane = dataset.values * MOONS_SCALE + MOONS_CENTRE
    assert np.bincount(dataset.labels).tolist() == [POINTS // 2, POINTS // 2]
    for label, centre in enumerate([(0, 0), (1, 0.5)]):
        radius = np.hypot(*(plane[dataset.labels == label] - centre).T)
        # the noise across the circle is normal; that along it adds half its variance to the mean radius
        assert abs(radius.mean() - 1 - MOONS_NOISE**2 / 2) < SIGMAS * MOONS_NOISE / (POINTS / 2) ** 0.5
        assert abs(radius - 1).max() < 6 * MOONS_NOISE


def test_the_swiss_roll_is_a_spiral():
    from ebbtide.data.toys import SWISS_ROLL_CENTRE, SWISS_ROLL_SCALE

    dataset = load_toy("swiss-roll", "train")
    assert dataset.labels is None
    plane = dataset.values * SWISS_ROLL_SCALE + SWISS_ROLL_CENTRE
    # at angle t (mod 2 pi) the radius is t, so radius - angle is a multiple of 2 pi but for the noise
    gap = np.hypot(*plane.T) - np.arctan2(plane[:, 1], plane[:, 0])
    off = (gap + pi) % (2 * pi) - pi
    assert np.mean(abs(off) < 2 * SWISS_ROLL_NOISE) > 0.94
