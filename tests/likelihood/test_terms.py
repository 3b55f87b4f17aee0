"""Items E9, E10: the bound from oracles against closed forms, quadrature and a slow copy of the formulas."""

import math

import numpy as np
import pytest
import torch
from numpy.polynomial.hermite_e import hermegauss
from scipy.integrate import quad

from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers import GaussianOracle, MixtureOracle, NetworkDenoiser, VarianceDenoiser
from ebbtide.errors import EbbtideError
from ebbtide.levels import along
from ebbtide.likelihood.reconstruction import GaussianDensity
from ebbtide.likelihood.terms import first_term, limit_term, prior_term, sampled_terms, step_term
from ebbtide.schedules import FunctionSchedule, NormalSchedule, linear_schedule, table
from ebbtide.times import time_of
from parts import SIGMAS, covariance, noise, seeded

MEAN, VARIANCE = 0.7, 0.4
WEIGHTS, MEANS, STD = [0.3, 0.7], [-1.2, 0.8], 0.35
TABLES = [10, 100, 1000]


def corruption_of(steps):
    return GaussianCorruption(linear_schedule(steps))


def gaussian(corruption):
    return GaussianOracle(
        torch.tensor([MEAN], dtype=torch.float64), torch.tensor([[VARIANCE]], dtype=torch.float64), corruption
    )


def mixture(corruption):
    weights, means = (torch.tensor(x, dtype=torch.float64) for x in (WEIGHTS, MEANS))
    return MixtureOracle.spherical(weights, means.unsqueeze(1), STD, corruption)


def nodes(points=48):
    """Gauss-Hermite: x and weights with sum w f(x) = E f(N(0, 1))."""
    x, w = hermegauss(points)
    return torch.tensor(x), torch.tensor(w / w.sum())


def grid(oracle, points=48):
    """x0, eps and weights of a product rule over data and noise."""
    x, w = nodes(points)
    if isinstance(oracle, GaussianOracle):
        data, share = MEAN + math.sqrt(VARIANCE) * x, w
    else:
        data = torch.cat([mean + STD * x for mean in MEANS])
        share = torch.cat([weight * w for weight in WEIGHTS])
    pairs = torch.cartesian_prod(data, x)
    return pairs[:, :1], pairs[:, 1:], torch.cartesian_prod(share, w).prod(1)


def expected_terms(oracle, variance, times, points):
    """Every L_{l-1} of the chain at these rising times, averaged over data and noise by quadrature."""
    x0, eps, weight = grid(oracle, points)
    count, rows = len(x0), []
    for s, t in zip(times[:-1].split(40), times[1:].split(40), strict=True):
        pairs = [time.repeat_interleave(count) for time in (s, t)]
        nats = step_term(oracle, x0.repeat(len(s), 1), eps.repeat(len(s), 1), *pairs, variance).nats
        rows.append((nats.reshape(len(s), count) * weight).sum(1))
    return torch.cat(rows)


def all_times(steps):
    return torch.arange(1, steps + 1, dtype=torch.float64) / steps


def closed_terms(mmse, levels, variance):
    """E KL = ½ ((a² mmse + btilde) / v - 1 - log btilde / v) with btilde, a from Ho's table."""
    alpha, sigma = levels.alpha, levels.sigma
    beta = 1 - (alpha[1:] / alpha[:-1]) ** 2
    a = alpha[:-1] * beta / sigma[1:] ** 2
    btilde = beta * (sigma[:-1] / sigma[1:]) ** 2
    v = {"posterior": btilde, "step": beta, "exact": btilde + a**2 * mmse}[variance]
    ratio = btilde / v
    return 0.5 * (a**2 * mmse / v + ratio - 1 - ratio.log())


def levels_of(steps):
    """The levels of l = 1..T."""
    return linear_schedule(steps).level(all_times(steps))


@pytest.mark.parametrize("variance", ["posterior", "step", "exact"])
@pytest.mark.parametrize("steps", TABLES)
def test_the_terms_of_gaussian_data_are_their_closed_form(steps, variance):
    level = levels_of(steps)
    mmse = (VARIANCE * level.sigma**2 / (level.alpha**2 * VARIANCE + level.sigma**2))[1:]
    found = expected_terms(gaussian(corruption_of(steps)), variance, all_times(steps), points=3)
    assert torch.allclose(found, closed_terms(mmse, level, variance), rtol=1e-8, atol=1e-14)


def mixture_mmse(alpha, sigma):
    """∫ p(x) Var[x0 | x] dx by adaptive quadrature, written for one dimension and two components."""
    parts = list(zip(WEIGHTS, MEANS, strict=True))
    spread = alpha**2 * STD**2 + sigma**2

    def integrand(x):
        joint = np.array([w * math.exp(-((x - alpha * m) ** 2) / (2 * spread)) for w, m in parts])
        if joint.sum() == 0:
            return 0.0
        means = np.array([m + alpha * STD**2 * (x - alpha * m) / spread for _, m in parts])
        own = STD**2 * sigma**2 / spread
        share = joint / joint.sum()
        variance = own + (share * means**2).sum() - (share * means).sum() ** 2
        return joint.sum() / math.sqrt(2 * math.pi * spread) * variance

    ends = [alpha * m + k * 10 * math.sqrt(spread) for m in (min(MEANS), max(MEANS)) for k in (-1, 1)]
    return quad(integrand, min(ends), max(ends), epsabs=1e-13, epsrel=1e-11, limit=400)[0]


@pytest.mark.parametrize(("steps", "which"), [(10, range(2, 11)), (100, [2, 20, 50, 90]), (1000, [2, 30, 300, 900])])
@pytest.mark.parametrize("variance", ["posterior", "step"])
def test_the_terms_of_a_mixture_are_those_of_quadrature(steps, which, variance):
    oracle, level = mixture(corruption_of(steps)), levels_of(steps)
    x0, eps, weight = grid(oracle, 100)
    for k in which:
        mmse = mixture_mmse(float(level.alpha[k - 1]), float(level.sigma[k - 1]))
        pair = type(level)(level.alpha[k - 2 : k], level.sigma[k - 2 : k])
        s, t = (torch.full((len(x0),), j / steps, dtype=torch.float64) for j in (k - 1, k))
        found = (weight * step_term(oracle, x0, eps, s, t, variance).nats).sum()
        assert torch.allclose(found, closed_terms(mmse, pair, variance)[0], rtol=1e-6)


def entropy_of_mixture():
    def integrand(x):
        p = sum(w * math.exp(-((x - m) ** 2) / (2 * STD**2)) for w, m in zip(WEIGHTS, MEANS, strict=True))
        p /= STD * math.sqrt(2 * math.pi)
        return -p * math.log(p) if p > 0 else 0.0

    return quad(integrand, -6, 6, epsabs=1e-12, limit=400)[0]


ENTROPY = {gaussian: 0.5 * math.log(2 * math.pi * math.e * VARIANCE), mixture: entropy_of_mixture()}


POINTS = {gaussian: 3, mixture: 32}
"""Gaussian terms are of second degree in data and noise."""


def expected_bound(make, variance, schedule, times):
    """L_T + sum L_{l-1} + L_0 with the first decoder's best variance, averaged over data and noise."""
    corruption = GaussianCorruption(schedule)
    oracle, level = make(corruption), schedule.level(times[:1])
    x0, eps, weight = grid(oracle, POINTS[make])
    t = times[:1].expand(len(x0))
    error = float((weight * limit_term(oracle, x0, eps, t).error).sum())
    scale = math.sqrt(error) * float(level.alpha / level.sigma)
    first = (weight * first_term(oracle, x0, eps, t, GaussianDensity(scale)).nats).sum()
    prior = (weight * prior_term(corruption, x0)).sum()
    return float(prior + first + expected_terms(oracle, variance, times, POINTS[make]).sum())


@pytest.mark.parametrize("make", [gaussian, mixture])
@pytest.mark.parametrize("variance", ["posterior", "step"])
def test_the_bound_of_ho_s_tables_lies_above_the_entropy_and_falls_with_more_steps(make, variance):
    bounds = [expected_bound(make, variance, linear_schedule(steps), all_times(steps)) for steps in TABLES]
    gaps = [bound - ENTROPY[make] for bound in bounds]
    assert gaps[0] > gaps[1] > gaps[2] > 0


@pytest.mark.parametrize("make", [gaussian, mixture])
@pytest.mark.parametrize("variance", ["posterior", "step"])
def test_between_the_same_ends_the_gap_is_inverse_to_the_number_of_steps(make, variance):
    """A table's own first step shrinks with T, and with it what the first rungs lose; here both ends stay."""
    schedule = FunctionSchedule(lambda t: 9 - 24 * t)
    grids = [torch.linspace(0.01, 1, steps, dtype=torch.float64) for steps in TABLES]
    gaps = [expected_bound(make, variance, schedule, times) - ENTROPY[make] for times in grids]
    assert gaps[0] > gaps[1] > gaps[2] > 0
    assert gaps[1] / gaps[2] == pytest.approx(10, rel=0.25)
    assert gaps[2] < 0.05


@pytest.mark.parametrize("steps", TABLES)
def test_with_the_exact_variance_the_bound_of_gaussian_data_is_tight(steps):
    level = levels_of(steps)
    left = float(level.alpha[-1]) ** 2
    last = MEAN**2 * left, VARIANCE * left + float(level.sigma[-1]) ** 2
    unlike_prior = 0.5 * (last[0] + last[1] - 1 - math.log(last[1]))
    found = expected_bound(gaussian, "exact", linear_schedule(steps), all_times(steps))
    assert found == pytest.approx(ENTROPY[gaussian] + unlike_prior, rel=1e-10)


def test_the_exact_variance_is_the_best_one_in_more_dimensions_too():
    corruption = corruption_of(20)
    oracle = GaussianOracle(noise(3, seed=1), covariance(3), corruption)
    root = torch.linalg.cholesky(oracle.matrix)
    x0, eps = oracle.mean + noise(4000, 3, seed=2) @ root.mT, noise(4000, 3, seed=3)
    s, t = (torch.full((4000,), k / 20, dtype=torch.float64) for k in (7, 8))
    exact, *others = (
        step_term(oracle, x0, eps, s, t, variance).nats.mean() for variance in ("exact", "posterior", "step")
    )
    assert exact < min(others)


@pytest.mark.parametrize("make", [gaussian, mixture])
def test_the_limit_is_entropy_without_any_steps(make):
    """½ ∫ E‖eps - eps_hat‖² dλ from t = 1 to λ, and the code of x0 at λ, make the entropy."""
    schedule = NormalSchedule(last_log_snr=-20.0)
    oracle = make(GaussianCorruption(schedule))
    x0, eps, weight = grid(oracle, 100)
    log_snr, w = np.polynomial.legendre.leggauss(80)
    high, low = 9.0, -20.0
    total = 0.0
    for node, share in zip(log_snr, w, strict=True):
        value = torch.tensor((high - low) / 2 * node + (high + low) / 2, dtype=torch.float64)
        t = time_of(schedule, value).expand(len(x0))
        total += (high - low) / 2 * share * float((weight * limit_term(oracle, x0, eps, t).nats).sum())
    t = time_of(schedule, torch.tensor(high, dtype=torch.float64)).expand(len(x0))
    total += float((weight * first_term(oracle, x0, eps, t, GaussianDensity()).nats).sum())
    assert total == pytest.approx(ENTROPY[make], abs=2e-3)
    assert total > ENTROPY[make] - 1e-9


# --- an independent implementation: plain loops in Ho's alpha, beta and abar ------------------------------------------

STEPS = 8
BETAS = [0.1, 0.02, 0.5, 0.3, 0.6, 0.05, 0.7, 0.9]


def slow_step(x0, eps, k, predict_eps, large):
    """KL between two Gaussians as the papers write them, number by number."""
    abar = [1.0]
    for beta in BETAS:
        abar.append(abar[-1] * (1 - beta))
    beta, alpha = BETAS[k - 1], 1 - BETAS[k - 1]
    result, error = 0.0, 0.0
    xt = [math.sqrt(abar[k]) * x + math.sqrt(1 - abar[k]) * e for x, e in zip(x0, eps, strict=True)]
    guess = predict_eps(xt, k / STEPS)
    for x, z, e in zip(x0, xt, guess, strict=True):
        posterior = (math.sqrt(abar[k - 1]) * beta * x + math.sqrt(alpha) * (1 - abar[k - 1]) * z) / (1 - abar[k])
        mean = (z - beta / math.sqrt(1 - abar[k]) * e) / math.sqrt(alpha)
        btilde = (1 - abar[k - 1]) / (1 - abar[k]) * beta
        v = beta if large else btilde
        result += 0.5 * (math.log(v / btilde) + btilde / v + (posterior - mean) ** 2 / v - 1)
        error += (x - (z - math.sqrt(1 - abar[k]) * e) / math.sqrt(abar[k])) ** 2
    return result, error


@pytest.mark.parametrize("predicts", ["eps", "v", "x0", "score", "previous", "step_noise"])
@pytest.mark.parametrize("variance", ["posterior", "step"])
def test_a_trained_models_terms_are_those_of_a_slow_implementation(predicts, variance):
    corruption = GaussianCorruption(table(BETAS))
    inner, outer = noise(4, 16, seed=6), noise(16, 3, seed=7) / 4

    def network(x, t, condition):
        return torch.tanh(torch.cat([x, t.unsqueeze(1)], dim=1) @ inner) @ outer

    denoiser = NetworkDenoiser(network, corruption, predicts)

    def predict_eps(xt, time):
        x = torch.tensor([xt], dtype=torch.float64)
        t = torch.tensor([time], dtype=torch.float64)
        return denoiser(x, t).eps[0].tolist()

    x0, eps = noise(STEPS - 1, 3, seed=4), noise(STEPS - 1, 3, seed=5)
    t = torch.arange(2, STEPS + 1, dtype=torch.float64) / STEPS
    with torch.no_grad():
        found = step_term(denoiser, x0, eps, t - 1 / STEPS, t, variance)
        for row in range(STEPS - 1):
            nats, error = slow_step(x0[row].tolist(), eps[row].tolist(), row + 2, predict_eps, variance == "step")
            assert float(found.nats[row]) == pytest.approx(nats, rel=1e-9)
            assert float(found.error[row]) == pytest.approx(error, rel=1e-9)


def test_a_learned_variance_lies_between_the_fixed_ones_and_is_each_of_them_at_its_ends():
    corruption = corruption_of(STEPS)
    x0, eps = noise(5, 3, seed=1), noise(5, 3, seed=2)
    t = torch.full((5,), 0.5, dtype=torch.float64)
    s = t - 1 / STEPS

    def nats(raw):
        def network(x, time, condition):
            return torch.cat([0.9 * x, torch.full_like(x, raw)], dim=1)

        return step_term(VarianceDenoiser(network, corruption), x0, eps, s, t, "learned").nats

    def fixed(variance):
        plain = NetworkDenoiser(lambda x, time, condition: 0.9 * x, corruption)
        return step_term(plain, x0, eps, s, t, variance).nats

    assert torch.allclose(nats(-1.0), fixed("posterior"), rtol=1e-10)
    assert torch.allclose(nats(1.0), fixed("step"), rtol=1e-10)
    assert not torch.allclose(nats(0.0), fixed("step"), rtol=1e-3)


def test_the_sampled_form_has_the_same_mean_and_the_larger_variance():
    """The middle of the bound for one x0; the sampled form also holds log q(z_T | x0) - log q(z_1 | x0)."""
    corruption = corruption_of(40)
    oracle, times, count = mixture(corruption), all_times(40), 4000
    x0 = torch.full((count, 1), 0.9, dtype=torch.float64)
    sampled = sampled_terms(oracle, x0, times, seeded(1)).sum(1)
    level = levels_of(40)
    between = float((level.sigma[0] / level.sigma[-1]).log())
    closed = torch.zeros(count, dtype=torch.float64)
    for k, (s, t) in enumerate(zip(times[:-1], times[1:], strict=True)):
        closed += step_term(oracle, x0, noise(count, 1, seed=k), s.expand(count), t.expand(count)).nats
    error = math.sqrt(float(sampled.var() + closed.var()) / count)
    assert abs(float(sampled.mean() - closed.mean()) - between) < SIGMAS * error
    assert sampled.var() > closed.var()


def test_the_prior_term_is_that_of_its_formula():
    corruption = corruption_of(10)
    x0 = noise(4, 2, 3)
    level = corruption.level(torch.ones(4, dtype=torch.float64))
    variance = level.sigma**2
    direct = 0.5 * ((along(level.alpha, x0) * x0).square().sum((1, 2)) + 6 * (variance - 1 - variance.log()))
    assert torch.allclose(prior_term(corruption, x0), direct, rtol=1e-10)


def test_only_an_oracle_knows_the_exact_variance():
    denoiser = NetworkDenoiser(lambda x, t, condition: x, corruption_of(10))
    t = torch.full((2,), 0.5, dtype=torch.float64)
    with pytest.raises(EbbtideError, match="only oracles"):
        step_term(denoiser, noise(2, 3), noise(2, 3), t - 0.1, t, "exact")
