"""Item K1: ideal denoisers against quadrature, autograd, torch.distributions and one another."""

import pytest
import torch
from torch.distributions import MultivariateNormal

from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers import FiniteOracle, GaussianDenoiser, GaussianOracle, MixtureOracle
from ebbtide.errors import EbbtideError
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


MEANS = torch.tensor([-1.0, 0.3, 2.0], dtype=torch.float64)
LINE = {
    "gaussian": (
        GaussianOracle(MEAN[:1], torch.full((1, 1), 0.4, dtype=torch.float64), CORRUPTION),
        [1.0],
        [1.0],
        0.4**0.5,
    ),
    "mixture": (
        MixtureOracle.spherical(WEIGHTS, MEANS.unsqueeze(1), 0.25, CORRUPTION),
        WEIGHTS.tolist(),
        MEANS.tolist(),
        0.25,
    ),
}


@pytest.mark.parametrize("t", [0.05, 0.3, 0.8])
@pytest.mark.parametrize("name", LINE)
def test_on_a_line_mean_variance_and_density_are_those_of_quadrature(name, t):
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
    variance = (joint * (x0 - mean.unsqueeze(1)).square()).sum(1) / joint.sum(1)
    assert torch.allclose(oracle.covariance(xt, at(t, 4)).flatten(), variance, rtol=1e-9, atol=1e-10)


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


@pytest.mark.parametrize("t", [0.01, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("name", ORACLES)
def test_the_covariance_is_the_jacobian_of_the_mean_times_sigma_squared_over_alpha(name, t):
    """The second identity of Tweedie: two derivatives of one log-normaliser, by alpha xt / sigma²."""
    oracle, x = ORACLES[name], noise(3, 3, seed=3)
    level = CORRUPTION.level(torch.tensor(t, dtype=torch.float64))
    slopes = torch.stack([torch.func.jacrev(lambda one: oracle(one.unsqueeze(0), at(t, 1)).x0[0])(row) for row in x])
    want = level.sigma.square() / level.alpha * slopes
    assert torch.allclose(oracle.covariance(x, at(t, 3)), want, rtol=1e-7, atol=1e-10)


SPREAD = {
    **{name: oracle for name, (oracle, _, _, _) in LINE.items()},
    "finite": FiniteOracle(torch.tensor([[-1.0], [0.2], [0.5], [2.0]], dtype=torch.float64), CORRUPTION),
}


@pytest.mark.parametrize("t", [0.05, 0.4, 0.9])
@pytest.mark.parametrize("name", SPREAD)
def test_what_is_explained_and_what_is_not_are_all_the_variance(name, t):
    """Var x0 = E Var(x0 | xt) + Var E(x0 | xt)."""
    oracle, time = SPREAD[name], torch.tensor(t, dtype=torch.float64)
    total = {
        "gaussian": 0.4,
        "mixture": float((WEIGHTS * MEANS.square()).sum() - (WEIGHTS * MEANS).sum() ** 2) + 0.25**2,
        "finite": float(SPREAD["finite"].points.var(correction=0)),
    }[name]
    xt = torch.linspace(-12, 12, 20001, dtype=torch.float64).unsqueeze(1)
    mass = oracle.log_prob(xt, time).exp() * (xt[1] - xt[0])
    left, mean = oracle.covariance(xt, at(t, 20001)).flatten(), oracle(xt, at(t, 20001)).x0.flatten()
    explained = mass @ mean.square() - (mass @ mean) ** 2
    assert float(mass @ left + explained) == pytest.approx(total, rel=1e-9)


@pytest.mark.parametrize("name", ORACLES)
def test_covariances_hold_each_their_own_time_and_are_symmetric_and_not_negative(name):
    oracle, x, t = ORACLES[name], noise(4, 3, seed=3), torch.tensor([0.9, 0.01, 0.3, 1.0], dtype=torch.float64)
    together = oracle.covariance(x, t)
    alone = torch.cat([oracle.covariance(x[i : i + 1], t[i : i + 1]) for i in range(4)])
    assert torch.allclose(together, alone, rtol=1e-10, atol=1e-14)
    assert torch.allclose(together, together.mT, rtol=1e-10, atol=1e-14)
    assert float(torch.linalg.eigvalsh(together).min()) > -1e-12
    same = oracle.covariance(x, at(0.3, 4))
    assert torch.allclose(same[2], together[2], rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("name", ["gaussian", "singular"])
def test_without_noise_nothing_is_left_to_know_and_at_its_end_all_of_it(name):
    oracle, x = ORACLES[name], noise(2, 3, seed=3)
    assert torch.equal(oracle.covariance(x, at(0.0, 2)), torch.zeros(2, 3, 3, dtype=torch.float64))
    assert torch.allclose(oracle.covariance(x, at(1.0, 2)), oracle.matrix, rtol=1e-4, atol=1e-5)


def test_the_covariance_of_an_image_is_that_of_its_numbers_in_the_type_of_the_oracle():
    x, points = noise(5, 1, 2, 3, seed=3), noise(4, 1, 2, 3, seed=1)
    wide = FiniteOracle(points, CORRUPTION).covariance(x, at(0.4, 5))
    assert torch.equal(wide, FiniteOracle(points.flatten(1), CORRUPTION).covariance(x.flatten(1), at(0.4, 5)))
    narrow = FiniteOracle(points.float(), CORRUPTION).covariance(x, at(0.4, 5))
    assert narrow.dtype == torch.float32
    assert torch.allclose(narrow.double(), wide, rtol=0, atol=1e-5)
    assert ORACLES["gaussian"].covariance(x[:, 0, 0].float(), at(0.4, 5)).dtype == torch.float64


@pytest.mark.parametrize("t", [0.1, 0.6, 1.0])
def test_points_are_a_mixture_without_width_and_one_component_is_a_gaussian(t):
    x, time = noise(5, 3, seed=3), torch.tensor(t, dtype=torch.float64)
    even = torch.full((4,), 0.25, dtype=torch.float64)
    finite, mixture = ORACLES["finite"], MixtureOracle.spherical(even, POINTS, 0.0, CORRUPTION)
    assert torch.allclose(finite(x, at(t, 5)).x0, mixture(x, at(t, 5)).x0, rtol=1e-9, atol=1e-11)
    assert torch.allclose(finite.log_prob(x, time), mixture.log_prob(x, time), rtol=0, atol=1e-11)
    assert torch.allclose(finite.covariance(x, at(t, 5)), mixture.covariance(x, at(t, 5)), rtol=1e-9, atol=1e-11)
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


def test_points_far_from_the_origin_keep_their_weights_in_float32():
    """The same numbers in float64 give the same answer, but for the last digits of numbers of this size."""
    points, t = (100 + POINTS).float(), at(0.4, 6)
    xt = CORRUPTION.corrupt(points[[0, 1, 2, 3, 0, 1]], t, seeded(3)).xt
    exact = FiniteOracle(points.double(), CORRUPTION)(xt.double(), t).x0
    assert torch.allclose(FiniteOracle(points, CORRUPTION)(xt, t).x0.double(), exact, rtol=4 * 2.0**-23, atol=0)


def test_without_noise_the_nearest_point_is_what_is_seen():
    oracle, seen = FiniteOracle(POINTS, CORRUPTION), torch.cat([POINTS, POINTS[:1] + 1e-3])
    assert torch.allclose(oracle(seen, at(0.0, 5)).x0, POINTS[[0, 1, 2, 3, 0]], rtol=1e-15)
    assert torch.equal(oracle.covariance(POINTS, at(0.0, 4)), torch.zeros(4, 3, 3, dtype=torch.float64))


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (
            lambda: GaussianOracle(MEAN, torch.triu(torch.ones(3, 3).double()), CORRUPTION),
            "off its transpose by up to 1",
        ),
        (lambda: GaussianOracle(MEAN, -torch.eye(3).double(), CORRUPTION), "variance of -1 along an axis"),
        (lambda: GaussianOracle(MEAN, torch.full((3, 3), torch.nan).double(), CORRUPTION), "finite numbers"),
        (lambda: MixtureOracle.spherical(10 * WEIGHTS, noise(3, 2), 1.0, CORRUPTION), "sum to 10"),
        (lambda: MixtureOracle.spherical(WEIGHTS - WEIGHTS[1], noise(3, 2), 1.0, CORRUPTION), "weights from -0.3 on"),
        (lambda: MixtureOracle(WEIGHTS[:0], ()), "one weight for each"),
        (lambda: FiniteOracle(POINTS[:0], CORRUPTION), "one or more"),
        (
            lambda: FiniteOracle(POINTS, CORRUPTION)(noise(5, 1), at(0.5, 5)),
            "events of 1 numbers came",
        ),
    ],
)
def test_what_is_no_law_of_data_is_refused(make, named):
    with pytest.raises(EbbtideError, match=named):
        make()
