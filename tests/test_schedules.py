"""Items B1-B4: schedules against their papers' formulas in high precision; grids and draws of t."""

import math
from itertools import pairwise

import mpmath
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mpmath import mpf

from ebbtide.errors import EbbtideError
from ebbtide.levels import Level
from ebbtide.schedules import (
    CosineSchedule,
    FunctionSchedule,
    NormalSchedule,
    SigmoidSchedule,
    betas_of_level,
    constant_schedule,
    discretised,
    lecture_schedule,
    level_of_betas,
    level_of_log_abar,
    linear_schedule,
    log_abar_of_level,
    steps_to_forget,
    table,
)
from parts import SCHEDULES, times_of

mpmath.mp.dps = 60
ULP = 2.0**-52
WHOLE_COSINE = CosineSchedule(last_log_snr=-math.inf)
WHOLE_SIGMOID = SigmoidSchedule(last_log_snr=-math.inf)


def at(t):
    return torch.tensor(t, dtype=torch.float64)


@pytest.fixture(params=SCHEDULES)
def schedule(request):
    return SCHEDULES[request.param]


# --- every schedule ---------------------------------------------------------------------------------------------------


def test_at_0_nothing_is_corrupted(schedule):
    start = schedule.level(at([0.0, 0.0]))
    assert start.alpha.tolist() == [1, 1]
    assert start.sigma.tolist() == [0, 0]


def test_signal_and_noise_always_share_one_unit_of_power(schedule):
    level = schedule.level(times_of(schedule, 50))
    # each scale is off by a few units of its last place at most, and so is its square
    assert ((level.alpha.square() + level.sigma.square()) - 1).abs().max() <= 16 * ULP


def test_signal_falls_and_noise_rises(schedule):
    level = schedule.level(torch.cat([at([0.0]), times_of(schedule, 8)]))
    assert (level.alpha.diff() < 0).all()
    assert (level.sigma.diff() > 0).all()
    assert (level.log_snr.diff() < 0).all()


def test_a_level_depends_on_its_own_time_only(schedule):
    t = times_of(schedule)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    whole, alone = schedule.level(t[order]), [schedule.level(one) for one in t[order]]
    assert torch.equal(whole.alpha, torch.stack([level.alpha for level in alone]))
    assert torch.equal(whole.sigma, torch.stack([level.sigma for level in alone]))


def test_times_in_float32_are_understood(schedule):
    t = times_of(schedule)
    low, high = schedule.level(t.float()), schedule.level(t)
    assert torch.allclose(low.alpha, high.alpha, rtol=1e-4)


# --- tables -----------------------------------------------------------------------------------------------------------


def abars(betas):
    """Exact running products of 1 - beta, one for each step."""
    products, whole = [], mpf(1)
    for beta in betas.tolist():
        whole *= 1 - mpf(beta)
        products.append(whole)
    return products


def test_the_two_linear_tables_are_their_formulas_and_differ():
    ho, lecture = linear_schedule().betas.tolist(), lecture_schedule().betas.tolist()
    assert ho == pytest.approx([1e-4 + i * (0.02 - 1e-4) / 999 for i in range(1000)], rel=1e-12)
    assert lecture == pytest.approx([1e-4 + 0.02 * i / 1000 for i in range(1, 1001)], rel=1e-12)
    differences = [b - a for a, b in zip(ho, lecture, strict=True)]
    assert min(differences) > 1e-5
    assert max(differences) < 2e-4


@pytest.mark.parametrize("steps", [21, 100, 4000])
def test_a_linear_table_of_another_length_adds_as_much_noise_in_all(steps):
    assert linear_schedule(steps).betas.sum().item() == pytest.approx(1000 * (1e-4 + 0.02) / 2, rel=1e-12)


@pytest.mark.parametrize("steps", [1, 5, 20])
def test_a_short_linear_table_still_holds_variances_below_1(steps):
    betas = linear_schedule(steps).betas
    assert len(betas) == steps
    assert betas.max() <= 0.999
    assert betas[0].item() == pytest.approx(0.1 / steps)


@pytest.mark.parametrize("beta", [1e-4, 0.02, 0.5, 0.999])
def test_constant_tables_forget_geometrically(beta):
    made = constant_schedule(beta, 30)
    for step in (1, 2, 17, 30):
        abar = (1 - mpf(beta)) ** step
        level = made.level(at(step / 30))
        assert level.alpha.item() == pytest.approx(float(mpmath.sqrt(abar)), rel=1e-12)
        assert level.sigma.item() == pytest.approx(float(mpmath.sqrt(1 - abar)), rel=1e-12)


@pytest.mark.parametrize(
    ("beta", "bits", "power"), [(0.02, 1e-3, 1.0), (0.5, 1e-6, 1.0), (1e-3, 0.1, 4.0), (0.9, 1, 0)]
)
def test_steps_to_forget_is_the_least_number_that_does(beta, bits, power):
    def left(steps):
        abar = (1 - mpf(beta)) ** steps
        return (abar * power + (1 - abar) - 1 - mpmath.log(1 - abar)) / 2 / mpmath.log(2)

    steps = steps_to_forget(beta, bits, power)
    assert left(steps) <= bits
    assert steps == 1 or left(steps - 1) > bits


def test_a_constant_table_without_a_length_has_the_length_that_forgets():
    assert constant_schedule(0.02).steps == steps_to_forget(0.02, 1e-3, 1.0)


@pytest.mark.parametrize("betas", [[], [0.1, 0.0], [1.0], [-0.1], [0.2, math.nan], [0.1, 2.0]])
def test_lists_that_are_no_variances_are_refused(betas):
    with pytest.raises(EbbtideError):
        table(betas)


@pytest.mark.parametrize("make", [linear_schedule, lecture_schedule, lambda n: discretised(WHOLE_COSINE, n, "cosine")])
@pytest.mark.parametrize("steps", [0, -3])
def test_tables_without_steps_are_refused(make, steps):
    with pytest.raises(EbbtideError, match="steps"):
        make(steps)


@pytest.mark.parametrize("beta", [0.0, 1.0, -0.1, 1.5])
def test_constants_outside_0_and_1_are_refused(beta):
    for make in (constant_schedule, steps_to_forget):
        with pytest.raises(EbbtideError, match="beta"):
            make(beta)
    with pytest.raises(EbbtideError, match="bits"):
        steps_to_forget(0.1, bits=0.0)


@pytest.mark.parametrize("t", [0.05, 0.9995])
def test_a_table_refuses_times_that_it_does_not_know(t):
    with pytest.raises(EbbtideError, match="l/10"):
        table([0.1] * 10).level(at([0.5, t]))


def test_a_list_is_read_as_it_stands():
    betas = [0.1, 0.02, 0.5]
    level = table(betas).level(at([1 / 3, 2 / 3, 1]))
    assert level.alpha.square().tolist() == pytest.approx([0.9, 0.9 * 0.98, 0.9 * 0.98 * 0.5], rel=1e-14)


# --- conversions ------------------------------------------------------------------------------------------------------

TABLES = {
    "linear": linear_schedule().betas,
    "lecture": lecture_schedule().betas,
    "tiny": torch.full((30,), 1e-9, dtype=torch.float64),
    "all but gone": torch.full((20,), 0.999, dtype=torch.float64),
    "mixed": at([1e-12, 1e-6, 0.3, 0.999, 0.5]),
    "cosine": discretised(WHOLE_COSINE, 100, "cosine").betas,
}


@pytest.mark.parametrize("name", TABLES)
def test_scales_ratios_and_log_ratios_of_a_table_are_exact(name):
    betas = TABLES[name]
    level = level_of_betas(betas)
    exact = abars(betas)

    def agrees(ours, theirs, rel=1e-12):
        assert ours.tolist() == pytest.approx([float(value) for value in theirs], rel=rel)

    agrees(level.alpha, [mpmath.sqrt(a) for a in exact])
    agrees(level.sigma, [mpmath.sqrt(1 - a) for a in exact])
    agrees(log_abar_of_level(level), [mpmath.log(a) for a in exact])
    agrees(level.snr, [a / (1 - a) for a in exact])
    agrees(Level.of_snr(level.snr).alpha, [mpmath.sqrt(a) for a in exact])
    agrees(Level.of_snr(level.snr).sigma, [mpmath.sqrt(1 - a) for a in exact])
    agrees(table(betas).abars, exact)
    agrees(table(betas).gammas, [mpmath.sqrt(1 - mpf(beta)) for beta in betas.tolist()])
    agrees(level.log_snr, [mpmath.log(a / (1 - a)) for a in exact])


@pytest.mark.parametrize("name", TABLES)
def test_a_tables_variances_come_back_from_its_levels(name):
    betas = TABLES[name]
    by_level = betas_of_level(level_of_betas(betas))
    by_log_snr = betas_of_level(Level.of_log_snr(level_of_betas(betas).log_snr))
    # log abar is known to half a unit of its last place, and a variance is a difference of two of them
    known = 1e-12 * betas + 4 * 2.0**-52 * torch.log1p(-betas).cumsum(0).abs()
    assert ((by_level - betas).abs() <= known).all()
    assert ((by_log_snr - betas).abs() <= 10 * known).all()


@pytest.mark.parametrize("exponent", [-300.0, -40.0, -1.0, -1e-3, -1e-9, -1e-18, -1e-300])
def test_log_abar_comes_back_from_its_level_at_both_ends(exponent):
    level = level_of_log_abar(at(exponent))
    assert level.sigma.item() == pytest.approx(float(mpmath.sqrt(-mpmath.expm1(mpf(exponent)))), rel=1e-13)
    assert log_abar_of_level(level).item() == pytest.approx(exponent, rel=1e-12)
    again = Level.of_log_snr(level.log_snr)
    assert again.alpha.item() == pytest.approx(level.alpha.item(), rel=1e-12)
    assert again.sigma.item() == pytest.approx(level.sigma.item(), rel=1e-12)


def test_the_ends_of_abar_are_data_and_noise():
    ends = level_of_log_abar(at([0.0, -math.inf]))
    assert ends.alpha.tolist() == [1, 0]
    assert ends.sigma.tolist() == [0, 1]
    assert log_abar_of_level(ends).tolist() == [0, -math.inf]


# --- continuous schedules ---------------------------------------------------------------------------------------------


def logistic(x):
    return 1 / (1 + mpmath.exp(-mpf(x)))


def cosine_abar(t, offset=0.008, last=-math.inf):
    first = mpf(offset) / (1 + mpf(offset)) * mpmath.pi / 2
    end = mpmath.acos(mpmath.sqrt(logistic(last)) * mpmath.cos(first))
    return (mpmath.cos(first + mpf(t) * (end - first)) / mpmath.cos(first)) ** 2


def sigmoid_abar(t, start=-3, end=3, tau=1, last=-math.inf):
    a, b = mpf(start) / mpf(tau), mpf(end) / mpf(tau)
    whole = logistic(b) - logistic(a)
    at_last = logistic(b) - logistic(last) * whole
    x = a + mpf(t) * ((mpmath.log(at_last / (1 - at_last)) if last > -math.inf else b) - a)
    return (logistic(b) - logistic(x)) / whole


FORMULAS = {
    "cosine": (CosineSchedule(), lambda t: cosine_abar(t, last=-15)),
    "whole cosine": (WHOLE_COSINE, cosine_abar),
    "cosine from 0": (CosineSchedule(0.0, -30.0), lambda t: cosine_abar(t, 0, -30)),
    "sigmoid": (SigmoidSchedule(), lambda t: sigmoid_abar(t, last=-15)),
    "whole sigmoid": (WHOLE_SIGMOID, sigmoid_abar),
    "steep sigmoid": (SigmoidSchedule(-1.0, 4.0, 0.5, -math.inf), lambda t: sigmoid_abar(t, -1, 4, 0.5)),
}


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("t", [1e-30, 1e-12, 1e-3, 0.1, 0.5, 0.77, 0.999, 1 - 1e-12, 1.0])
def test_continuous_schedules_are_their_papers_formulas_to_the_last_digits_at_both_ends(name, t):
    """A scale is the root of a product of some five factors, each right to a few units of its last place."""
    schedule, formula = FORMULAS[name]
    abar, level = formula(mpf(t)), schedule.level(at(t))
    assert level.alpha.item() == pytest.approx(float(mpmath.sqrt(abs(abar))), rel=16 * ULP, abs=1e-29)
    assert level.sigma.item() == pytest.approx(float(mpmath.sqrt(1 - abar)), rel=16 * ULP)


@pytest.mark.parametrize("last", [-15.0, -8.0, -30.0])
@pytest.mark.parametrize("kind", [CosineSchedule, SigmoidSchedule, NormalSchedule])
def test_continuous_schedules_end_at_the_log_snr_they_name(kind, last):
    assert kind(last_log_snr=last).level(at(1.0)).log_snr.item() == pytest.approx(last, rel=64 * ULP)


def test_a_normal_schedule_ends_there_also_if_no_probability_is_left_to_tell_it():
    assert NormalSchedule(mean=1.0, std=0.1).level(at(1.0)).log_snr.item() == pytest.approx(-15, rel=64 * ULP)


@pytest.mark.parametrize("t", [1.5, -1e-9, 1 + 1e-9, math.nan])
def test_times_beyond_data_and_noise_are_refused(schedule, t):
    with pytest.raises(EbbtideError, match="expected times from 0 \\(data\\) to 1 \\(noise\\)"):
        schedule.level(at([0.5, t]))


@given(
    start=st.floats(-9, 0), width=st.floats(0.5, 15), tau=st.floats(0.3, 3), last=st.sampled_from([-15.0, -math.inf])
)
@example(start=-9.0, width=10.0, tau=0.3, last=-math.inf)
@example(start=-6.0, width=7.0, tau=0.7, last=-math.inf)
@settings(max_examples=60, deadline=None)
def test_sigmoid_schedules_are_levels_whatever_their_ends(start, width, tau, last):
    level = SigmoidSchedule(start, start + width, tau, last).level(torch.linspace(0, 1, 101, dtype=torch.float64))
    assert (level.alpha.diff() < 0).all()
    assert ((level.alpha.square() + level.sigma.square()) - 1).abs().max() <= 16 * ULP
    assert level.alpha[-1] < 1e-3


@pytest.mark.parametrize(("kind", "formula"), [(WHOLE_COSINE, cosine_abar), (WHOLE_SIGMOID, sigmoid_abar)])
@pytest.mark.parametrize("steps", [1, 10, 1000])
def test_discretised_schedules_are_the_papers_betas(kind, formula, steps):
    exact = [formula(mpf(step) / steps) for step in range(steps + 1)]
    betas = [min(float(1 - after / before), 0.999) for before, after in pairwise(exact)]
    assert discretised(kind, steps, "any").betas.tolist() == pytest.approx(betas, rel=1e-9)


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        *(
            (SigmoidSchedule, wrong)
            for wrong in ((3.0, -3.0, 1.0), (1.0, 1.0, 1.0), (-3.0, 3.0, 0.0), (-math.inf, 3.0))
        ),
        *((CosineSchedule, wrong) for wrong in ((-0.1,), (math.nan,), (0.008, math.inf), (0.008, math.nan))),
    ],
)
def test_continuous_schedules_that_do_not_fall_are_refused(kind, wrong):
    with pytest.raises(EbbtideError, match="came, expected"):
        kind(*wrong)


def test_a_function_of_log_snr_and_of_abar_that_mean_the_same_are_the_same():
    by_snr = FunctionSchedule(lambda t: 10 - 20 * t)
    by_abar = FunctionSchedule(lambda t: torch.sigmoid(10 - 20 * t), of="abar")
    t = torch.linspace(0.01, 1, 17, dtype=torch.float64)
    assert torch.allclose(by_snr.level(t).alpha, by_abar.level(t).alpha, rtol=1e-12)
    assert torch.allclose(by_snr.level(t).log_snr, 10 - 20 * t, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("function", [lambda t: 5 * t, lambda t: t * torch.nan, lambda t: torch.sin(9 * t)])
def test_functions_that_rise_or_are_not_finite_are_refused(function):
    with pytest.raises(EbbtideError, match="fall"):
        FunctionSchedule(function)


def test_a_function_that_gives_no_number_for_each_time_is_refused():
    with pytest.raises(EbbtideError, match=r"gave shape \(\) for times of shape \(512,\)"):
        FunctionSchedule(lambda t: t.sum())


@pytest.mark.parametrize("function", [lambda t: 2 - t, lambda t: 0.5 - t, lambda t: t])
def test_functions_that_are_no_abar_are_refused(function):
    with pytest.raises(EbbtideError, match="abar"):
        FunctionSchedule(function, of="abar")


def test_a_function_of_something_unknown_is_refused():
    with pytest.raises(EbbtideError, match="log_snr"):
        FunctionSchedule(lambda t: -t, of="snr")


NORMAL = NormalSchedule(mean=0.5, std=1.7)


def test_log_snr_of_the_normal_schedule_is_normal_over_uniform_t():
    t = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000
    log_snr = NORMAL.level(t).log_snr
    assert abs(float(log_snr.mean()) - 0.5) < 1e-3
    assert abs(float(log_snr.std()) - 1.7) < 2e-3
    for share, quantile in ((0.1, -1.2815515655446004), (0.5, 0.0), (0.9, 1.2815515655446004)):
        # from the noisy end down: a share `share` of the draws has less log-SNR than its quantile
        assert abs(float(NORMAL.level(at(1 - share)).log_snr) - (0.5 + 1.7 * quantile)) < 1e-6


@pytest.mark.parametrize("t", [1e-12, 1e-3, 0.3, 0.5, 0.9, 1 - 1e-9, 1.0])
def test_the_normal_schedule_keeps_its_digits(t):
    end = mpmath.ncdf((mpf(0.5) + 15) / mpf(1.7))
    u = mpf(t) * end
    quantile = mpmath.sqrt(2) * mpmath.erfinv(2 * u - 1)
    expected = mpf(0.5) - mpf(1.7) * quantile
    assert abs(float(NORMAL.level(at(t)).log_snr) - float(expected)) < 1e-9 * max(1.0, abs(float(expected)))


def test_the_normal_schedule_begins_clean_and_ends_at_its_last_log_snr():
    level = NORMAL.level(at([0.0, 1.0]))
    assert level.alpha[0] == 1
    assert level.sigma[0] == 0
    assert abs(float(level.log_snr[1]) + 15) < 1e-9


@pytest.mark.parametrize("wrong", [{"std": 0.0}, {"std": math.inf}, {"mean": math.nan}, {"mean": -16.0}])
def test_a_normal_schedule_that_is_none_is_refused(wrong):
    with pytest.raises(EbbtideError, match="came, expected"):
        NormalSchedule(**wrong)
