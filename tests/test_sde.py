"""Item C4: f and g of any schedule, the equation forward against direct draws, and backward against p_t."""

from contextlib import AbstractContextManager
from itertools import pairwise
from unittest.mock import patch

import pytest
import torch
from scipy.integrate import solve_ivp

from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers import GaussianOracle, MixtureOracle
from ebbtide.errors import EbbtideError
from ebbtide.levels import Level
from ebbtide.samplers import EulerMaruyama
from ebbtide.schedules import (
    FunctionSchedule,
    InterpolatedSchedule,
    SubVpSchedule,
    VeSchedule,
    VpSchedule,
    linear_schedule,
)
from ebbtide.sde import LinearSde
from parts import SCHEDULES, SIGMAS, covariance, noise, seeded, slopes

PROCESSES = {"vp": VpSchedule(), "sub-vp": SubVpSchedule(), "ve": VeSchedule()}
CONTINUOUS = {name: schedule for name, schedule in SCHEDULES.items() if schedule.steps is None}
CONTINUOUS["interpolated"] = InterpolatedSchedule(linear_schedule(50))
ALL = {**PROCESSES, **CONTINUOUS}
TIMES = torch.tensor([0.03, 0.13, 0.41, 0.77, 0.99], dtype=torch.float64)


class Bare:
    """A schedule without its closed form."""

    steps = None

    def __init__(self, schedule):
        self.level = schedule.level


@pytest.mark.parametrize("name", PROCESSES)
def test_automatic_differentiation_finds_the_rates_of_the_closed_form(name):
    found, known = LinearSde(Bare(PROCESSES[name])).rates(TIMES), PROCESSES[name].rates(TIMES)
    torch.testing.assert_close(found.f, known.f, rtol=1e-11, atol=1e-14)
    torch.testing.assert_close(found.g2, known.g2, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("name", ALL)
def test_rates_are_the_slopes_of_the_levels(name):
    """f = d log alpha / dt and g² = d sigma²/dt - 2 f sigma², by central differences."""
    schedule, h = ALL[name], 1e-6
    f, g2 = LinearSde(schedule).rates(TIMES)
    before, level, after = (schedule.level(TIMES + shift) for shift in (-h, 0, h))
    torch.testing.assert_close(f, (after.alpha.log() - before.alpha.log()) / (2 * h), rtol=1e-6, atol=1e-8)
    slope = (after.sigma.square() - before.sigma.square()) / (2 * h)
    torch.testing.assert_close(g2, slope - 2 * f * level.sigma.square(), rtol=1e-6, atol=1e-7)
    assert (g2 > 0).all()


@pytest.mark.parametrize("name", ["cosine", "sigmoid", "normal", "function"])
def test_levels_of_any_schedule_solve_the_equations_of_the_moments(name):
    """dm/dt = f m and dP/dt = 2 f P + g² lead from the levels at t = 0.1 to those at 0.9."""
    sde = LinearSde(ALL[name])
    first, last = (sde.schedule.level(torch.tensor([t], dtype=torch.float64)) for t in (0.1, 0.9))

    def slope(t, moments):
        f, g2 = (float(rate) for rate in sde.rates(torch.tensor([t], dtype=torch.float64)))
        return [f * moments[0], 2 * f * moments[1] + g2]

    start = [float(first.alpha), float(first.sigma) ** 2]
    found = solve_ivp(slope, (0.1, 0.9), start, rtol=1e-11, atol=1e-13, method="DOP853").y[:, -1]
    assert found.tolist() == pytest.approx([float(last.alpha), float(last.sigma) ** 2], rel=1e-8)


def pushed(sde, grid):
    """(scale, variance) of the walk over the grid: the affine maps of its steps, one after another."""
    scale, variance = 1.0, 0.0
    for s, t in pairwise(grid):
        pair = torch.stack([s, t])
        with drawing("ebbtide.sde", 0.0):
            kept = next(sde.walk(torch.ones(1, 1, dtype=torch.float64), pair, seeded(0))).item()
        with drawing("ebbtide.sde", 1.0):
            added = next(sde.walk(torch.zeros(1, 1, dtype=torch.float64), pair, seeded(0))).item()
        scale, variance = kept * scale, kept**2 * variance + added**2
    return scale, variance


def drawing(module: str, value: float) -> AbstractContextManager:
    """Every normal number that the module draws is this one."""
    return patch(f"{module}.normal", lambda shape, generator, **kind: torch.full(tuple(shape), value, **kind))


@pytest.mark.parametrize("name", PROCESSES)
def test_the_walk_forward_tends_to_the_law_of_direct_draws(name):
    sde, errors = LinearSde(PROCESSES[name]), []
    last = sde.schedule.level(torch.ones((), dtype=torch.float64))
    for steps in (50, 100, 200):
        scale, variance = pushed(sde, torch.linspace(0, 1, steps + 1, dtype=torch.float64))
        errors.append(abs(scale - float(last.alpha)) + abs(variance / float(last.sigma) ** 2 - 1))
    assert errors[-1] < 0.03
    assert min(slopes(errors)) > 0.85  # first order


def test_particles_that_walked_have_the_moments_of_direct_draws():
    sde, count = LinearSde(SubVpSchedule()), 20_000
    x0 = torch.tensor([1.0, -2.0], dtype=torch.float64).expand(count, 2)
    walked = list(sde.walk(x0, torch.linspace(0, 0.3, 101, dtype=torch.float64), seeded(1)))[-1]
    level = sde.schedule.level(torch.tensor(0.3, dtype=torch.float64))
    variance = float(level.sigma) ** 2
    assert ((walked.mean(0) - level.alpha * x0[0]).abs() < SIGMAS * (variance / count) ** 0.5 + 0.002).all()
    assert ((walked.var(0) / variance - 1).abs() < SIGMAS * (2 / count) ** 0.5 + 0.01).all()


MIXTURE = (torch.tensor([0.3, 0.7], dtype=torch.float64), noise(2, 2, seed=1), 0.5)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0, 1.5])
@pytest.mark.parametrize("name", ["vp", "sub-vp", "ve", "cosine"])
def test_a_short_step_of_the_sampler_is_one_of_the_reverse_equation(name, eta):
    """(xs - xt) / (s - t) tends to the drift, and its variance over t - s to eta² g²."""
    corruption = GaussianCorruption(ALL[name])
    sde, oracle = LinearSde(corruption.schedule), MixtureOracle.spherical(*MIXTURE, corruption)
    x, h = noise(5, 2), 1e-6
    t = torch.full((5,), 0.6, dtype=torch.float64)
    moved = {}
    for value in (0.0, 1.0):
        with drawing("ebbtide.brownian", value):
            moved[value] = EulerMaruyama(eta)(oracle, x, t, t - h, None, seeded(0), None).xs
    drift = sde.drift_back(x, oracle(x, t).score, t, eta)
    torch.testing.assert_close((x - moved[0.0]) / h, drift, rtol=1e-4, atol=1e-4)
    spread = (moved[1.0] - moved[0.0]).square() / h
    torch.testing.assert_close(spread, (eta * sde.diffusion(t)).square()[:, None].expand(5, 2), rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("name", ["vp", "sub-vp", "ve"])
def test_the_marginal_of_gaussian_data_moves_by_the_reverse_equation_for_every_eta(name):
    """dP/dt of the reverse, read backward, is dP/dt forward: p_t is one and the same."""
    corruption = GaussianCorruption(PROCESSES[name])
    sde, matrix = LinearSde(corruption.schedule), covariance(2, seed=3)
    oracle = GaussianOracle(torch.zeros(2, dtype=torch.float64), matrix, corruption)
    t = torch.full((3,), 0.5, dtype=torch.float64)
    points = torch.cat([torch.zeros(1, 2, dtype=torch.float64), torch.eye(2, dtype=torch.float64)])
    marginal = oracle.marginal(t[0]).covariance.matrix
    f, g2 = (rate[0] for rate in sde.rates(t))
    for eta in (0.0, 0.7, 1.0, 2.0):
        drift = sde.drift_back(points, oracle(points, t).score, t, eta)
        linear = (drift[1:] - drift[0]).mT
        back = linear @ marginal + marginal @ linear.mT - eta**2 * g2 * torch.eye(2, dtype=torch.float64)
        forward = 2 * f * marginal + g2 * torch.eye(2, dtype=torch.float64)
        torch.testing.assert_close(back, forward, rtol=1e-10, atol=1e-10)


def test_the_probability_flow_moves_signal_and_noise_as_the_levels_do():
    """eta = 0: dx/dt = alpha' x0_hat + sigma' eps_hat."""
    schedule, h = SubVpSchedule(), 1e-6
    oracle = MixtureOracle.spherical(*MIXTURE, GaussianCorruption(schedule))
    x, t = noise(5, 2), TIMES
    estimate = oracle(x, t)
    after, before = schedule.level(t + h), schedule.level(t - h)
    slope = Level((after.alpha - before.alpha) / (2 * h), (after.sigma - before.sigma) / (2 * h))
    found = LinearSde(schedule).drift_back(x, estimate.score, t, 0.0)
    torch.testing.assert_close(found, slope.mix(estimate.x0, estimate.eps), rtol=1e-5, atol=1e-6)


def test_rates_are_found_in_inference_mode_too():
    with torch.inference_mode():
        rates = LinearSde(SCHEDULES["cosine"]).rates(TIMES.clone())
    torch.testing.assert_close(rates.f, LinearSde(SCHEDULES["cosine"]).rates(TIMES).f)


def test_what_has_no_slopes_is_refused():
    with pytest.raises(EbbtideError, match="InterpolatedSchedule"):
        LinearSde(linear_schedule())
    with pytest.raises(EbbtideError, match="t > 0"):
        LinearSde(SCHEDULES["cosine"]).rates(torch.zeros(2, dtype=torch.float64))
    flat = FunctionSchedule(lambda t: torch.from_numpy(4 - 8 * t.detach().numpy()))
    with pytest.raises(EbbtideError, match="gradient"):
        LinearSde(flat).rates(TIMES)


def test_a_walk_forward_wants_times_that_rise():
    with pytest.raises(EbbtideError, match="rise"):
        list(LinearSde(VpSchedule()).walk(noise(2, 2), torch.tensor([0.5, 0.4], dtype=torch.float64), seeded(0)))
