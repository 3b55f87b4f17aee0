"""Item E11: probabilities of 8-bit values that sum to one, and a density for real numbers."""

import math

import pytest
import torch
from scipy.stats import norm

from ebbtide.data import ValueRange
from ebbtide.denoisers import GaussianEstimate
from ebbtide.errors import EbbtideError
from ebbtide.levels import Level
from ebbtide.likelihood.reconstruction import GaussianBins, GaussianDensity, codes, log_of_interval
from parts import noise, seeded

RANGE = ValueRange(low=-0.8, high=2.1)
LEVEL = Level(
    torch.tensor([0.999, 0.9, 0.5], dtype=torch.float64), torch.tensor([0.004, 0.05, 0.8], dtype=torch.float64)
)


def images():
    return RANGE.encode(torch.randint(0, 256, (3, 1, 4, 5), generator=seeded(1), dtype=torch.uint8))


def estimate(x0):
    spread = (LEVEL.sigma / LEVEL.alpha).reshape(3, *[1] * (x0.ndim - 1))
    guess = x0.double() + 0.5 * spread * noise(*x0.shape, seed=2)
    return GaussianEstimate(guess, LEVEL, "x0", guess)


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_the_256_probabilities_sum_to_one_and_hold_the_one_that_is_charged(scale):
    x0 = images()
    x0.flatten()[:2] = torch.tensor([RANGE.low, RANGE.high])
    bins = GaussianBins(RANGE, scale)
    table = bins.probabilities(estimate(x0))
    assert torch.allclose(table.sum(-1), torch.ones(3, 1, 4, 5, dtype=torch.float64), rtol=1e-12)
    charged = table.gather(-1, codes(x0, RANGE).long().unsqueeze(-1)).squeeze(-1)
    assert torch.allclose(bins(estimate(x0), x0), -charged.log().flatten(1).sum(1), rtol=1e-7)


def test_a_bin_is_the_integral_of_the_density_over_it():
    x0 = images()
    guess = estimate(x0)
    h, s = (RANGE.high - RANGE.low) / 255, (LEVEL.sigma / LEVEL.alpha).reshape(3, 1, 1, 1)
    expected = 0.0
    for value, mean, width in zip(x0.double().flatten(), guess.x0.flatten(), s.expand(x0.shape).flatten(), strict=True):
        k = round(float((value - RANGE.low) / h))
        low = -math.inf if k == 0 else (RANGE.low + (k - 0.5) * h - mean) / width
        high = math.inf if k == 255 else (RANGE.low + (k + 0.5) * h - mean) / width
        expected -= math.log(norm.cdf(float(high)) - norm.cdf(float(low)))
    assert float(GaussianBins(RANGE)(guess, x0).sum()) == pytest.approx(expected, rel=1e-6)


def test_the_interval_keeps_its_digits_in_both_tails():
    low = torch.tensor([-40.0, 12.0, -0.1, 5.0, -math.inf, 3.0], dtype=torch.float64)
    high = torch.tensor([-39.0, 12.5, 0.2, 5.000001, -30.0, math.inf], dtype=torch.float64)
    found = log_of_interval(low, high)
    assert torch.isfinite(found).all()
    assert torch.allclose(found, log_of_interval(-high, -low), rtol=1e-12)
    assert float(found[2]) == pytest.approx(math.log(norm.cdf(0.2) - norm.cdf(-0.1)), rel=1e-12)
    assert float(found[3]) == pytest.approx(math.log(1e-6) + norm.logpdf(5), rel=1e-4)
    assert float(found[0]) == pytest.approx(norm.logcdf(-39), rel=1e-12)
    assert float(found[5]) == pytest.approx(norm.logsf(3), rel=1e-12)


def test_the_density_is_that_of_a_normal_law():
    x0 = noise(3, 2, 2, seed=4)
    guess = estimate(x0)
    std = (1.7 * LEVEL.sigma / LEVEL.alpha).reshape(3, 1, 1)
    expected = -torch.distributions.Normal(guess.x0, std.expand_as(x0)).log_prob(x0).sum((1, 2))
    assert torch.allclose(GaussianDensity(1.7)(guess, x0), expected, rtol=1e-10)


@pytest.mark.parametrize("values", [torch.full((1, 1, 2, 2), 0.1234), torch.full((1, 1, 2, 2), 7.0)])
def test_real_numbers_have_no_code_in_256_values(values):
    with pytest.raises(EbbtideError, match="8-bit images"):
        codes(values, RANGE)
