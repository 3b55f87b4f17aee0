"""Items C1-C3 and B5: single steps, direct samples and the posterior are one joint law."""

import math

import mpmath
import pytest
import torch
from mpmath import mpf

from ebbtide.corruptions import Corruption, GaussianCorruption
from ebbtide.denoisers import MixtureOracle
from ebbtide.errors import EbbtideError
from ebbtide.levels import KINDS, STEP_KINDS, along, convert, weight_between
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


TABLES = [name for name, schedule in SCHEDULES.items() if schedule.steps and name != "cosine table"]
"""Tables that end with some signal left: without any, eps says nothing about x0."""


def steps_of(schedule):
    """Every t of a table, with beta, abar and the abar before as columns."""
    betas = schedule.betas.unsqueeze(1)
    abar = (1 - betas).cumprod(0)
    return torch.arange(1, len(betas) + 1, dtype=torch.float64) / len(betas), betas, abar, abar / (1 - betas)


@pytest.mark.parametrize("source", [*KINDS, *STEP_KINDS])
@pytest.mark.parametrize("name", TABLES)
def test_on_a_table_all_kinds_become_one_another_and_come_back(name, source):
    corruption = corruption_of(name)
    t = steps_of(corruption.schedule)[0]
    level, x0, eps = corruption.level(t), noise(len(t), 2, seed=1), noise(len(t), 2, seed=2)
    xt = level.mix(x0, eps)
    pairs = {kind: corruption.pair(kind, t) for kind in (*KINDS, *STEP_KINDS)}
    truth = {kind: along(a, x0) * x0 + along(b, x0) * eps for kind, (a, b) in pairs.items()}
    wrong = truth[source] + noise(len(t), 2, seed=3)
    error = (wrong - truth[source]).square().sum(1)
    for kind, pair in pairs.items():
        there = convert(truth[source], pairs[source], pair, xt, level)
        assert torch.allclose(there, truth[kind], rtol=1e-7, atol=1e-8)
        assert torch.allclose(convert(there, pair, pairs[source], xt, level), truth[source], rtol=1e-7, atol=1e-8)
        moved = (convert(wrong, pairs[source], pair, xt, level) - truth[kind]).square().sum(1)
        assert torch.allclose(moved, weight_between(level, pairs[source], pair) * error, rtol=1e-6)


@pytest.mark.parametrize("name", TABLES)
def test_targets_of_a_step_are_hos_in_betas(name):
    corruption = corruption_of(name)
    t, beta, abar, before = steps_of(corruption.schedule)
    x0, eps = noise(len(t), 2, seed=1), noise(len(t), 2, seed=2)
    xt = abar.sqrt() * x0 + (1 - abar).sqrt() * eps
    expected = {
        "previous": before.sqrt() * beta / (1 - abar) * x0
        + (1 - beta).sqrt() * (1 - before).clamp(min=0) / (1 - abar) * xt,
        "step_noise": (beta / (1 - abar)).sqrt() * eps,
    }
    for kind, value in expected.items():
        a, b = corruption.pair(kind, t)
        assert torch.allclose(a[:, None] * x0 + b[:, None] * eps, value, rtol=1e-8, atol=1e-9)


def test_the_noise_of_a_step_follows_from_xt_in_draws_of_the_chain():
    """Regression of what was added on all of the noise, at one x0: slope sqrt(beta) / sigma_t, and nothing else."""
    corruption, count = corruption_of("list"), 40_000
    x0 = torch.full((count, 1), 0.8, dtype=torch.float64)
    for index in (1, 3, 8):
        t = torch.full((count,), index / 8, dtype=torch.float64)
        s = corruption.before(t)
        xs = corruption.corrupt(x0, s, seeded(index)).xt
        law = corruption.step(xs, s, t)
        added = noise(count, 1, seed=100 + index)
        xt = law.of_noise(added)
        level = corruption.level(t[:1])
        eps = (xt - level.alpha * x0) / level.sigma
        slope = (added * eps).mean() / eps.square().mean()
        left = added - slope * eps
        assert (slope - corruption.pair("step_noise", t[:1]).b[0]).abs() < SIGMAS * left.std() / count**0.5 + 1e-9
        assert left.mean().abs() < SIGMAS * left.std() / count**0.5 + 1e-9


@pytest.mark.parametrize("name", TABLES)
def test_the_noise_of_the_step_gives_the_posteriors_mean_and_all_the_noise_in_its_place_does_not(name):
    """The trap of D4: (xt - sqrt(beta) e) / sqrt(1 - beta) with e = E[eps_step | xt] is the mean that Ho et al. write
    with E[eps | xt] and beta / sqrt(1 - abar); with e = E[eps | xt] it is right at the first step only.
    """
    corruption = corruption_of(name)
    t, beta, abar, _ = steps_of(corruption.schedule)
    oracle = MixtureOracle.spherical(torch.tensor([0.3, 0.7], dtype=torch.float64), noise(2, 2), 0.3, corruption)
    xt = noise(len(t), 2, seed=1)
    estimate = oracle(xt, t)
    mean = (xt - beta / (1 - abar).sqrt() * estimate.eps) / (1 - beta).sqrt()
    of_step, trap = (
        (xt - beta.sqrt() * e) / (1 - beta).sqrt()
        for e in (estimate.as_(corruption.pair("step_noise", t)), estimate.eps)
    )
    assert torch.allclose(of_step, mean, rtol=1e-9, atol=1e-9)
    assert torch.allclose(estimate.as_(corruption.pair("previous", t)), mean, rtol=1e-7, atol=1e-7)
    assert torch.allclose(
        corruption.posterior(xt, estimate.x0, corruption.before(t), t).mean, mean, rtol=1e-7, atol=1e-7
    )
    share = (beta / (1 - abar)).sqrt()
    assert torch.allclose(trap - mean, (share - 1) * (beta / (1 - beta)).sqrt() * estimate.eps, rtol=1e-6, atol=1e-9)
    assert torch.allclose(trap[0], mean[0], rtol=1e-9)
    assert ((trap - mean).abs().amax(1) > 1e-3)[1:].float().mean() > 0.9


@pytest.mark.parametrize("name", TABLES)
def test_the_time_before_is_the_tables_own_one_step_earlier_in_any_precision(name):
    corruption = corruption_of(name)
    t, steps = steps_of(corruption.schedule)[0], corruption.schedule.steps
    expected = torch.arange(steps, dtype=torch.float64) / steps
    assert torch.equal(corruption.before(t), expected)
    assert torch.equal(corruption.before(t.float()), expected)
    assert corruption.before(t[:1]).item() == 0


@pytest.mark.parametrize("kind", STEP_KINDS)
def test_in_continuous_time_there_are_no_kinds_of_a_step(kind):
    t = torch.tensor([0.5], dtype=torch.float64)
    with pytest.raises(EbbtideError, match=r"continuous time.*--schedule.steps"):
        corruption_of("cosine").pair(kind, t)
    with pytest.raises(EbbtideError, match="continuous time"):
        corruption_of("cosine").before(t)


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
    monkeypatch.setattr("ebbtide.corruptions.gaussian.MOST_REMEMBERED", 5)
    corruption = GaussianCorruption(SCHEDULES["cosine"])
    for t in torch.linspace(0.01, 1, 40, dtype=torch.float64):
        corruption.level(t.expand(2))
        assert len(corruption._remembered) <= 5
