"""Item K1: ideal denoisers against quadrature, autograd, torch.distributions and one another."""

import pytest
import torch
from torch.distributions import MultivariateNormal

from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers import FiniteOracle, GaussianDenoiser, GaussianOracle, MixtureOracle
from parts import COSINE, SIGMAS, covariance, noise, seeded

CORRUPTION = GaussianCorruption(COSINE)
MEAN = torch.tensor([1.0, -0.5, 0.2], dtype=torch.float64)
WEIGHTS = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
POINTS = noise(4, 3, seed=11)
ORACLES = {
    "gaussian": GaussianOracle(MEAN, covariance(3), CORRUPTION),
    "singular": GaussianOracle(MEAN, covariance(3, 1), CORRUPTION),
    "mixture": MixtureOracle.spherical(WEIGHTS, noise(3, 3, seed=12), 0.3, CORRUPTION),
    "mixed mixture": MixtureOracle(
        WEIGHTS, tuple(GaussianOracle(noise(3, seed=s), covariance(3, s, s), CORRUPTION) for s in (1, 2, 3))
    ),
    "finite": FiniteOracle(POINTS, CORRUPTION),
}
TIMES = [0.01, 0.1, 0.5, 0.9, 1.0]


def at(t, count):
    return torch.full((count,), t, dtype=torch.float64)


@pytest.mark.parametrize("t", TIMES)
@pytest.mark.parametrize("name", ORACLES)
def test_the_score_is_the_gradient_of_the_log_density(name, t):
    oracle = ORACLES[name]
    x = noise(6, 3, seed=3).requires_grad_()
    oracle.log_prob(x, torch.tensor(t, dtype=torch.float64)).sum().backward()
    score = oracle(x.detach(), at(t, 6)).score
    assert torch.allclose(score, x.grad, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("t", TIMES)
@pytest.mark.parametrize("name", ORACLES)
def test_noise_and_data_of_the_estimate_make_xt_again(name, t):
    x = noise(6, 3, seed=3)
    estimate = ORACLES[name](x, at(t, 6))
    assert isinstance(ORACLES[name], GaussianDenoiser)
    assert torch.allclose(estimate.level.mix(estimate.x0, estimate.eps), x, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ORACLES)
def test_an_oracle_answers_in_the_type_it_is_asked_in(name, dtype):
    x = noise(6, 3, seed=3)
    answer = ORACLES[name](x.to(dtype), at(0.5, 6)).x0
    assert answer.dtype == dtype
    assert torch.allclose(answer.double(), ORACLES[name](x, at(0.5, 6)).x0, rtol=0, atol=1e-5)


LINE = {
    "gaussian": (
        GaussianOracle(MEAN[:1], torch.full((1, 1), 0.4, dtype=torch.float64), CORRUPTION),
        [1.0],
        [1.0],
        0.4**0.5,
    ),
    "mixture": (
        MixtureOracle.spherical(WEIGHTS, torch.tensor([[-1.0], [0.3], [2.0]], dtype=torch.float64), 0.25, CORRUPTION),
        WEIGHTS.tolist(),
        [-1.0, 0.3, 2.0],
        0.25,
    ),
}


@pytest.mark.parametrize("t", [0.05, 0.3, 0.8])
@pytest.mark.parametrize("name", LINE)
def test_on_a_line_mean_and_density_are_those_of_quadrature(name, t):
    oracle, weights, means, std = LINE[name]
    level = CORRUPTION.level(torch.tensor(t, dtype=torch.float64))
    x0 = torch.linspace(-8, 8, 20001, dtype=torch.float64)
    data = sum(w * torch.exp(-((x0 - m) ** 2) / (2 * std**2)) / std for w, m in zip(weights, means, strict=True))
    xt = torch.tensor([-1.5, 0.0, 0.4, 2.5], dtype=torch.float64).unsqueeze(1)
    joint = data * torch.exp(-((xt - level.alpha * x0) ** 2) / (2 * level.sigma**2)) / level.sigma
    mean = (joint * x0).sum(1) / joint.sum(1)
    assert torch.allclose(oracle(xt, at(t, 4)).x0.flatten(), mean, rtol=1e-9, atol=1e-10)
    density = joint.sum(1) * (x0[1] - x0[0]) / (2 * torch.pi)
    log_prob = oracle.log_prob(xt, torch.tensor(t, dtype=torch.float64))
    assert torch.allclose(log_prob, density.log(), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("t", [0.1, 0.6, 1.0])
def test_the_finite_oracle_is_bayes_rule_over_its_points(t):
    level = CORRUPTION.level(torch.tensor(t, dtype=torch.float64))
    x = noise(5, 3, seed=3)
    likelihoods = torch.stack(
        [
            MultivariateNormal(level.alpha * point, level.sigma**2 * torch.eye(3, dtype=torch.float64)).log_prob(x)
            for point in POINTS
        ],
        dim=1,
    ).exp()
    posterior = likelihoods / likelihoods.sum(1, keepdim=True)
    oracle = ORACLES["finite"]
    assert torch.allclose(oracle(x, at(t, 5)).x0, posterior @ POINTS, rtol=1e-9, atol=1e-11)
    log_prob = oracle.log_prob(x, torch.tensor(t, dtype=torch.float64))
    assert torch.allclose(log_prob, likelihoods.mean(1).log(), rtol=0, atol=1e-11)


@pytest.mark.parametrize("t", [0.1, 0.6, 1.0])
def test_points_are_a_mixture_without_width_and_one_component_is_a_gaussian(t):
    x, time = noise(5, 3, seed=3), torch.tensor(t, dtype=torch.float64)
    even = torch.full((4,), 0.25, dtype=torch.float64)
    finite, mixture = ORACLES["finite"], MixtureOracle.spherical(even, POINTS, 0.0, CORRUPTION)
    assert torch.allclose(finite(x, at(t, 5)).x0, mixture(x, at(t, 5)).x0, rtol=1e-9, atol=1e-11)
    assert torch.allclose(finite.log_prob(x, time), mixture.log_prob(x, time), rtol=0, atol=1e-11)
    gaussian = ORACLES["gaussian"]
    single = MixtureOracle(torch.ones(1, dtype=torch.float64), (gaussian,))
    assert torch.allclose(single(x, at(t, 5)).x0, gaussian(x, at(t, 5)).x0, rtol=1e-12)
    assert torch.allclose(single.log_prob(x, time), gaussian.log_prob(x, time), rtol=1e-12)


@pytest.mark.parametrize("t", [0.1, 0.5, 1.0])
def test_the_gaussian_marginal_is_what_corrupted_data_follow(t):
    oracle, count = ORACLES["singular"], 40_000
    root = noise(3, 1, seed=0)
    x0 = MEAN + noise(count, 1, seed=5) @ root.mT
    xt = CORRUPTION.corrupt(x0, at(t, count), seeded(6)).xt
    law = oracle.marginal(torch.tensor(t, dtype=torch.float64))
    matrix = law.covariance.matrix
    error = ((matrix.diagonal()[:, None] * matrix.diagonal() + matrix.square()) / count).sqrt()
    assert ((xt.mean(0) - law.mean).abs() < SIGMAS * (matrix.diagonal() / count).sqrt()).all()
    assert ((xt.mT.cov() - matrix).abs() < SIGMAS * error).all()


@pytest.mark.parametrize("name", ["gaussian", "singular"])
def test_without_noise_the_data_are_what_is_seen(name):
    root = noise(3, 3 if name == "gaussian" else 1, seed=0)
    x0 = MEAN + noise(6, root.shape[1], seed=8) @ root.mT
    assert torch.allclose(ORACLES[name](x0, at(0.0, 6)).x0, x0, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ORACLES)
def test_examples_of_a_batch_at_different_times_do_not_meet(name):
    x, t = noise(4, 3, seed=3), torch.tensor([0.9, 0.01, 0.3, 1.0], dtype=torch.float64)
    together = ORACLES[name](x, t).x0
    alone = torch.cat([ORACLES[name](x[i : i + 1], t[i : i + 1]).x0 for i in range(4)])
    assert torch.allclose(together, alone, rtol=1e-12)


def test_images_are_vectors_in_their_own_shape():
    x, t = noise(5, 1, 2, 3, seed=3), at(0.4, 5)
    points = noise(4, 1, 2, 3, seed=1)
    images, vectors = FiniteOracle(points, CORRUPTION), FiniteOracle(points.flatten(1), CORRUPTION)
    assert torch.equal(images(x, t).x0.flatten(1), vectors(x.flatten(1), t).x0)
    gaussian = GaussianOracle(noise(6, seed=2), covariance(6), CORRUPTION)
    assert torch.equal(gaussian(x, t).x0.flatten(1), gaussian(x.flatten(1), t).x0)


def test_points_of_the_size_of_images_keep_apart_in_float32():
    points, t = noise(20, 1, 28, 28, seed=1), at(1e-3, 20)
    points = points[:1] + 0.01 * points
    xt = CORRUPTION.corrupt(points, t, seeded(2)).xt
    exact = FiniteOracle(points, CORRUPTION)(xt, t).x0
    single = FiniteOracle(points.float(), CORRUPTION)(xt.float(), t).x0
    assert torch.allclose(single.double(), exact, rtol=0, atol=2e-3)
