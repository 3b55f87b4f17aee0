"""Samplers by name: with options of their own, and with no order in the list that they do not have."""

from unittest.mock import patch

import pytest
import torch

from ebbtide.denoisers import GaussianOracle
from ebbtide.errors import EbbtideError
from ebbtide.recipes.recipe import SamplingRecipe
from ebbtide.recipes.samplers import build_sampler
from ebbtide.samplers import HEUN, SAMPLERS, Ddim, DpmSolver2M, RungeKutta, final, sample, sampler
from parts import seeded, slopes
from problems import CORRUPTION

pytestmark = pytest.mark.usefixtures("unchecked")

CENTER, VARIANCE = torch.tensor([1.5], dtype=torch.float64), torch.tensor([[0.3]], dtype=torch.float64)
ORACLE = GaussianOracle(CENTER, VARIANCE, CORRUPTION)
START, END = 0.9, 0.4
CLOSE = 0.15


def at(t):
    return torch.tensor(t, dtype=torch.float64)


def error_of_law(sampler, steps):
    """How far mean and variance lie from p_END's after so many steps from p_START, exactly.

    On a linear denoiser samples are linear in x and in every noise. So one walk tells their law: its rows are 0, a unit
    of x, and a unit of each noise, drawn at most six times a step.
    """
    grid = torch.linspace(START, END, steps + 1, dtype=torch.float64)
    x, draws = torch.zeros(2 + 6 * steps, 1, dtype=torch.float64), iter(range(2, 2 + 6 * steps))
    x[1] = 1

    def scripted(draw, shape, generator, dtype, device):
        z = torch.zeros(tuple(shape), dtype=dtype)
        z[next(draws)] = 1
        return z

    with patch("ebbtide.randomness._draw", scripted):
        ends = final(sample(ORACLE, sampler, grid, x, seeded(0)))
    start, end = ORACLE.marginal(at(START)), ORACLE.marginal(at(END))
    shift, gain, noise = ends[0], ends[1] - ends[0], ends[2:] - ends[0]
    mean, variance = gain * start.mean + shift, gain**2 * start.variances + noise.square().sum()
    return float((mean - end.mean).abs() + (variance - end.variances).abs())


LISTED = [name for name, about in SAMPLERS.items() if about.order != "none" and about.evaluations]
"""`adaptive` chooses its own steps, so there is nothing to halve: see test_adaptive.py."""


@pytest.mark.parametrize("name", LISTED)
def test_no_sampler_is_listed_with_an_order_that_it_does_not_have(name):
    """At least the lowest that is listed, for the law of the samples; test_orders.py has orders of single paths."""
    steps = 200 if name == "edm" else 40  # with fewer the churn of edm is as much as may be in every step
    errors = [error_of_law(build_sampler(SamplingRecipe(sampler=name, steps=n)), n) for n in (steps, 2 * steps)]
    assert slopes(errors)[0] > int(SAMPLERS[name].order[0]) - CLOSE


def test_a_name_and_options_make_a_sampler():
    assert sampler("dpm2m") == DpmSolver2M()
    assert sampler("heun") == RungeKutta(HEUN)
    assert sampler("ddim", eta=0.5) == Ddim(eta=0.5)


@pytest.mark.parametrize(
    ("name", "options", "named"),
    [
        ("dpm2", {}, "no sampler 'dpm2'.*Did you mean dpm2"),
        ("dpm2m", {"eta": 0.5}, "option eta came for the sampler dpm2m, which has no options"),
        ("ancestral", {"eta": 0.5}, "which has variance"),
        ("ddim", {"eta": 2.0}, "eta=2.0 came"),
    ],
)
def test_what_there_is_not_is_refused_with_what_there_is(name, options, named):
    with pytest.raises(EbbtideError, match=named):
        sampler(name, **options)
