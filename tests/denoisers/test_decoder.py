"""The decoder p(xs | xt): each variance where it is exact, and the oracle's own against draws and quadrature."""

import pytest
import torch

from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers import (
    VARIANCES,
    FiniteOracle,
    GaussianOracle,
    MixtureOracle,
    VarianceEstimate,
    decode,
    decode_exactly,
)
from ebbtide.errors import EbbtideError
from ebbtide.gaussian import Gaussian, Spherical
from ebbtide.levels import posterior
from parts import COSINE, SIGMAS, covariance, noise, seeded

CORRUPTION = GaussianCorruption(COSINE)
PAIRS = [(0.9, 0.2), (0.5, 0.49), (1.0, 0.01), (0.05, 0.01), (0.3, 0.0)]


def levels(t, s, count):
    """The levels of s and t, in this order, for a batch."""
    return tuple(CORRUPTION.level(torch.full((count,), value, dtype=torch.float64)) for value in (s, t))


def at(t, count):
    return torch.full((count,), t, dtype=torch.float64)


def reverse(oracle, xt, t, s):
    """q(xs | xt) of Gaussian data, by conditioning the joint Gaussian of (x0, xs, xt) on its last third."""
    d, (before, now) = xt.shape[1], levels(t, s, 1)
    eye, zero = torch.eye(d, dtype=torch.float64), torch.zeros(d, d, dtype=torch.float64)
    ratio = now.alpha / before.alpha
    beta = now.sigma**2 - (ratio * before.sigma) ** 2
    values, vectors = torch.linalg.eigh(oracle.matrix)
    root = vectors * values.clamp(min=0).sqrt()
    rows = [
        torch.cat([before.alpha * root, before.sigma * eye, zero], 1),
        torch.cat([now.alpha * root, ratio * before.sigma * eye, beta.sqrt() * eye], 1),
    ]
    noises = Gaussian(torch.zeros(3 * d, dtype=torch.float64), Spherical(torch.ones(()).double()))
    joint = noises.affine(torch.cat(rows), torch.cat([before.alpha * oracle.mean, now.alpha * oracle.mean]))
    c = joint.covariance.matrix
    gain = c[:d, d:] @ torch.linalg.inv(c[d:, d:])
    return joint.mean[:d] + (xt - joint.mean[d:]) @ gain.mT, c[:d, :d] - gain @ c[d:, :d]


@pytest.mark.parametrize(("t", "s"), PAIRS)
@pytest.mark.parametrize(("variance", "spread"), [("posterior", 0.0), ("step", 1.0)])
def test_each_fixed_variance_is_exact_for_its_extreme_of_data(variance, spread, t, s):
    """One point, and standard normal data (Ho et al. 2020, section 3.2); a step to clean data has btilde = 0."""
    mean = torch.zeros(2, dtype=torch.float64) if spread else torch.tensor([0.7, -1.0], dtype=torch.float64)
    oracle, xt = GaussianOracle(mean, spread * torch.eye(2, dtype=torch.float64), CORRUPTION), noise(5, 2)
    law = decode(oracle(xt, at(t, 5)), *levels(t, s, 5), variance)
    true_mean, true_matrix = reverse(oracle, xt, t, s)
    assert torch.allclose(law.mean, true_mean, rtol=1e-8, atol=1e-9)
    expected = true_matrix.diagonal().expand(5, 2)
    assert torch.allclose(law.variances.expand(5, 2), expected, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize(("t", "s"), PAIRS[:-1])
def test_the_learned_variance_is_posterior_at_0_step_at_1_and_their_geometric_mean_between(t, s):
    x0, xt = noise(4, 1, 2, 3, seed=1), noise(4, 1, 2, 3, seed=2)
    before, now = levels(t, s, 4)

    def law(share, variance="learned"):
        estimate = VarianceEstimate(xt, now, "x0", x0, share=torch.full_like(xt, share))
        return decode(estimate, before, now, variance)

    low, high = (law(0.0, name).variances.expand_as(xt) for name in ("posterior", "step"))
    assert torch.allclose(law(0.0).variances, low, rtol=1e-9)
    assert torch.allclose(law(1.0).variances, high, rtol=1e-12)
    assert torch.allclose(law(0.5).variances, (low * high).sqrt(), rtol=1e-9)
    assert torch.allclose(law(1.5).variances / high, (high / low).sqrt(), rtol=1e-9)
    for share in (0.0, 0.3, 1.5):
        assert torch.equal(law(share).mean, law(0.0, "posterior").mean)
        assert torch.allclose(law(share).mean, posterior(xt, x0, before, now).mean, rtol=1e-8, atol=1e-10)
    assert law(0.3).event_dims == law(0.3, "step").event_dims == 3


def test_every_coordinate_of_every_example_has_its_own_share():
    xt, share = noise(3, 2, seed=1), noise(3, 2, seed=2)
    t, s = torch.tensor([0.3, 0.6, 0.9], dtype=torch.float64), torch.tensor([0.1, 0.5, 0.0], dtype=torch.float64)
    before, now = CORRUPTION.level(s), CORRUPTION.level(t)
    law = decode(VarianceEstimate(xt, now, "x0", xt, share=share), before, now, "learned")
    beta = now.sigma**2 - (now.alpha * before.sigma / before.alpha) ** 2
    btilde = before.sigma**2 / now.sigma**2 * beta
    for i in range(2):
        expected = beta[i] ** share[i] * btilde[i] ** (1 - share[i])
        assert torch.allclose(law.variances[i], expected, rtol=1e-8)
    # no posterior variance to lean on where s = 0
    assert torch.allclose(law.variances[2], beta[2].expand(2), rtol=1e-12)


@pytest.mark.parametrize(("t", "s"), PAIRS)
@pytest.mark.parametrize("rank", [1, 3])
def test_the_exact_decoder_of_gaussian_data_is_the_true_law(rank, t, s):
    oracle, xt = GaussianOracle(noise(3, seed=1), covariance(3, rank), CORRUPTION), noise(4, 3, seed=2)
    law = decode_exactly(oracle(xt, at(t, 4)), oracle.covariance(xt, at(t, 4)), *levels(t, s, 4))
    mean, matrix = reverse(oracle, xt, t, s)
    assert torch.allclose(law.mean, mean, rtol=1e-7, atol=1e-8)
    assert torch.allclose(law.covariance.matrix, matrix.expand(4, 3, 3), rtol=1e-7, atol=1e-9)


MIXTURE = MixtureOracle.spherical(
    torch.tensor([0.3, 0.7], dtype=torch.float64),
    torch.tensor([[-1.0, 0.5], [0.6, -0.2]], dtype=torch.float64),
    0.3,
    CORRUPTION,
)


@pytest.mark.parametrize(("t", "s"), [(0.8, 0.2), (0.5, 0.3), (0.4, 0.0)])
def test_the_exact_covariance_of_a_mixture_is_that_of_drawn_pairs(t, s):
    """xs - E[xs | xt] has mean 0 and covariance Cov[xs | xt] wherever xt is, so under every test function of xt."""
    count = 40_000
    pick = (torch.rand(count, generator=seeded(1)) < 0.7).long()
    x0 = torch.stack([component.mean for component in MIXTURE.components])[pick] + 0.3 * noise(count, 2, seed=2)
    xs = CORRUPTION.corrupt(x0, at(s, count), seeded(3)).xt
    xt = CORRUPTION.step(xs, at(s, count), at(t, count)).sample(seeded(4))
    law = decode_exactly(MIXTURE(xt, at(t, count)), MIXTURE.covariance(xt, at(t, count)), *levels(t, s, count))
    rest = xs - law.mean
    outer = rest.unsqueeze(2) * rest.unsqueeze(1)
    for name, test in {"1": xt[:, 0] ** 0, "x": xt[:, 0], "|x + y|": xt.sum(1).abs(), "x²": xt[:, 0] ** 2}.items():
        moved, difference = test[:, None] * rest, test[:, None, None] * (outer - law.covariance.matrix)
        assert (moved.mean(0).abs() < SIGMAS * moved.std(0) / count**0.5).all(), name
        assert (difference.mean(0).abs() < SIGMAS * difference.std(0) / count**0.5).all(), name
        # the bound is tight enough to see a tenth of the covariance missing
        assert (SIGMAS * difference.std(0) / count**0.5 < 0.1 * outer.diagonal(dim1=1, dim2=2).mean()).all(), name


@pytest.mark.parametrize(("t", "s"), [(0.8, 0.2), (0.5, 0.45), (0.2, 0.05)])
def test_on_a_line_the_exact_decoder_has_the_moments_of_quadrature(t, s):
    points = torch.tensor([[-1.0], [0.2], [0.5], [2.0]], dtype=torch.float64)
    oracle, xt = FiniteOracle(points, CORRUPTION), torch.tensor([[-1.0], [0.1], [1.2]], dtype=torch.float64)
    before, now = levels(t, s, 1)
    xs = torch.linspace(-8, 8, 40001, dtype=torch.float64)
    ratio = now.alpha / before.alpha
    beta = now.sigma**2 - (ratio * before.sigma) ** 2
    clean = torch.exp(-((xs - before.alpha * points) ** 2) / (2 * before.sigma**2)).sum(0)
    mass = clean * torch.exp(-((xt - ratio * xs) ** 2) / (2 * beta))
    mass = mass / mass.sum(1, keepdim=True)
    mean = mass @ xs
    variance = (mass * (xs - mean[:, None]) ** 2).sum(1)
    law = decode_exactly(oracle(xt, at(t, 3)), oracle.covariance(xt, at(t, 3)), *levels(t, s, 3))
    assert torch.allclose(law.mean.flatten(), mean, rtol=1e-8, atol=1e-9)
    assert torch.allclose(law.covariance.matrix.flatten(), variance, rtol=1e-7)


def test_an_image_is_decoded_as_the_vector_of_its_numbers():
    points, xt = noise(3, 1, 2, 2, seed=1), noise(5, 1, 2, 2, seed=2)
    before, now = levels(0.5, 0.3, 5)
    laws = []
    for x, data in ((xt, points), (xt.flatten(1), points.flatten(1))):
        oracle = FiniteOracle(data, CORRUPTION)
        laws.append(decode_exactly(oracle(x, at(0.5, 5)), oracle.covariance(x, at(0.5, 5)), before, now))
    assert laws[0].mean.shape == (5, 4)
    assert torch.equal(laws[0].mean, laws[1].mean)
    assert torch.equal(laws[0].covariance.matrix, laws[1].covariance.matrix)


def test_a_variance_that_was_not_learned_is_refused():
    oracle, xt = FiniteOracle(noise(3, 2), CORRUPTION), noise(5, 2)
    with pytest.raises(EbbtideError, match="learned"):
        decode(oracle(xt, at(0.5, 5)), *levels(0.5, 0.3, 5), "learned")
    assert VARIANCES == ("posterior", "step", "learned")
