"""Samplers by name, and races between them."""

from dataclasses import replace
from typing import get_args

import pytest
import torch

from ebbtide.corruptions import GaussianCorruption
from ebbtide.data import load
from ebbtide.denoisers import GaussianOracle
from ebbtide.grids import log_snr_grid, spread_grid, uniform_grid
from ebbtide.recipes import draw
from ebbtide.recipes.draw import draw_all, grid_for
from ebbtide.recipes.evaluate import EvaluateSettings, Sketch, sides
from ebbtide.recipes.features import Values
from ebbtide.recipes.race import Lap, RaceSettings, asked_for, behind, evaluations_of, laps
from ebbtide.recipes.recipe import SamplerName, SamplingRecipe
from ebbtide.recipes.run import drawn_by, open_run
from ebbtide.recipes.samplers import SAMPLERS, build_sampler, eta_of
from ebbtide.samplers import Counted, Ddim, DpmSolver2M, final, generate, sample
from ebbtide.samplers.local_error import error_density
from parts import COSINE, SCHEDULES, covariance, noise, seeded
from trials import grey_run, point_run, table_run

CORRUPTION = GaussianCorruption(COSINE)
ORACLE = GaussianOracle(torch.tensor([0.5, -1.0]).double(), covariance(2, seed=3), CORRUPTION)


def test_every_name_has_a_sampler_and_every_sampler_a_name():
    assert list(SAMPLERS) == list(get_args(SamplerName))


@pytest.mark.parametrize("name", [name for name, about in SAMPLERS.items() if about.serves in ("gaussian", "any")])
def test_a_step_asks_as_often_as_is_said_and_noise_is_added_where_it_is_said(name):
    about, sampler = SAMPLERS[name], build_sampler(SamplingRecipe(sampler=name, steps=4))
    counted, x = Counted(ORACLE), noise(3, 2)
    ends = []
    for seed in (1, 2):
        steps = sample(counted, sampler, uniform_grid(COSINE, 6)[1:-1], x, seeded(seed))
        ends.append(final(steps))
    assert torch.equal(*ends) != about.stochastic
    if about.evaluations:
        assert counted.evaluations == 2 * 4 * about.evaluations


def test_eta_is_the_samplers_own_unless_it_is_given():
    assert eta_of(SamplingRecipe(sampler="ddim")) == 0
    assert eta_of(SamplingRecipe(sampler="euler-maruyama")) == 1
    assert eta_of(SamplingRecipe(sampler="euler-maruyama", eta=0.3)) == 0.3
    run = open_run(point_run())
    noisy = drawn_by(run, sampler="ddim", eta=0.7)
    assert drawn_by(noisy, sampler="sde-dpm2m").recipe.sampling.eta is None
    assert drawn_by(noisy, steps=7).recipe.sampling.eta == 0.7
    assert drawn_by(noisy, sampler="sde-dpm2m", eta=0.2).recipe.sampling.eta == 0.2


def test_budgets_are_kept_and_what_cannot_be_is_left_out():
    run = open_run(table_run())  # 20 steps
    assert asked_for(run, "dpm2m", 10).recipe.sampling.steps == 10
    assert asked_for(run, "heun", 11).recipe.sampling.steps == 5
    assert asked_for(run, "rk4", 3) is None
    assert asked_for(run, "adaptive", 10) is None
    assert asked_for(run, "ddim", 21) is None


def test_a_lap_is_what_the_run_draws_so_and_the_reference_does_not_depend_on_who_runs():
    run = open_run(point_run())
    denoiser = run.denoiser()
    both = sides(run, EvaluateSettings())
    real = Sketch.of(both.reference, Values(2))
    settings = RaceSettings(
        samplers=("dpm2m", "ddim", "ancestral"), evaluations=(4, 40), samples=60, compared=20, reference_steps=200
    )
    happened = list(laps(run, denoiser, settings, real))
    spent = [one for one in happened if isinstance(one, int)]
    assert spent == sorted(set(spent))
    assert spent[-1] == evaluations_of(run, denoiser, settings) == 20 * 200 + 60 * 3 * (4 + 40)
    found = {(lap.sampler, lap.evaluations): lap for lap in happened if isinstance(lap, Lap)}
    assert len(found) == 6
    # from the same noise and against the same examples a difference is known better than two distances are
    best = min(found.values(), key=lambda lap: lap.to_data.value)
    for lap, far in zip(found.values(), behind(list(found.values())), strict=True):
        assert far.value == lap.to_data.value - best.to_data.value >= 0
        apart = (lap.to_data.error**2 + best.to_data.error**2) ** 0.5
        assert far.error < apart
        assert (far.error == 0) == (lap is best)
    for (name, count), lap in found.items():
        assert lap.steps == count
        assert (lap.to_reference is None) == SAMPLERS[name].stochastic
        x = draw_all(drawn_by(run, sampler=name, steps=count), denoiser, 60)
        sketch = Sketch(Values(2))
        sketch.add(x.numpy())
        assert lap.to_data.value == pytest.approx(
            float((sketch.moments.mean - real.moments.mean) @ (sketch.moments.mean - real.moments.mean))
            + spread_between(sketch, real)
        )
    for name in ("dpm2m", "ddim"):
        assert found[name, 40].to_reference < found[name, 4].to_reference


def spread_between(one, other):
    a, b = (torch.from_numpy(sketch.moments.covariance) for sketch in (one, other))
    values = torch.linalg.eigvals(a @ b).real.clamp(min=0)
    return float(a.trace() + b.trace() - 2 * values.sqrt().sum())


@pytest.mark.parametrize("order", [1, 2])
def test_a_measured_grid_has_its_steps_where_x0_bends_and_errs_less_than_one_even_in_t(order):
    """x0 of a Gaussian of variance v turns around log-SNR = -log v."""
    oracle = GaussianOracle(torch.zeros(1).double(), torch.full((1, 1), 1e-4).double(), CORRUPTION)
    log_snr, density = error_density(oracle, (1,), order=order)
    assert (log_snr.diff() > 0).all()
    assert density.min() > 0
    assert abs(float(log_snr[density.argmax()]) - 9.2) < 3 or float(density[-1]) == float(density.max())
    sampler = Ddim() if order == 1 else DpmSolver2M()
    wide = GaussianOracle(torch.zeros(1).double(), torch.full((1, 1), 0.5).double(), CORRUPTION)
    log_snr, density = error_density(wide, (1,), order=order)
    off = {}
    for name, grid in (("measured", spread_grid(COSINE, 12, log_snr, density)), ("uniform", uniform_grid(COSINE, 12))):
        ends = final(generate(wide, sampler, grid, (1,), range(2000), seed=0))
        fine = final(generate(wide, sampler, log_snr_grid(COSINE, 800), (1,), range(2000), seed=0))
        off[name] = float((ends - fine).norm())
    assert off["measured"] < off["uniform"] or off["measured"] < 0.05 * float(fine.norm())


@pytest.mark.parametrize("path", [grey_run, table_run, point_run])
def test_a_run_draws_on_a_measured_grid(path):
    run = drawn_by(open_run(path()), grid="measured", steps=5)
    denoiser = run.denoiser()
    grid = grid_for(run, denoiser)
    assert len(grid) == 6
    assert (grid.diff() < 0).all()
    assert torch.equal(grid, grid_for(run, denoiser))
    assert draw_all(run, denoiser, 3).isfinite().all()


def test_a_race_measures_once_for_each_order(monkeypatch):
    run = drawn_by(open_run(point_run()), grid="measured")
    calls, real = [], draw.error_density
    monkeypatch.setattr(draw, "error_density", lambda *parts, **options: calls.append(1) or real(*parts, **options))
    settings = RaceSettings(samplers=("dpm2m", "ddim", "midpoint"), evaluations=(4, 6), samples=50, reference_steps=8)
    sketch = Sketch.of(load("swiss-roll", limit=60), Values(2))
    assert sum(isinstance(one, Lap) for one in laps(run, run.denoiser(), settings, sketch)) == 6
    assert len(calls) == 1 + 2, "the reference, and orders 1 and 2"


def test_thresholding_is_a_wrapper_of_the_recipe():
    run = open_run(grey_run())
    held = replace(run, recipe=replace(run.recipe, sampling=replace(run.recipe.sampling, threshold=0.9)))
    x = draw_all(held, held.denoiser(), 4)
    low, high = run.data.range
    assert float(x.min()) >= low - 1e-4
    assert float(x.max()) <= high + 1e-4


def test_the_density_wants_enough_points():
    from ebbtide.errors import EbbtideError

    oracle = GaussianOracle(ORACLE.mean, ORACLE.matrix, GaussianCorruption(SCHEDULES["list"]))
    error_density(oracle, (2,), order=2)
    with pytest.raises(EbbtideError, match="points came"):
        error_density(oracle, (2,), order=6)
