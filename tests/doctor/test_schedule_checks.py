"""The end of the schedule and the sampler's steps, on data whose ideal denoiser is known."""

import re
from dataclasses import replace

import pytest
import torch

from ebbtide.corruptions import GaussianCorruption
from ebbtide.data import load
from ebbtide.denoisers.wiener import LinearDenoiser
from ebbtide.doctor.schedule import BITS_LEFT, DRAWS, TOO_COARSE, check_end, check_steps, spreads
from ebbtide.grids import uniform_grid
from ebbtide.recipes.build import build_data, build_grid, build_schedule
from ebbtide.recipes.linear import linear_denoiser
from ebbtide.recipes.presets import PRESETS
from ebbtide.recipes.samplers import build_sampler
from ebbtide.samplers import Ancestral, Ddim, DpmSolver2M
from ebbtide.schedules import constant_schedule, linear_schedule, steps_to_forget, table
from parts import COSINE, SCHEDULES, SIGMAS, noise

CORRUPTION = GaussianCorruption(COSINE)
CAUSE = "a schedule that leaves signal at t = 1"
DIGITS = load("digits")
X0 = DIGITS.batch(range(256)).x0
SIGNS = noise(40, 6, seed=1).sign().float()
"""Numbers of power 1 exactly."""
VARIANCES = torch.tensor([2.0, 1.0, 0.3, 0.1, 0.03, 0.01], dtype=torch.float64)
LINEAR = LinearDenoiser.of([VARIANCES.sqrt() * noise(5000, 6, seed=2)], CORRUPTION)
SAMPLERS = {"ddim": Ddim(), "dpm2m": DpmSolver2M(), "ancestral": Ancestral()}


def tiny_betas(steps):
    return table(torch.linspace(1e-4, 0.02, steps))


@pytest.mark.parametrize("name", [name for name in SCHEDULES if name != "list"])
def test_the_schedules_that_are_made_for_it_end_in_noise(name):
    finding = check_end(GaussianCorruption(SCHEDULES[name]), X0)
    assert (finding.verdict, finding.cause) == ("fine", None)


@pytest.mark.parametrize("steps", [10, 100, 300])
def test_small_betas_in_few_steps_leave_signal(steps):
    finding = check_end(GaussianCorruption(tiny_betas(steps)), X0)
    assert (finding.verdict, finding.cause) == ("wrong", CAUSE)
    assert check_end(GaussianCorruption(linear_schedule(steps)), X0).verdict == "fine"


@pytest.mark.parametrize("beta", [0.01, 0.05, 0.3])
def test_the_bits_that_are_left_are_those_of_the_formula_to_the_last_step(beta):
    count = steps_to_forget(beta, BITS_LEFT)
    verdicts = [check_end(GaussianCorruption(constant_schedule(beta, n)), SIGNS).verdict for n in (count, count - 1)]
    assert verdicts == ["fine", "wrong"]


def test_larger_data_leave_more():
    assert check_end(CORRUPTION, X0).verdict == "fine"
    assert check_end(CORRUPTION, 255 * X0).cause == CAUSE


@pytest.mark.parametrize("steps", [1, 2, 7, 30])
def test_ddim_spreads_as_the_product_of_its_steps(steps):
    """Of a component of variance v: xs = (αs g + σs (1 - αt g) / σt) xt with g = αt v / (αt² v + σt²)."""
    grid = uniform_grid(COSINE, steps)
    level = COSINE.level(grid)
    start, end = slice(0, -1), slice(1, None)
    alpha, sigma = level.alpha[start, None], level.sigma[start, None]
    known = LINEAR.variances.flip(0)
    gain = alpha * known / (alpha**2 * known + sigma**2)
    step = level.alpha[end, None] * gain + level.sigma[end, None] * (1 - alpha * gain) / sigma
    expected = step.prod(0).abs() / known.sqrt()
    found, data = spreads(LINEAR, Ddim(), grid)
    assert torch.allclose(data, known.sqrt())
    assert ((found / data / expected - 1).abs() < SIGMAS * (2 * DRAWS) ** -0.5).all()
    away = ((expected - 1).square() @ known / known.sum()).sqrt()
    told = float(re.search(r"samples ([\d.]+)% of", check_steps(LINEAR, Ddim(), grid).text)[1]) / 100
    assert told == pytest.approx(float(away), abs=SIGMAS * (2 * DRAWS) ** -0.5)


@pytest.mark.parametrize("name", SAMPLERS)
def test_with_more_steps_samples_spread_as_the_data_do(name):
    worst = []
    for steps in (3, 12, 48):
        found, data = spreads(LINEAR, SAMPLERS[name], uniform_grid(COSINE, steps))
        worst.append(float((found - data).norm() / data.norm()))
    assert worst[0] > 1.5 * worst[1] > 3 * worst[2]
    assert worst[2] < 0.1


@pytest.mark.parametrize("name", SAMPLERS)
def test_one_or_two_steps_are_too_few_and_many_are_not(name):
    for steps in (1, 2):
        finding = check_steps(LINEAR, SAMPLERS[name], uniform_grid(COSINE, steps))
        assert (finding.verdict, finding.cause) == ("wrong", "too few sampling steps")
        assert finding.text.startswith(f"{steps} steps alone")
    assert check_steps(LINEAR, SAMPLERS[name], uniform_grid(COSINE, 50)).verdict == "fine"


def test_of_many_components_some_are_looked_at_from_the_widest_to_the_narrowest():
    values = torch.cat([torch.full((40,), 1.0), torch.full((40,), 1e-6)]).double()
    linear = LinearDenoiser.of([values.sqrt() * noise(4000, 80, seed=3)], CORRUPTION)
    _, data = spreads(linear, Ddim(), uniform_grid(COSINE, 20))
    assert data.shape == (16,)
    assert (data.diff() <= 0).all()
    assert float(data[0] ** 2) == pytest.approx(float(linear.variances.max()))
    assert float(data[-1] ** 2) == pytest.approx(float(linear.variances.min()))
    assert check_steps(linear, Ddim(), uniform_grid(COSINE, 50)).verdict == "fine"


def test_what_hardly_varies_hardly_counts():
    """What a few steps do to a tiny component nobody sees."""
    values = torch.cat([torch.full((8,), 1.0), torch.full((8,), 1e-6)]).double()
    linear = LinearDenoiser.of([values.sqrt() * noise(4000, 16, seed=3)], CORRUPTION)
    grid = uniform_grid(COSINE, 20)
    found, data = spreads(linear, Ddim(), grid)
    assert (found / data - 1).abs().max() > 2 * TOO_COARSE
    assert check_steps(linear, Ddim(), grid).verdict == "fine"


@pytest.mark.parametrize("name", ["digits", "digits-ho", "swiss-roll", "moons", "mixture"])
def test_the_presets_take_steps_enough(name):
    recipe = PRESETS[name].recipe
    schedule = build_schedule(recipe.schedule)
    linear = linear_denoiser(build_data(recipe.data), GaussianCorruption(schedule))
    sampler = build_sampler(recipe.sampling)
    some, few = (
        build_grid(replace(recipe.sampling, steps=steps), schedule) for steps in (min(recipe.sampling.steps, 100), 2)
    )
    assert check_steps(linear, sampler, some).verdict == "fine"
    assert check_steps(linear, sampler, few).cause == "too few sampling steps"


def test_examples_that_are_all_the_same_have_no_spread_to_lose():
    dots = load("dots").batch(range(20)).x0
    linear = LinearDenoiser.of([dots], CORRUPTION)
    assert check_steps(linear, Ddim(), uniform_grid(COSINE, 1)).verdict == "fine"
