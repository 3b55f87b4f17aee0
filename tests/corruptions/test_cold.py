"""Degradations as corruptions: identity at t = 0, one path once settled, ranges, and where sampling begins."""

import pytest
import torch

from ebbtide.corruptions import ColdCorruption, Corruption, Settling, Stepwise, fit_start
from ebbtide.degradations import Fade, GaussianBlur, GrowingMask, MotionBlur, Pixelate, Snow
from ebbtide.errors import EbbtideError
from ebbtide.randomness import SampleGenerators
from parts import noise, seeded

LOW, HIGH = -0.83, 2.31
X0 = LOW + (HIGH - LOW) * noise(4, 3, 9, 9, dtype=torch.float32).sigmoid()
KINDS = (GaussianBlur(), Pixelate(), GrowingMask(), Snow(), MotionBlur(), Fade())
CHANCE = (GrowingMask, Snow, MotionBlur)


def cold(degradation, **options):
    return ColdCorruption(degradation=degradation, low=LOW, high=HIGH, **options)


def times(t, count=4):
    return torch.full((count,), t, dtype=torch.float64)


@pytest.mark.parametrize("degradation", KINDS, ids=lambda d: type(d).__name__)
def test_nothing_is_touched_at_0_and_only_examples_that_are_at_0(degradation):
    corruption = cold(degradation)
    assert isinstance(corruption, Corruption)
    assert isinstance(corruption, Settling)
    assert not isinstance(corruption, Stepwise)
    t = torch.tensor([0.0, 0.7, 0.0, 1.0], dtype=torch.float64)
    xt, none = corruption.corrupt(X0, t, seeded(0))
    assert none is None
    assert torch.equal(xt[[0, 2]], X0[[0, 2]])
    assert ((xt - X0)[[1, 3]].flatten(1).abs().max(1).values > 0.01).all()


@pytest.mark.parametrize("degradation", KINDS, ids=lambda d: type(d).__name__)
def test_what_is_settled_takes_the_same_way_whoever_asks(degradation):
    corruption = cold(degradation)
    assert corruption.chance(X0.shape) == isinstance(degradation, CHANCE)
    settled = corruption.settled(X0.shape, seeded(3))
    one, two = (settled.corrupt(X0, times(0.6), seeded(seed)).xt for seed in (1, 2))
    assert torch.equal(one, two)
    assert torch.equal(one, corruption.corrupt(X0, times(0.6), seeded(3)).xt)
    loose = [corruption.corrupt(X0, times(0.6), seeded(seed)).xt for seed in (1, 2)]
    assert torch.equal(*loose) != corruption.chance(X0.shape)


def test_a_fade_goes_to_the_middle_of_the_datas_own_range():
    xt = cold(Fade()).corrupt(X0, times(1.0), seeded(0)).xt
    torch.testing.assert_close(xt, torch.full_like(xt, (LOW + HIGH) / 2))
    half = cold(Fade()).corrupt(X0, times(0.5), seeded(0)).xt
    assert half.min() > LOW
    assert half.max() < HIGH


def test_sampling_begins_with_what_is_left_of_the_data():
    """Of blur the mean colours; where chance has a part, data from the mixture are degraded as it was settled."""
    blur = cold(GaussianBlur())
    data = X0.repeat(100, 1, 1, 1) + 0.3 * noise(400, 3, 1, 1, dtype=torch.float32)
    start = fit_start(blur.to_fit(data), spread=0.0)
    begun = cold(GaussianBlur(), start=start).prior((3000, 3, 9, 9), SampleGenerators.of(0, range(3000)))
    assert begun.var((2, 3)).max() < 1e-6
    colours, wanted = begun.mean((2, 3)).double(), data.mean((2, 3)).double()
    assert (colours.mean(0) - wanted.mean(0)).abs().max() < 0.05
    assert (colours.T.cov() - wanted.T.cov()).abs().max() < 0.03

    mask = cold(GrowingMask())
    assert torch.equal(mask.to_fit(data), data)
    hidden = cold(GrowingMask(), start=fit_start(data)).settled((5, 3, 9, 9), seeded(1))
    begun = hidden.prior((5, 3, 9, 9), seeded(2))
    assert (begun - (LOW + HIGH) / 2).abs().max() < 1e-2 * (HIGH - LOW)


def test_wrong_use_is_refused():
    with pytest.raises(EbbtideError, match="low < high"):
        ColdCorruption(degradation=Fade(), low=1.0, high=1.0)
    with pytest.raises(EbbtideError, match="has not been fitted"):
        cold(Fade()).prior((1, 3, 9, 9), seeded(0))
