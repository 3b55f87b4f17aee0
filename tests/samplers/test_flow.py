"""Solvers of dy/dn = eps: exact where eps is a polynomial in n, and careful at both ends."""

import math

import pytest
import torch

from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers import FiniteOracle, GaussianOracle
from ebbtide.errors import EbbtideError
from ebbtide.grids import uniform_grid
from ebbtide.samplers import (
    EULER,
    HEUN,
    HEUN3,
    KUTTA3,
    MIDPOINT,
    RK4,
    TABLEAUS,
    Adams,
    Counted,
    Ddim,
    RungeKutta,
    final,
    sample,
)
from ebbtide.samplers.tableaus import OPEN
from ebbtide.schedules import InterpolatedSchedule, SigmoidSchedule, table
from ebbtide.times import time_of
from parts import COSINE, noise, seeded, slopes
from problems import CENTER, GAUSSIAN, MATRIX, POLYNOMIAL, Slope, gaussian_flow, walk

TABLE = table(torch.linspace(1e-3, 0.3, 40, dtype=torch.float64))


def asked_at(sampler, denoiser, times, x):
    """The times at which the denoiser was asked."""
    seen = []

    class Seen:
        corruption = denoiser.corruption

        def __call__(self, xt, t, condition=None):
            seen.append(float(t[0]))
            return denoiser(xt, t, condition)

    walk(sampler, Seen(), times, x)
    return seen


# --- tableaus ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tableau", TABLEAUS.values(), ids=TABLEAUS)
def test_tableaus_meet_the_conditions_of_their_order(tableau):
    """Butcher's: for each rooted tree up to that order, its sum over the stages is 1 over the tree's density."""
    a = torch.zeros(len(tableau.last), len(tableau.last), dtype=torch.float64)
    for i, row in enumerate(tableau.inner):
        a[i + 1, : len(row)] = torch.tensor(row, dtype=torch.float64)
    b, c = torch.tensor(tableau.last, dtype=torch.float64), a.sum(1)
    trees = {
        1: [(b.sum(), 1)],
        2: [(b @ c, 2)],
        3: [(b @ c**2, 3), (b @ a @ c, 6)],
        4: [(b @ c**3, 4), (b @ (c * (a @ c)), 8), (b @ a @ c**2, 12), (b @ a @ a @ c, 24)],
    }
    met = {order: all(abs(total - 1 / density) < 1e-12 for total, density in trees[order]) for order in trees}
    assert [met[order] for order in range(1, tableau.order + 1)] == [True] * tableau.order
    assert not met.get(tableau.order + 1, False)
    assert tableau.shares == pytest.approx(c[1:].tolist())


def test_what_stands_in_never_asks_at_the_end():
    assert all(share < 1 for tableau in OPEN.values() for share in tableau.shares)
    assert [OPEN[order].order for order in (1, 2, 3, 4)] == [1, 2, 3, 3]


# --- steps ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", [RungeKutta(EULER), Adams(1)])
@pytest.mark.parametrize("schedule", [COSINE, TABLE], ids=["cosine", "table"])
def test_eulers_method_is_ddim(sampler, schedule):
    oracle = GaussianOracle(CENTER, MATRIX, GaussianCorruption(schedule))
    x, grid = noise(4, 2), uniform_grid(schedule, 5)
    ours, ddim = (final(sample(oracle, one, grid, x, seeded(0))) for one in (sampler, Ddim()))
    torch.testing.assert_close(ours, ddim, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("order", range(1, 5))
def test_adams_follows_polynomials_of_lower_degree_exactly(order):
    """From where enough is known on, through steps of unequal lengths."""
    denoiser, x, times = Slope(*POLYNOMIAL[:order]), noise(3, 2), [0.9, 0.86, 0.83, 0.78, 0.75, 0.71, 0.68]
    found = walk(Adams(order), denoiser, times, x)
    for index in range(order - 1, len(found)):
        expected = denoiser.carried(found[index - 1].xs if index else x, times[index], times[index + 1])
        torch.testing.assert_close(found[index].xs, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("tableau", TABLEAUS.values(), ids=TABLEAUS)
def test_runge_kutta_integrates_polynomials_of_lower_degree_exactly(tableau):
    denoiser, x = Slope(*POLYNOMIAL[: tableau.order]), noise(3, 2)
    (found,) = walk(RungeKutta(tableau), denoiser, [0.7, 0.65], x)
    torch.testing.assert_close(found.xs, denoiser.carried(x, 0.7, 0.65), rtol=1e-10, atol=1e-10)


# --- ends -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", [Adams(4), RungeKutta(EULER)])
def test_the_last_step_is_the_estimate_where_nothing_is_asked_on_the_way(sampler):
    *_, before, last = walk(sampler, GAUSSIAN, [0.6, 0.5, 0.4, 0.3, 0.0], noise(4, 2))
    assert torch.equal(last.xs, GAUSSIAN(before.xs, torch.full((4,), 0.3, dtype=torch.float64)).x0)


@pytest.mark.parametrize("sampler", [*(RungeKutta(tableau) for tableau in TABLEAUS.values()), Adams(4)])
def test_nothing_is_asked_where_no_noise_is_left(sampler):
    seen = asked_at(sampler, GAUSSIAN, [0.6, 0.4, 0.2, 0.0], noise(4, 2))
    assert min(seen) > 0


@pytest.mark.parametrize("tableau", [MIDPOINT, HEUN, HEUN3, KUTTA3, RK4])
def test_the_last_step_to_the_data_keeps_its_order(tableau):
    """Of steps of half the length, to the same end without noise: errors fall as the order of what stands in says.

    One step from n to 0, of a Gaussian: the error of a method of order p is of order n^(p + 1) or higher.
    """
    errors = []
    for n in (0.1, 0.05, 0.025):
        oracle = GaussianOracle(CENTER, MATRIX, GaussianCorruption(COSINE))
        t = time_of(COSINE, torch.tensor([-2 * math.log(n)], dtype=torch.float64))
        x = noise(16, 2)
        (moved,) = walk(RungeKutta(tableau), oracle, [float(t), 0.0], x)
        errors.append(float((moved.xs - gaussian_flow(x, float(t), 0.0, COSINE)).norm()))
    assert all(slope > OPEN[tableau.order].order + 0.7 for slope in slopes(errors))


def test_on_data_that_are_points_every_solver_gives_them_back():
    points = noise(4, 2, seed=5)
    oracle = FiniteOracle(points, GaussianCorruption(COSINE))
    for sampler in (RungeKutta(HEUN), RungeKutta(RK4), Adams(4)):
        found = final(sample(oracle, sampler, uniform_grid(COSINE, 60), noise(50, 2), seeded(0)))
        assert torch.cdist(found, points).min(1).values.max() < 1e-6


@pytest.mark.parametrize("sampler", [RungeKutta(HEUN), RungeKutta(RK4), RungeKutta(MIDPOINT), Adams(3)])
def test_a_step_from_pure_noise_is_ddims_and_those_after_it_are_finite(sampler):
    oracle = FiniteOracle(noise(3, 2, seed=2), GaussianCorruption(SigmoidSchedule(last_log_snr=-math.inf)))
    x = noise(4, 2)
    first, *others = walk(sampler, oracle, [1.0, 0.8, 0.5, 0.2, 0.0], x)
    torch.testing.assert_close(first.xs, walk(Ddim(), oracle, [1.0, 0.8], x)[-1].xs)
    assert all(torch.isfinite(moved.xs).all() for moved in others)


def test_a_long_step_asks_before_its_end_only():
    short, long = ([0.9, s] for s in (0.87, 0.6))
    assert asked_at(RungeKutta(HEUN), GAUSSIAN, short, noise(4, 2)) == short
    first, second = asked_at(RungeKutta(HEUN), GAUSSIAN, long, noise(4, 2))
    assert first == 0.9
    assert 0.6 < second < 0.9


# --- tables -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tableau", TABLEAUS.values(), ids=TABLEAUS)
def test_a_table_is_walked_as_its_interpolation_is(tableau):
    x, grid = noise(4, 2), torch.tensor([40, 31, 20, 8, 3, 0], dtype=torch.float64) / 40
    ours, smooth = (
        final(sample(GaussianOracle(CENTER, MATRIX, GaussianCorruption(one)), RungeKutta(tableau), grid, x, seeded(0)))
        for one in (TABLE, InterpolatedSchedule(TABLE))
    )
    torch.testing.assert_close(ours, smooth)


@pytest.mark.parametrize("sampler", [RungeKutta(HEUN), Adams(4)])
def test_what_needs_no_time_between_asks_a_table_for_its_own(sampler):
    oracle = GaussianOracle(CENTER, MATRIX, GaussianCorruption(TABLE))
    times = [index / 40 for index in (40, 38, 36, 34, 33)]
    assert set(asked_at(sampler, oracle, times, noise(4, 2))) <= set(times)


# --- costs and precision ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sampler", "asked"), [(RungeKutta(EULER), 5), (RungeKutta(HEUN), 10), (RungeKutta(), 19), (Adams(4), 5)]
)
def test_evaluations_are_what_they_are_said_to_be(sampler, asked):
    """The last step, to n = 0, needs 2 of order 2 and 3 of order 4."""
    counted = Counted(GAUSSIAN)
    final(sample(counted, sampler, torch.linspace(1, 0, 6, dtype=torch.float64), noise(4, 2), seeded(0)))
    assert counted.evaluations == asked


def test_single_precision_is_enough_where_n_is_in_the_thousands():
    """y = x / alpha is up to 2000 there; nothing of its size is ever subtracted."""
    oracle = GaussianOracle(CENTER, MATRIX, GaussianCorruption(COSINE))
    x, grid = noise(64, 2), uniform_grid(COSINE, 20)
    for sampler in (RungeKutta(HEUN), RungeKutta(), Adams(4)):
        single, double = (final(sample(oracle, sampler, grid, one, seeded(0))) for one in (x.float(), x))
        assert single.dtype == torch.float32
        torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("order", [0, 5])
def test_orders_that_do_not_exist_are_refused(order):
    with pytest.raises(EbbtideError, match=f"order={order}"):
        Adams(order)
