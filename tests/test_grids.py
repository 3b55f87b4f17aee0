"""Grids of times: where each rule puts them, on any schedule, from 1 step on, ending at 0."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ebbtide.errors import EbbtideError
from ebbtide.grids import GRIDS, grid_by_name, karras_grid, log_snr_grid, quadratic_grid, spread_grid, uniform_grid
from ebbtide.schedules import FunctionSchedule, table
from ebbtide.times import nearest
from parts import SCHEDULES

CONTINUOUS = [name for name, schedule in SCHEDULES.items() if schedule.steps is None]


def at(*t):
    return torch.tensor(t, dtype=torch.float64)


def noise_ratio(schedule, times):
    return torch.exp(-0.5 * schedule.level(times).log_snr)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("start", [1.0, 0.6])
def test_every_grid_falls_from_its_start_to_0_on_times_that_the_schedule_knows(grid, name, steps, start):
    schedule = SCHEDULES[name]
    if schedule.steps is not None and round(start * schedule.steps) < steps:
        pytest.skip("the table has fewer steps")
    found = GRIDS[grid](schedule, steps, start)
    assert found.shape == (steps + 1,)
    assert found.dtype == torch.float64
    assert found[-1] == 0
    assert (found.diff() < 0).all()
    assert found[0] <= float(nearest(schedule, at(start)))
    schedule.level(found)  # a table refuses times that are not its own


@given(steps=st.integers(1, 60), count=st.integers(1, 60), start=st.floats(0.001, 1), grid=st.sampled_from(list(GRIDS)))
@settings(max_examples=150, deadline=None)
def test_a_table_gives_as_many_times_as_it_has_and_no_more(steps, count, start, grid):
    made = table([0.1] * steps)
    available = round(float(nearest(made, at(start))[0]) * steps)
    if count <= available:
        found = GRIDS[grid](made, count, start)
        assert len(found) == count + 1
        assert (found.diff() < 0).all()
        assert torch.allclose((found * steps).round(), found * steps, rtol=0, atol=1e-9)
        if count == available:
            assert found.tolist() == pytest.approx([k / steps for k in range(available, -1, -1)])
    else:
        with pytest.raises(EbbtideError, match=f"at most {available}"):
            GRIDS[grid](made, count, start)


@pytest.mark.parametrize("grid", ["log-snr", "karras"])
def test_grids_by_noise_on_a_table_of_much_noise_begin_earlier_where_their_steps_would_not_fit(grid):
    made = table([0.02] * 1000)  # 366 of them have less noise than most
    few, all_but_one = GRIDS[grid](made, 100, 1.0), GRIDS[grid](made, 999, 1.0)
    assert few[0] < 0.4
    assert all_but_one[0] > 0.99
    assert GRIDS[grid](made, 1000, 1.0).tolist() == pytest.approx([k / 1000 for k in range(1000, -1, -1)])


def test_times_that_a_flat_schedule_cannot_tell_apart_are_refused():
    stairs = FunctionSchedule(lambda t: 5 - 10 * (t * 4).ceil() / 4)
    with pytest.raises(EbbtideError, match="one level at several"):
        log_snr_grid(stairs, 9)


@pytest.mark.parametrize("grid", ["uniform", "quadratic"])
def test_grids_in_t_on_a_long_table_are_within_half_a_step_of_the_rule(grid):
    made = table([0.02] * 1000)
    share = torch.linspace(1, 0, 11, dtype=torch.float64)
    rule = share if grid == "uniform" else share.square()
    assert (GRIDS[grid](made, 10, 1.0) - rule).abs().max() <= 0.5 / 1000 + 1e-12


@pytest.mark.parametrize("name", CONTINUOUS)
def test_grids_by_noise_are_even_where_they_say(name):
    schedule = SCHEDULES[name]
    logs = noise_ratio(schedule, log_snr_grid(schedule, 9)[:-1]).log()
    assert torch.allclose(logs.diff(), logs.diff()[:1].expand(8), rtol=1e-6)
    roots = noise_ratio(schedule, karras_grid(schedule, 9, rho=3.0)[:-1]) ** (1 / 3)
    assert torch.allclose(roots.diff(), roots.diff()[:1].expand(8), rtol=1e-6)
    assert float(logs[-1]) == pytest.approx(math.log(0.02), rel=1e-6)


def test_the_first_time_is_the_start_where_it_has_little_noise():
    schedule = SCHEDULES["normal"]
    for grid in (karras_grid, log_snr_grid):
        for start in (0.001, 0.0007):  # float32 would round one up and the other down
            assert float(grid(schedule, 4, start)[0]) == start


@pytest.mark.parametrize("grid", ["log-snr", "karras"])
def test_grids_by_noise_on_a_table_take_the_times_nearest_in_noise(grid):
    fine, smooth = SCHEDULES["linear"], SCHEDULES["normal"]
    on_table = noise_ratio(fine, GRIDS[grid](fine, 6, 1.0)[:-1]).log()
    free = noise_ratio(smooth, GRIDS[grid](smooth, 6, 1.0)[:-1]).log()
    steps = fine.level(torch.arange(1, 1001, dtype=torch.float64) / 1000).log_snr.diff().abs().max()
    assert (on_table - free).abs().max() <= steps


def test_a_flat_density_is_even_in_log_snr_and_a_steep_one_draws_the_times_to_it():
    schedule = SCHEDULES["cosine"]
    log_snr = torch.linspace(-7, 7, 200, dtype=torch.float64)
    found = schedule.level(spread_grid(schedule, 8, log_snr, torch.ones_like(log_snr))[:-1]).log_snr
    assert torch.allclose(found, torch.linspace(-7, 7, 8, dtype=torch.float64), atol=1e-6)
    steep = torch.exp(-log_snr.square())
    drawn = schedule.level(spread_grid(schedule, 9, log_snr, steep)[:-1]).log_snr
    half = torch.erf(drawn)  # the integral of the density, but for a factor
    assert torch.allclose(half.diff(), half.diff()[:1].expand(8), atol=2e-3)


@pytest.mark.parametrize("grid", GRIDS)
def test_grids_that_lead_nowhere_are_refused(grid):
    for steps, start in ((0, 1.0), (-1, 1.0), (5, 0.0), (5, 1.5), (5, -0.5)):
        with pytest.raises(EbbtideError, match="came, expected"):
            GRIDS[grid](SCHEDULES["cosine"], steps, start)


def test_wrong_numbers_get_one_clear_line():
    schedule, line = SCHEDULES["cosine"], torch.linspace(-5, 5, 9, dtype=torch.float64)
    with pytest.raises(EbbtideError, match="0 < least < most"):
        karras_grid(schedule, 5, least=50.0)
    with pytest.raises(EbbtideError, match="no grid 'even'"):
        grid_by_name("even")
    with pytest.raises(EbbtideError, match="not positive at rising"):
        spread_grid(schedule, 5, line, torch.zeros_like(line))
    with pytest.raises(EbbtideError, match="ends before"):
        spread_grid(schedule, 5, line - 30, torch.ones_like(line), start=0.001)


def test_uniform_is_trailing_and_quadratic_is_shorter_near_the_data():
    made = SCHEDULES["linear"]
    assert float(uniform_grid(made, 7)[0]) == 1.0
    assert (quadratic_grid(made, 7)[1:-1] < uniform_grid(made, 7)[1:-1]).all()
