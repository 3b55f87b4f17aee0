"""Draws of t that training learns from, and the time of a level."""

import math

import pytest
import torch
from scipy.stats import kstest

from ebbtide.errors import EbbtideError
from ebbtide.schedules import (
    CosineSchedule,
    FunctionSchedule,
    InterpolatedSchedule,
    SigmoidSchedule,
    table,
)
from ebbtide.times import draw_times, nearest, time_of
from parts import SCHEDULES, SIGMAS, seeded

ULP = 2.0**-52
WHOLE_COSINE = CosineSchedule(last_log_snr=-math.inf)
WHOLE_SIGMOID = SigmoidSchedule(last_log_snr=-math.inf)


def at(t):
    return torch.tensor(t, dtype=torch.float64)


def test_nearest_rounds_to_the_tables_times_and_never_to_0():
    t = at([0.0, 1e-9, 0.04, 0.26, 0.98, 1.0])
    assert nearest(table([0.1] * 10), t).tolist() == pytest.approx([0, 0.1, 0.1, 0.3, 1.0, 1.0])
    assert torch.equal(nearest(WHOLE_COSINE, t), t)


@pytest.mark.parametrize("name", ["cosine", "linear", "list"])
def test_each_drawn_time_is_uniform(name):
    schedule, generator = SCHEDULES[name], seeded(3)
    one_place = torch.stack([draw_times(5, schedule, generator)[2] for _ in range(3000)])
    if schedule.steps is None:
        assert kstest(one_place.numpy(), "uniform").pvalue > 1e-6
        return
    bins = min(schedule.steps, 10)
    counts = torch.histc(one_place - 1e-9, bins, 0, 1)
    expected = 3000 / bins
    assert (counts - expected).abs().max() < SIGMAS * (expected * (1 - 1 / bins)) ** 0.5


@pytest.mark.parametrize("count", [1, 7, 64])
def test_a_batch_of_times_visits_every_part_of_a_continuous_schedule_once(count):
    for seed in range(20):
        t = draw_times(count, WHOLE_COSINE, seeded(seed))
        assert t.min() > 0
        assert t.max() <= 1
        assert sorted((t * count).ceil().long().tolist()) == list(range(1, count + 1))


@pytest.mark.parametrize(("steps", "count"), [(8, 8), (8, 24), (100, 13), (3, 1)])
def test_a_batch_of_times_is_spread_over_a_tables_steps(steps, count):
    made = table([0.1] * steps)
    for seed in range(20):
        index = draw_times(count, made, seeded(seed)) * steps
        assert torch.allclose(index, index.round())
        hits = torch.bincount(index.round().long(), minlength=steps + 1)
        assert hits[0] == 0
        assert len(hits) == steps + 1
        assert hits[1:].max() <= math.ceil(count / steps)
        assert hits[1:].min() >= count // steps


def test_the_order_of_times_is_independent_of_the_examples():
    """In a batch of four, each place gets each quarter equally often."""
    generator, trials = seeded(1), 2000
    quarters = torch.stack([(draw_times(4, WHOLE_COSINE, generator) * 4).ceil() for _ in range(trials)])
    for place in range(4):
        shares = torch.bincount(quarters[:, place].long() - 1, minlength=4) / trials
        assert (shares - 0.25).abs().max() < SIGMAS * (0.25 * 0.75 / trials) ** 0.5


ENDLESS = {name: schedule for name, schedule in SCHEDULES.items() if schedule.steps is None} | {
    "whole cosine": WHOLE_COSINE,
    "whole sigmoid": WHOLE_SIGMOID,
    "interpolated": InterpolatedSchedule(SCHEDULES["linear"]),
    "uneven": InterpolatedSchedule(SCHEDULES["list"]),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_the_time_of_a_level_has_that_level(name):
    schedule = ENDLESS[name]
    t = torch.cat([torch.logspace(-30, -2, 15, dtype=torch.float64), torch.linspace(0.02, 0.999, 51)]).reshape(3, 22)
    log_snr = schedule.level(t).log_snr
    found = time_of(schedule, log_snr)
    assert found.shape == t.shape
    # 2 log(alpha / sigma), each scale and its log off by a few units of its last place, otherwise at each time
    assert torch.allclose(schedule.level(found).log_snr, log_snr, rtol=64 * ULP, atol=64 * ULP)
    # some levels keep the digits of a small t; others are found from a sum with t in it
    known = 0.0 if name in ("normal", "interpolated", "uneven") else 1e-15
    assert torch.allclose(found, t, rtol=1e-9, atol=known)


def test_the_time_of_a_level_is_the_formulas():
    line, log_snr = FunctionSchedule(lambda t: 10 - 20 * t), at([[9.0, 0.0], [-3.0, -9.5]])
    assert torch.allclose(time_of(line, log_snr), (10 - log_snr) / 20, rtol=1e-13)
    power = FunctionSchedule(lambda t: -3 * t.log())
    assert torch.allclose(time_of(power, at([600.0, 90.0, 1e-3])), at([-200.0, -30.0, -1e-3 / 3]).exp(), rtol=1e-12)
    assert time_of(line, at(0.0)).shape == ()


def test_what_no_time_has_is_held_at_the_ends():
    ends = at([math.inf, -16.0, -math.inf])
    assert time_of(SCHEDULES["cosine"], ends).tolist() == [0, 1, 1]
    # clean at 0 exactly, at 10 just after: what lies between has no time of its own
    assert 0 <= time_of(FunctionSchedule(lambda t: 10 - 20 * t), at(11.0)) < 1e-300


def test_a_flat_stretch_is_told_by_its_first_time():
    stairs = FunctionSchedule(lambda t: 5 - 10 * (t * 4).ceil() / 4)
    assert time_of(stairs, at(0.0)).item() == pytest.approx(0.25, abs=1e-15)


def test_a_table_has_no_time_for_every_level():
    with pytest.raises(EbbtideError, match="table of 8 steps"):
        time_of(SCHEDULES["list"], at([0.0]))


def test_what_is_no_time_has_no_nearest():
    with pytest.raises(EbbtideError, match=r"t = 1\.5 came"):
        nearest(SCHEDULES["list"], at([0.5, 1.5]))
