"""A table asked at any t: its own levels at its own times, and a smooth fall in between."""

import math
from itertools import pairwise

import pytest
import torch
from scipy.interpolate import PchipInterpolator

from ebbtide.schedules import (
    CosineSchedule,
    InterpolatedSchedule,
    NormalSchedule,
    TableSchedule,
    constant_schedule,
    discretised,
    level_of_log_abar,
    linear_schedule,
    log_abar_of_level,
    table,
)
from parts import SCHEDULES, slopes

TABLES = {name: schedule for name, schedule in SCHEDULES.items() if isinstance(schedule, TableSchedule)} | {
    "one step": table([0.3]),
    "two steps": table([0.999, 1e-6]),
    "uneven": table([1e-9, 0.5, 1e-5, 0.999, 0.999, 1e-7]),
}


@pytest.fixture(params=TABLES)
def betas(request):
    return TABLES[request.param]


def test_at_its_own_times_it_is_the_table(betas):
    times = torch.arange(betas.steps + 1, dtype=torch.float64) / betas.steps
    ours, theirs = InterpolatedSchedule(betas).level(times), betas.level(times)
    assert torch.allclose(ours.alpha, theirs.alpha, rtol=1e-12, atol=0)
    # t itself is known to one part in 1e16 of the whole, of which a first step is a part
    assert torch.allclose(ours.sigma, theirs.sigma, rtol=1e-12, atol=0)
    assert ours.alpha[0] == 1
    assert ours.sigma[0] == 0


def test_log_snr_falls_strictly_between_them(betas):
    schedule = InterpolatedSchedule(betas)
    assert schedule.steps is None
    level = schedule.level(torch.linspace(0, 1, 50 * betas.steps + 1, dtype=torch.float64))
    assert (level.log_snr.diff() < 0).all()
    # each scale is off by a few units of its last place at most, and so is its square
    assert ((level.alpha.square() + level.sigma.square()) - 1).abs().max() <= 16 * 2.0**-52


def test_its_slope_is_continuous_and_nowhere_0(betas):
    schedule, steps = InterpolatedSchedule(betas), betas.steps

    def slope(t):
        times = t.clone().requires_grad_()
        (found,) = torch.autograd.grad(log_abar_of_level(schedule.level(times)).sum(), times)
        return found

    knots = torch.arange(1, steps, dtype=torch.float64) / steps
    before, after = slope(knots - 1e-9 / steps), slope(knots + 1e-9 / steps)
    mean = steps * torch.log1p(-betas.betas)
    assert torch.allclose(before, after, rtol=1e-6, atol=1e-7 * float(mean.abs().max()))
    ends = torch.tensor([1e-12, 1 - 1e-12], dtype=torch.float64)
    mean = mean[[0, -1]]
    assert (slope(ends) <= 0.099 * mean).all()
    assert (slope(ends) >= 1.501 * mean).all()


@pytest.mark.parametrize("name", ["list", "constant", "linear"])
def test_it_is_the_monotone_cubic_of_log_abar(name):
    betas = TABLES[name]
    knots = torch.arange(betas.steps + 1, dtype=torch.float64) / betas.steps
    log_abar = torch.cat([torch.zeros(1, dtype=torch.float64), torch.log1p(-betas.betas).cumsum(0)])
    theirs = PchipInterpolator(knots.numpy(), log_abar.numpy())
    # at a flat end ours keeps a slope
    last = 1 - (1 / betas.steps if name == "list" else 0)
    t = torch.linspace(1 / betas.steps if name == "list" else 1e-9, last, 400, dtype=torch.float64)
    expected = level_of_log_abar(torch.from_numpy(theirs(t.numpy())))
    ours = InterpolatedSchedule(betas).level(t)
    assert torch.allclose(ours.log_snr, expected.log_snr, rtol=1e-9, atol=1e-9)


def test_of_a_constant_beta_it_is_the_exponential():
    """abar = (1 - beta)^(T t), and sigma grows as the root of t before the first step."""
    t = torch.cat([torch.logspace(-12, -1, 50, dtype=torch.float64), torch.linspace(0.1, 1, 77, dtype=torch.float64)])
    ours = InterpolatedSchedule(constant_schedule(0.1, 10)).level(t)
    exact = level_of_log_abar(10 * math.log1p(-0.1) * t)
    assert torch.allclose(ours.sigma, exact.sigma, rtol=1e-12, atol=0)
    assert torch.allclose(ours.alpha, exact.alpha, rtol=1e-12, atol=0)


@pytest.mark.parametrize("schedule", [CosineSchedule(), NormalSchedule(mean=-2.0)], ids=["cosine", "normal"])
def test_tables_of_a_smooth_schedule_come_back_to_it(schedule):
    t = torch.linspace(0.3, 0.9, 301, dtype=torch.float64)
    exact = schedule.level(t).log_snr
    errors = [
        float((InterpolatedSchedule(discretised(schedule, steps, "any")).level(t).log_snr - exact).abs().max())
        for steps in (20, 40, 80, 160)
    ]
    assert min(slopes(errors)) > 1.8
    assert errors[-1] < 1e-4
    assert all(fine < coarse for coarse, fine in pairwise(errors))


def test_float32_times_are_understood():
    schedule, t = InterpolatedSchedule(linear_schedule()), torch.linspace(0.1, 1, 17, dtype=torch.float64)
    assert torch.allclose(schedule.level(t.float()).log_snr, schedule.level(t).log_snr, rtol=1e-4, atol=1e-5)
