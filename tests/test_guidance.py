"""Wrappers change what is believed and stay denoisers."""

import torch

from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers import FiniteOracle, GaussianDenoiser, GaussianOracle, VarianceDenoiser, VarianceEstimate, decode
from ebbtide.guidance import Clipped
from parts import COSINE, noise

CORRUPTION = GaussianCorruption(COSINE)
ORACLE = GaussianOracle(torch.zeros(2, dtype=torch.float64), 4 * torch.eye(2, dtype=torch.float64), CORRUPTION)
XT, T = 3 * noise(8, 2), torch.linspace(0.05, 1, 8, dtype=torch.float64)


def test_the_clipped_estimate_is_the_nearest_point_of_the_range():
    plain, clipped = ORACLE(XT, T), Clipped(ORACLE, -0.5, 1.0)(XT, T)
    assert plain.x0.max() > 1
    assert plain.x0.min() < -0.5
    assert torch.equal(clipped.x0, plain.x0.clip(-0.5, 1.0))


def test_eps_follows_from_the_clipped_data():
    clipped = Clipped(ORACLE)(XT, T)
    assert torch.allclose(clipped.level.mix(clipped.x0, clipped.eps), XT, rtol=1e-10, atol=1e-11)
    sigma = clipped.level.sigma[:, None]
    assert torch.allclose(clipped.score, -clipped.eps / sigma, rtol=1e-10)


def test_clipping_data_within_the_range_changes_nothing():
    points = noise(5, 2, seed=2).clip(-1, 1)
    oracle = FiniteOracle(points, CORRUPTION)
    assert torch.equal(Clipped(oracle)(XT, T).x0, oracle(XT, T).x0)


def test_a_wrapped_denoiser_is_one_and_clipping_twice_is_clipping_once():
    once = Clipped(ORACLE)
    assert isinstance(once, GaussianDenoiser)
    assert once.corruption is CORRUPTION
    assert torch.equal(Clipped(once)(XT, T).eps, once(XT, T).eps)


def test_a_clipped_estimate_still_says_where_the_variance_lies():
    answer = noise(8, 4, seed=3)
    plain = VarianceDenoiser(lambda x, t, condition: answer, CORRUPTION)(XT, T)
    clipped = Clipped(VarianceDenoiser(lambda x, t, condition: answer, CORRUPTION))(XT, T)
    assert isinstance(clipped, VarianceEstimate)
    assert torch.equal(clipped.share, plain.share)
    assert torch.equal(clipped.x0, plain.x0.clip(-1, 1))
    assert not torch.equal(clipped.x0, plain.x0)
    s, t = CORRUPTION.level(T / 2), CORRUPTION.level(T)
    assert torch.equal(decode(clipped, s, t, "learned").variances, decode(plain, s, t, "learned").variances)
