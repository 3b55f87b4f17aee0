"""Item C4's three processes: the papers' formulas, and the solutions of the moments' equations."""

import math

import mpmath
import pytest
import torch
from mpmath import mpf
from scipy.integrate import solve_ivp

from ebbtide.errors import EbbtideError
from ebbtide.schedules import Process, SubVpSchedule, VeSchedule, VpSchedule, discretised, level_of_betas, table
from parts import times_of

mpmath.mp.dps = 50
PROCESSES = {"vp": VpSchedule(), "sub-vp": SubVpSchedule(), "ve": VeSchedule()}
OTHERS = {"vp": VpSchedule(0.5, 3.0), "sub-vp": SubVpSchedule(2.0, 2.0), "ve": VeSchedule(0.3, 4.0)}
ALL = {**PROCESSES, **{f"another {name}": schedule for name, schedule in OTHERS.items()}}


def at(t):
    return torch.tensor(t, dtype=torch.float64)


def by_hand(schedule, t):
    """(alpha, sigma) of Song et al. 2021, eq. 29-31, in high precision."""
    t = mpf(t)
    if isinstance(schedule, VeSchedule):
        low, ratio = mpf(schedule.sigma_min), mpf(schedule.sigma_max) / mpf(schedule.sigma_min)
        return mpf(1), low * mpmath.sqrt(ratio ** (2 * t) - 1)
    low, high = mpf(schedule.beta_min), mpf(schedule.beta_max)
    alpha = mpmath.exp(-(t**2) * (high - low) / 4 - t * low / 2)
    return alpha, (mpmath.sqrt(1 - alpha**2) if isinstance(schedule, VpSchedule) else 1 - alpha**2)


@pytest.mark.parametrize("t", [1e-12, 1e-4, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("name", ALL)
def test_levels_are_the_papers_formulas_with_all_their_digits(name, t):
    level, (alpha, sigma) = ALL[name].level(at(t)), by_hand(ALL[name], t)
    assert float(level.alpha) == pytest.approx(float(alpha), rel=1e-13)
    assert float(level.sigma) == pytest.approx(float(sigma), rel=1e-13)


@pytest.mark.parametrize("name", ALL)
def test_a_process_begins_at_the_data_and_only_ever_loses_them(name):
    level = ALL[name].level(torch.cat([at([0.0]), times_of(ALL[name], 50)]))
    assert (float(level.alpha[0]), float(level.sigma[0])) == (1, 0)
    assert (level.alpha.diff() <= 0).all()
    assert (level.sigma.diff() > 0).all()
    assert (level.log_snr.diff() < 0).all()


@pytest.mark.parametrize("name", ALL)
def test_levels_solve_the_equations_of_the_moments(name):
    """dm/dt = f m and dP/dt = 2 f P + g², begun at (1, 0)."""
    schedule, times = ALL[name], torch.linspace(0, 1, 11, dtype=torch.float64)
    assert isinstance(schedule, Process)

    def slope(t, moments):
        f, g2 = (float(rate) for rate in schedule.rates(at(t)))
        return [f * moments[0], 2 * f * moments[1] + g2]

    path = solve_ivp(slope, (0, 1), [1.0, 0.0], method="DOP853", rtol=1e-12, atol=1e-14, t_eval=times.tolist()).y
    level = schedule.level(times)
    torch.testing.assert_close(torch.from_numpy(path[0]), level.alpha, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(torch.from_numpy(path[1]), level.sigma.square(), rtol=1e-8, atol=1e-10)


def test_variance_is_preserved_lost_a_little_and_exploding():
    t = torch.linspace(0, 1, 101, dtype=torch.float64)
    power = {name: (s := PROCESSES[name].level(t)).alpha.square() + s.sigma.square() for name in PROCESSES}
    assert (power["vp"] - 1).abs().max() < 1e-15
    assert power["sub-vp"].max() <= 1
    assert power["sub-vp"].min() < 0.8
    assert float(power["ve"][-1]) == pytest.approx(2501, rel=1e-3)
    assert (SubVpSchedule().level(t[1:]).sigma < VpSchedule().level(t[1:]).sigma).all()


def test_sub_vp_has_the_signal_of_vp_and_the_square_of_its_noise():
    t = torch.linspace(0, 1, 11, dtype=torch.float64)
    vp, sub = VpSchedule().level(t), SubVpSchedule().level(t)
    assert torch.equal(vp.alpha, sub.alpha)
    torch.testing.assert_close(sub.sigma, vp.sigma.square(), rtol=1e-13, atol=0)


def test_the_noise_of_ve_is_geometric_but_for_what_is_lacking_at_the_start():
    t = torch.linspace(0, 1, 11, dtype=torch.float64)
    whole = (VeSchedule().level(t).sigma.square() + 0.01**2).sqrt()
    torch.testing.assert_close(whole, 0.01 * 5000.0**t, rtol=1e-12, atol=0)


@pytest.mark.parametrize("steps", [500, 1000, 2000])
def test_hos_tables_tend_to_vp_as_their_steps_grow_many(steps):
    """beta_l = beta(l/T) / T: log abar differs by O(1/T)."""
    schedule = VpSchedule()
    t = torch.arange(1, steps + 1, dtype=torch.float64) / steps
    found = 2 * level_of_betas(schedule.beta(t) / steps).alpha.log()
    assert (found + schedule.integral(t)).abs().max() < 80 / steps


@pytest.mark.parametrize("name", ["sub-vp", "ve"])
def test_no_table_of_betas_is_made_of_levels_that_do_not_preserve_variance(name):
    with pytest.raises(EbbtideError, match="preserves variance"):
        discretised(PROCESSES[name], 100, name)


def test_a_table_of_vp_is_vp_at_its_times():
    made = discretised(VpSchedule(), 50, "vp")
    t = torch.arange(51, dtype=torch.float64) / 50
    torch.testing.assert_close(table(made.betas).level(t).sigma, VpSchedule().level(t).sigma, rtol=1e-10, atol=0)


@pytest.mark.parametrize("wrong", [(0.0, 20.0), (-1.0, 1.0), (3.0, 2.0), (0.1, math.inf), (math.nan, 1.0)])
@pytest.mark.parametrize("kind", [VpSchedule, SubVpSchedule])
def test_betas_that_are_no_rates_are_refused(kind, wrong):
    with pytest.raises(EbbtideError, match="beta_min"):
        kind(*wrong)


@pytest.mark.parametrize("wrong", [(0.0, 50.0), (2.0, 2.0), (3.0, 1.0), (0.1, math.inf), (math.nan, 1.0)])
def test_sigmas_that_do_not_explode_are_refused(wrong):
    with pytest.raises(EbbtideError, match="sigma_min"):
        VeSchedule(*wrong)
