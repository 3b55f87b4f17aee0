"""Losses by name: each is the formula of the lectures, trains, samples and is found again in its run."""

import math
from dataclasses import replace
from typing import get_args

import pytest
import torch

from ebbtide.levels import STEP_KINDS, convert
from ebbtide.objectives import StepObjective, VarianceObjective
from ebbtide.recipes.build import build_objective, build_schedule
from ebbtide.recipes.draw import draw_all
from ebbtide.recipes.objectives import OBJECTIVES, STEPS, ObjectiveName, objectives_in_words, with_objective
from ebbtide.recipes.presets import PRESETS
from ebbtide.recipes.recipe import ScheduleRecipe
from ebbtide.recipes.run import open_run
from parts import noise
from trials import SMALL, call, refusal, small, trained, updates

NAMES = get_args(ObjectiveName)
ABOUT_STEPS = {"mean", "mean-weighted", "previous", "step-noise", "hybrid"}


@pytest.mark.parametrize("name", NAMES)
def test_each_trains_and_its_run_can_be_sampled_from(tmp_path, monkeypatch, name):
    monkeypatch.setattr("ebbtide.recipes.train._first_notes", lambda *about: [])  # they take longer than all the rest
    recipe = with_objective(small(updates=3), name)
    trained(recipe, tmp_path / "run")
    losses = [loss for _, loss in updates(tmp_path / "run")]
    assert len(losses) == 3
    assert all(0 < loss < math.inf for loss in losses)
    run = open_run(tmp_path / "run")
    assert run.recipe == recipe
    samples = draw_all(run, run.denoiser(), 2)
    assert samples.shape == (2, 1, 8, 8)
    assert torch.isfinite(samples).all()


@pytest.mark.parametrize("name", NAMES)
def test_those_about_single_steps_get_a_table(name):
    recipe = with_objective(PRESETS["swiss-roll"].recipe, name)
    assert recipe.schedule == ScheduleRecipe(name="cosine", steps=STEPS if name in ABOUT_STEPS else None)
    assert build_schedule(recipe.schedule).steps == (1000 if name in ABOUT_STEPS else None)


@pytest.mark.parametrize("schedule", [{"name": "normal", "steps": 30}, {"name": "linear"}, {"name": "constant"}])
@pytest.mark.parametrize("name", ["hybrid", "previous", "mean-weighted", "simple"])
def test_a_table_stays_the_table_it_is(name, schedule):
    recipe = replace(small(), schedule=ScheduleRecipe(**schedule))
    assert with_objective(recipe, name).schedule == recipe.schedule


@pytest.mark.parametrize("name", NAMES)
def test_the_rest_of_the_recipe_stays(name):
    recipe = replace(small("moons"), objective=replace(small().objective, drop_labels=0.3, measured="eps"))
    found = with_objective(recipe, name)
    assert found.objective == replace(OBJECTIVES[name].recipe, drop_labels=0.3)
    assert replace(found, objective=recipe.objective, schedule=recipe.schedule) == recipe


def test_a_name_given_after_another_replaces_it():
    expected = with_objective(small(), "simple").objective
    for first in NAMES:
        assert with_objective(with_objective(small(), first), "simple").objective == expected


T, COUNT = 10, 6
INDEX = torch.tensor([1, 2, 4, 6, 9, 10])
X0, EPS, PREDICTION = (noise(COUNT, 4, seed=seed) for seed in (1, 2, 3))


def direct(name, betas):
    """The loss as it stands in the papers, example by example, in beta and abar."""
    values, abar = [], [1.0]
    for beta in betas:
        abar.append(abar[-1] * (1 - beta))
    for k, x0, eps, p in zip(INDEX.tolist(), X0, EPS, PREDICTION, strict=True):
        beta, now, before = betas[k - 1], abar[k], abar[k - 1]
        xt = now**0.5 * x0 + (1 - now) ** 0.5 * eps
        mean = (before**0.5 * beta * x0 + (1 - beta) ** 0.5 * (1 - before) * xt) / (1 - now)
        v = now**0.5 * eps - (1 - now) ** 0.5 * x0
        from_v = now**0.5 * xt - (1 - now) ** 0.5 * p
        snr = now / (1 - now)
        # of the bound, T times the term of one step: a decoder with variance beta
        of_mean = T / (2 * beta)
        of_eps = T * beta**2 / (2 * beta * (1 - beta) * (1 - now))
        match name:
            case "v":
                value = (v - p).square()
            case "simple":
                value = (eps - p).square()
            case "x0":
                value = (x0 - p).square()
            case "score":
                value = (-eps / (1 - now) ** 0.5 - p).square()
            case "mean":
                value = (mean - p).square()
            case "mean-weighted":
                value = of_mean * (mean - p).square()
            case "noise-weighted":
                value = of_eps * (eps - p).square()
            case "min-snr":
                value = min(snr, 5) * (x0 - from_v).square()
            case "bound":
                value = of_eps * snr * (x0 - from_v).square()
        values.append(float(value.mean()))
    return values


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"previous", "step-noise", "hybrid"}))
def test_each_name_stands_for_its_formula(name):
    schedule = build_schedule(ScheduleRecipe(name="linear", steps=T))
    found = build_objective(OBJECTIVES[name].recipe, schedule).error(PREDICTION, X0, EPS, INDEX.double() / T)
    assert found.tolist() == pytest.approx(direct(name, schedule.betas.tolist()), rel=1e-8)


def test_those_of_drawn_steps_and_of_variances_are_theirs():
    schedule = build_schedule(ScheduleRecipe(name="linear", steps=T))
    built = {name: build_objective(OBJECTIVES[name].recipe, schedule) for name in NAMES}
    drawn = {name: objective for name, objective in built.items() if isinstance(objective, StepObjective)}
    assert {name: objective.predicts for name, objective in drawn.items()} == dict(
        zip(["previous", "step-noise"], STEP_KINDS, strict=True)
    )
    assert [name for name, objective in built.items() if isinstance(objective, VarianceObjective)] == ["hybrid"]
    assert built["hybrid"].predicts == "eps"


def test_the_bound_in_continuous_time_is_half_the_fall_of_the_snr():
    """½ |d SNR/dt| ‖x0 - x0_hat‖², the slope by central differences."""
    schedule = build_schedule(ScheduleRecipe(name="cosine"))
    t, h = torch.linspace(0.2, 0.9, COUNT, dtype=torch.float64), 1e-5
    level = schedule.level(t)
    slope = (schedule.level(t - h).snr - schedule.level(t + h).snr) / (2 * h)
    error = (convert(PREDICTION, "v", "x0", level.mix(X0, EPS), level) - X0).square().mean(1)
    found = build_objective(OBJECTIVES["bound"].recipe, schedule).error(PREDICTION, X0, EPS, t)
    assert torch.allclose(found, 0.5 * slope * error, rtol=1e-6)


def test_the_list_names_them_all():
    lines = objectives_in_words().splitlines()[1:]
    assert [line.split()[0] for line in lines] == list(NAMES)
    assert all(OBJECTIVES[name].about in line for name, line in zip(NAMES, lines, strict=True))


def test_a_name_is_an_option_of_train(tmp_path):
    outcome = call("train", "moons", "--objective", "previous", "--updates", 2, *SMALL, "--out", tmp_path / "run")
    assert outcome.code == 0, outcome
    recipe = open_run(tmp_path / "run").recipe
    assert recipe.objective == OBJECTIVES["previous"].recipe
    assert recipe.schedule.steps == STEPS
    line = refusal("train", "moons", "--objective", "simpel", "--updates", 2, "--out", tmp_path / "other")
    assert "simpel" in line
    assert not (tmp_path / "other").exists()
