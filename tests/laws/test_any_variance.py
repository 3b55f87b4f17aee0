"""Levels need not preserve variance: VE, sub-VP and any other scale of x lead to the same data, priors and bits."""

from dataclasses import dataclass
from unittest.mock import patch

import pytest
import torch

from ebbtide.brownian import BrownianPath
from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers import FiniteOracle, GaussianOracle, MixtureOracle, NetworkDenoiser
from ebbtide.gaussian import kl
from ebbtide.grids import karras_grid, uniform_grid
from ebbtide.levels import Level
from ebbtide.likelihood.ode import log_prob_by_ode
from ebbtide.likelihood.terms import prior_term, step_term
from ebbtide.randomness import SampleGenerators, normal
from ebbtide.samplers import (
    Ancestral,
    Ddim,
    DpmSolver2M,
    EulerMaruyama,
    Langevin,
    PredictorCorrector,
    Renoise,
    SdeDpmSolver2M,
    StochasticHeun,
    final,
    generate,
    sample,
)
from ebbtide.schedules import CosineSchedule, Schedule, SubVpSchedule, VeSchedule, VpSchedule
from parts import COSINE, SCHEDULES, SIGMAS, noise, seeded

PROCESSES = {"vp": VpSchedule(), "sub-vp": SubVpSchedule(), "ve": VeSchedule()}
WEIGHTS, MEANS = (
    torch.tensor([0.3, 0.7], dtype=torch.float64),
    torch.tensor([[-1.0, 0.5], [1.0, 0.0]], dtype=torch.float64),
)
SAMPLERS = {
    "ddim": Ddim(),
    "between": Ddim(0.6),
    "ancestral": Ancestral(),
    "widened": Ancestral("step"),
    "2m": DpmSolver2M(),
    "euler": EulerMaruyama(0.7),
    "sde 2m": SdeDpmSolver2M(),
    "heun": StochasticHeun(),
    "renoise": Renoise(),
    "langevin": PredictorCorrector(Ddim(), Langevin()),
}


@dataclass(frozen=True)
class Rescaled:
    """The levels of another schedule times c(t) = 1 + 3 t² - t: other scales of x, the same log-SNR."""

    schedule: Schedule

    @property
    def steps(self):
        return self.schedule.steps

    def scale(self, t):
        return 1 + 3 * t.square() - t

    def level(self, t):
        level, c = self.schedule.level(t), self.scale(t.double())
        return Level(c * level.alpha, c * level.sigma)


def mixture(schedule):
    return MixtureOracle.spherical(WEIGHTS, MEANS, 0.4, GaussianCorruption(schedule))


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("name", ["cosine", "linear"])
def test_every_sampler_commutes_with_a_change_of_scale(name, sampler):
    """x / c(t) on the one schedule is x on the other, step by step and noise for noise."""
    schedule = SCHEDULES[name]
    grid, x, other = uniform_grid(schedule, 6), noise(5, 2), Rescaled(schedule)
    plain = list(sample(mixture(schedule), SAMPLERS[sampler], grid, x, seeded(1)))
    scaled = list(sample(mixture(other), SAMPLERS[sampler], grid, other.scale(grid[0]) * x, seeded(1)))
    for one, two in zip(plain, scaled, strict=True):
        c = other.scale(torch.tensor(one.t, dtype=torch.float64))
        torch.testing.assert_close(two.x / c, one.x, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("sampler", ["ddim", "ancestral", "2m", "sde 2m", "heun"])
@pytest.mark.parametrize("grid", [karras_grid, uniform_grid], ids=["karras", "uniform"])
@pytest.mark.parametrize("name", PROCESSES)
def test_samples_have_the_moments_of_the_data(name, grid, sampler):
    """From the prior down, on any process; also where the grid begins below t = 1, at less noise than the prior's."""
    count, oracle, times = 4000, mixture(PROCESSES[name]), grid(PROCESSES[name], 60)
    x = oracle.corruption.prior((count, 2), seeded(2), float(times[0])).double()
    samples = final(sample(oracle, SAMPLERS[sampler], times, x, seeded(3)))
    mean = WEIGHTS @ MEANS
    variance = 0.16 + WEIGHTS @ MEANS.square() - mean.square()
    known = 0.02 if "2m" in sampler or sampler == "heun" else 0.15  # second order and first, in 60 steps
    assert ((samples.mean(0) - mean).abs() < SIGMAS * (variance / count).sqrt() + 0.1 * known).all()
    assert ((samples.var(0) / variance - 1).abs() < SIGMAS * (2 / count) ** 0.5 + known).all()


@pytest.mark.parametrize("name", ["sub-vp", "ve"])
def test_samples_of_points_are_points(name):
    points = torch.tensor([[-1.0, -1.0], [1.0, -0.5], [0.0, 1.5]], dtype=torch.float64)
    oracle = FiniteOracle(points, GaussianCorruption(PROCESSES[name]))
    for sampler in (Ddim(), Ancestral(), SdeDpmSolver2M()):
        found = final(generate(oracle, sampler, karras_grid(PROCESSES[name], 30), (2,), range(300), seed=0)).double()
        distances = torch.cdist(found, points)
        assert distances.min(1).values.max() < 1e-4
        assert (torch.bincount(distances.argmin(1), minlength=3) / 300 - 1 / 3).abs().max() < SIGMAS * (
            2 / 9 / 300
        ) ** 0.5 + 0.03


@pytest.mark.parametrize("start", [1.0, 0.7])
@pytest.mark.parametrize("name", PROCESSES)
def test_generation_begins_with_noise_of_the_size_that_it_has_there(name, start):
    seen, grid, indices = [], uniform_grid(PROCESSES[name], 1, start), range(4)

    def network(x, t, condition):
        seen.append(x)
        return x

    denoiser = NetworkDenoiser(network, GaussianCorruption(PROCESSES[name]))
    final(generate(denoiser, Ddim(), grid, (3,), indices, seed=5))
    expected = denoiser.corruption.scale(start) * normal((4, 3), SampleGenerators.of(5, indices))
    torch.testing.assert_close(seen[0], expected)


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_prior_of_a_schedule_that_preserves_variance_is_plain_noise_to_the_last_bit(name):
    corruption = GaussianCorruption(SCHEDULES[name])
    assert corruption.scale() == 1.0
    assert torch.equal(corruption.prior((50, 3), seeded(1)), normal((50, 3), seeded(1)))


@pytest.mark.parametrize("t", [1.0, 0.6])
@pytest.mark.parametrize("name", PROCESSES)
def test_the_prior_has_the_variance_that_standardised_data_have_at_t(name, t):
    corruption, count = GaussianCorruption(PROCESSES[name]), 20_000
    oracle = GaussianOracle(torch.zeros(1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64), corruption)
    variance = float(oracle.marginal(torch.tensor(t, dtype=torch.float64)).variances)
    assert corruption.scale(t) ** 2 == pytest.approx(variance, rel=1e-12)
    assert float(corruption.prior((count, 1), seeded(1), t).var()) == pytest.approx(
        variance, rel=SIGMAS * (2 / count) ** 0.5
    )


@pytest.mark.parametrize("name", PROCESSES)
def test_bits_left_and_the_first_term_of_the_bound_are_against_the_prior(name):
    corruption, x0 = GaussianCorruption(PROCESSES[name]), noise(3, 4)
    last = corruption.marginal(x0, torch.ones(3, dtype=torch.float64))
    nats = kl(last, corruption.prior_law(x0))
    level = corruption.level(torch.ones((), dtype=torch.float64))
    ratio = level.sigma**2 / corruption.scale() ** 2
    by_hand = 0.5 * (4 * (ratio - 1 - ratio.log()) + level.alpha**2 / corruption.scale() ** 2 * x0.square().sum(1))
    torch.testing.assert_close(nats, by_hand, rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(prior_term(corruption, x0), nats)
    torch.testing.assert_close(corruption.bits_left(x0) * torch.log(torch.tensor(2.0).double()), nats)


def test_terms_of_the_bound_do_not_see_the_scale():
    t, s = (torch.full((5,), time, dtype=torch.float64) for time in (0.7, 0.4))
    x0, eps = noise(5, 2), noise(5, 2, seed=1)
    for variance in ("posterior", "step", "exact"):
        one, other = (step_term(mixture(schedule), x0, eps, s, t, variance) for schedule in (COSINE, Rescaled(COSINE)))
        torch.testing.assert_close(one.nats, other.nats, rtol=1e-7, atol=1e-10)
        torch.testing.assert_close(one.error, other.error, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("name", ["sub-vp", "ve", "rescaled"])
def test_the_likelihood_by_the_ode_is_the_density_of_gaussian_data_on_any_process(name):
    """The prior is p_1 to within the signal that is left there, which a mean of zero and variance 1 make exact."""
    schedule = {**PROCESSES, "rescaled": Rescaled(CosineSchedule(last_log_snr=-26))}[name]
    corruption, x = GaussianCorruption(schedule), noise(4, 2)
    oracle = GaussianOracle(torch.zeros(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64), corruption)
    found = log_prob_by_ode(oracle, x, first=0.05, tolerance=1e-8).nats
    torch.testing.assert_close(found, oracle.log_prob(x, torch.tensor(0.05, dtype=torch.float64)), rtol=1e-6, atol=1e-6)


def test_the_likelihood_by_the_ode_changes_with_the_scale_as_a_density_does():
    first, x = torch.tensor(0.1, dtype=torch.float64), noise(3, 2)
    other = Rescaled(COSINE)
    c = other.scale(first)
    one = log_prob_by_ode(mixture(COSINE), x, first=0.1, tolerance=1e-7).nats
    two = log_prob_by_ode(mixture(other), c * x, first=0.1, tolerance=1e-7).nats
    torch.testing.assert_close(two, one - 2 * c.log(), rtol=1e-5, atol=1e-5)


def test_a_brownian_path_does_not_see_the_scale():
    grid, x, other = uniform_grid(COSINE, 6)[:-1], noise(3, 2), Rescaled(COSINE)
    path = BrownianPath.of(1, range(3))
    one = final(sample(mixture(COSINE), EulerMaruyama(), grid, x, path))
    two = final(sample(mixture(other), EulerMaruyama(), grid, other.scale(grid[0]) * x, path))
    with patch("ebbtide.brownian.normal", side_effect=AssertionError):
        assert torch.allclose(final(sample(mixture(COSINE), EulerMaruyama(), grid, x, path)), one)
    # the clocks differ in their last digit, and a path is rough: by the root of that
    torch.testing.assert_close(two / other.scale(grid[-1]), one, rtol=1e-6, atol=1e-6)
