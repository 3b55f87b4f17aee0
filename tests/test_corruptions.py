"""Items C1-C3 and B5: single steps, direct samples and the posterior are one joint law."""

import math

import mpmath
import pytest
import torch
from mpmath import mpf

from ebbtide.corruptions import Corruption, GaussianCorruption
from ebbtide.levels import KINDS
from ebbtide.schedules import CosineSchedule, constant_schedule, linear_schedule, table
from parts import SCHEDULES, SIGMAS, corruption_of, noise, seeded, times_of

X0 = noise(1, 4, seed=1)


@pytest.fixture(params=SCHEDULES)
def corruption(request):
    return corruption_of(request.param)


def all_times(corruption):
    return torch.cat([torch.zeros(1, dtype=torch.float64), times_of(corruption.schedule)])


def test_neighbouring_times_of_a_table_give_hos_step():
    schedule = linear_schedule()
    t = torch.arange(1, 1001, dtype=torch.float64) / 1000
    xs = noise(1000, 3)
    law = GaussianCorruption(schedule).step(xs, t - 1 / 1000, t)
    betas = schedule.betas.unsqueeze(1)
    assert torch.allclose(law.mean, (1 - betas).sqrt() * xs, rtol=1e-11)
    assert torch.allclose(law.variances, betas, rtol=1e-9)


@pytest.mark.parametrize("t", [0.2, 0.7, 1.0])
def test_direct_samples_have_the_law_of_the_marginal_and_give_their_noise(t):
    corruption, count = GaussianCorruption(CosineSchedule()), 40_000
    x0 = torch.tensor([1.0, -3.0], dtype=torch.float64).expand(count, 2)
    times = torch.full((count,), t, dtype=torch.float64)
    xt, eps = corruption.corrupt(x0, times, seeded(4))
    law = corruption.marginal(x0[:1], times[:1])
    variance = law.variances.item()
    assert ((xt.mean(0) - law.mean[0]).abs() < SIGMAS * (variance / count) ** 0.5).all()
    assert ((xt.var(0) - variance).abs() < SIGMAS * variance * (2 / count) ** 0.5).all()
    assert xt.mT.corrcoef()[0, 1].abs() < SIGMAS / count**0.5
    level = corruption.level(times[0])
    assert torch.allclose((xt - level.alpha * x0) / level.sigma, eps, rtol=0, atol=1e-9)


def conditioned(x0, xt, a_s, v_s, ratio, v_t):
    """q(xs | xt, x0) by conditioning the joint Gaussian of (xs, xt), whose covariance is ratio v_s."""
    a_t = ratio * a_s
    joint = torch.stack([torch.stack([v_s, ratio * v_s]), torch.stack([ratio * v_s, v_t])])
    gain = joint[0, 1] / joint[1, 1]
    return a_s * x0 + gain * (xt - a_t * x0), joint[0, 0] - gain * joint[1, 0]


def test_the_posterior_is_bayes_rule_for_any_s_before_t(corruption):
    xt = noise(1, 4, seed=2)
    times = all_times(corruption)
    for late in range(2, len(times)):
        for early in range(late):
            s, t = times[early : early + 1], times[late : late + 1]
            first, last = corruption.marginal(X0, s), corruption.marginal(X0, t)
            a_s = corruption.level(s).alpha[0]
            ratio = corruption.level(t).alpha[0] / a_s
            v_s, v_t = (law.variances.flatten()[0] for law in (first, last))
            mean, variance = conditioned(X0, xt, a_s, v_s, ratio, v_t)
            law = corruption.posterior(xt, X0, s, t)
            assert torch.allclose(law.mean, mean, rtol=1e-8, atol=1e-9)
            assert torch.allclose(law.variances.flatten(), variance, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("schedule", [linear_schedule(), constant_schedule(0.3, 20), table([0.1, 0.5, 0.02, 0.9])])
def test_the_posterior_between_neighbours_is_hos_in_betas(schedule):
    betas = schedule.betas
    abar = (1 - betas).cumprod(0)
    before = torch.cat([torch.ones(1, dtype=torch.float64), abar[:-1]])
    t = torch.arange(1, len(betas) + 1, dtype=torch.float64) / len(betas)
    x0, eps = noise(len(betas), 1, seed=1), noise(len(betas), 1, seed=2)
    xt = abar.sqrt()[:, None] * x0 + (1 - abar).sqrt()[:, None] * eps
    law = GaussianCorruption(schedule).posterior(xt, x0, t - 1 / len(betas), t)
    btilde = (1 - before) / (1 - abar) * betas
    from_data = (before.sqrt() * betas / (1 - abar))[:, None] * x0 + ((1 - betas).sqrt() * (1 - before) / (1 - abar))[
        :, None
    ] * xt
    from_noise = (xt - (betas / (1 - abar).sqrt())[:, None] * eps) / (1 - betas).sqrt()[:, None]
    assert torch.allclose(law.variances.flatten(), btilde, rtol=1e-8, atol=1e-15)
    assert torch.allclose(law.mean, from_data, rtol=1e-8, atol=1e-10)
    assert torch.allclose(law.mean, from_noise, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_the_pair_of_a_kind_is_that_of_the_level(kind):
    t = times_of(SCHEDULES["cosine"])
    corruption = corruption_of("cosine")
    for ours, theirs in zip(corruption.pair(kind, t), corruption.level(t).pair(kind), strict=True):
        assert torch.equal(ours, theirs)


def test_bits_left_are_the_closed_form_in_high_precision(corruption):
    mpmath.mp.dps = 50
    x0 = noise(3, 2, 4, seed=8)
    level = corruption.level(torch.ones((), dtype=torch.float64))
    abar = mpf(level.alpha.item()) ** 2
    for left, example in zip(corruption.bits_left(x0).tolist(), x0, strict=True):
        power = sum(mpf(value) ** 2 for value in example.flatten().tolist())
        nats = (8 * (-abar - mpmath.log(1 - abar)) + abar * power) / 2
        assert left == pytest.approx(float(nats / mpmath.log(2)), rel=1e-9)


def test_hos_table_leaves_little_and_the_lectures_of_100_steps_leaves_much():
    x0 = torch.ones(1, 100, dtype=torch.float64)
    betas = linear_schedule().betas.tolist()
    abar = mpmath.fprod(1 - mpf(beta) for beta in betas)
    nats = (100 * (-abar - mpmath.log(1 - abar)) + 100 * abar) / 2
    ho = corruption_of("linear").bits_left(x0).item()
    assert ho == pytest.approx(float(nats / mpmath.log(2)), rel=1e-8)
    assert ho < 0.01
    short = GaussianCorruption(table(torch.linspace(1e-4, 0.02, 100, dtype=torch.float64)))
    assert short.bits_left(x0).item() > 10


def test_nothing_is_left_of_no_data_but_the_width():
    """For x0 = 0 only the variance 1 - abar differs from 1."""
    corruption = GaussianCorruption(table([0.5]))
    left = corruption.bits_left(torch.zeros(1, 3, dtype=torch.float64)).item()
    assert left == pytest.approx(1.5 * (-0.5 + math.log(2)) / math.log(2), rel=1e-12)


def test_the_prior_is_standard_normal():
    x = corruption_of("linear").prior((40_000, 2), seeded(5))
    assert (x.mean(0).abs() < SIGMAS / 200).all()
    assert ((x.mT.cov() - torch.eye(2)).abs() < SIGMAS * 2**0.5 / 200).all()


def test_a_gaussian_corruption_is_a_corruption(corruption):
    assert isinstance(corruption, Corruption)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_time_expanded_over_a_batch_has_the_level_of_the_schedule(name):
    """Also when it is asked for again, and whatever was asked before."""
    corruption = GaussianCorruption(SCHEDULES[name])
    for t in [*times_of(corruption.schedule), *times_of(corruption.schedule), torch.tensor(0.0, dtype=torch.float64)]:
        expected = corruption.schedule.level(t.repeat(3))
        found = corruption.level(t.expand(3))
        assert torch.equal(found.alpha, expected.alpha)
        assert torch.equal(found.sigma, expected.sigma)


def test_what_is_remembered_of_levels_is_bounded(monkeypatch):
    monkeypatch.setattr("ebbtide.corruptions.MOST_REMEMBERED", 5)
    corruption = GaussianCorruption(SCHEDULES["cosine"])
    for t in torch.linspace(0.01, 1, 40, dtype=torch.float64):
        corruption.level(t.expand(2))
        assert len(corruption._remembered) <= 5
