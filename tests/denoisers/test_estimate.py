"""An estimate says one prediction in every kind."""

import pytest
import torch

from ebbtide.denoisers import Estimate, GaussianEstimate
from ebbtide.levels import KINDS, Level, Pair
from parts import noise

LEVEL = Level.of_log_snr(torch.tensor([-14.0, -3.0, 0.0, 5.0, 14.0], dtype=torch.float64))
X0, EPS = noise(5, 1, 2, 3, seed=1), noise(5, 1, 2, 3, seed=2)
XT = LEVEL.mix(X0, EPS)


def whole(kind):
    a, b = LEVEL.pair(kind)
    return GaussianEstimate(XT, LEVEL, kind, a.view(5, 1, 1, 1) * X0 + b.view(5, 1, 1, 1) * EPS)


@pytest.mark.parametrize("kind", [*KINDS, Pair(-LEVEL.sigma - 0.2, LEVEL.alpha)], ids=[*KINDS, "pair"])
def test_a_true_prediction_of_any_kind_is_read_as_the_truth(kind):
    estimate = whole(kind)
    sigma = LEVEL.sigma.view(5, 1, 1, 1)
    assert torch.allclose(estimate.x0, X0, rtol=1e-10, atol=1e-10)
    assert torch.allclose(estimate.eps, EPS, rtol=1e-10, atol=1e-10)
    assert torch.allclose(estimate.score, -EPS / sigma, rtol=1e-10, atol=1e-10)
    assert torch.allclose(LEVEL.mix(estimate.x0, estimate.eps), XT, rtol=1e-10, atol=1e-10)


def test_v_turns_x0_and_eps_by_the_angle_of_the_level():
    estimate = whole("x0")
    alpha, sigma = LEVEL.alpha.view(5, 1, 1, 1), LEVEL.sigma.view(5, 1, 1, 1)
    assert torch.allclose(alpha * XT - sigma * estimate.v, X0, rtol=1e-10, atol=1e-10)
    assert torch.allclose(sigma * XT + alpha * estimate.v, EPS, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_the_kind_that_was_predicted_is_handed_on_untouched(kind):
    estimate = whole(kind)
    assert getattr(estimate, kind) is estimate.prediction
    assert estimate.as_(kind) is estimate.prediction


def test_an_estimate_in_float32_loses_no_more_than_float32_does():
    estimate = GaussianEstimate(XT.float(), LEVEL, "v", whole("v").prediction.float())
    assert estimate.x0.dtype == torch.float32
    assert torch.allclose(estimate.x0.double(), X0, rtol=0, atol=1e-5)
    assert isinstance(estimate, Estimate)
