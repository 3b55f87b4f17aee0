"""Adaptive steps: as near to the truth as was asked for, whatever the grid, in as many evaluations as it takes."""

import math
import sys

import pytest
import torch

from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers import FiniteOracle, GaussianOracle, NetworkDenoiser
from ebbtide.errors import EbbtideError
from ebbtide.samplers import SAMPLERS, Adaptive, Counted, final, sample
from ebbtide.schedules import InterpolatedSchedule, NormalSchedule, SigmoidSchedule, table
from parts import COSINE, noise, seeded
from problems import CENTER, GAUSSIAN, MATRIX, gaussian_flow, walk

TABLE = table(torch.linspace(1e-3, 0.3, 40, dtype=torch.float64))
X = noise(6, 2)


def oracle_of(schedule):
    return GaussianOracle(CENTER, MATRIX, GaussianCorruption(schedule))


def test_errors_fall_with_the_tolerance_and_evaluations_grow():
    errors, evaluations = [], []
    for tolerance in (1e-2, 1e-4, 1e-6, 1e-8):
        counted = Counted(GAUSSIAN)
        (moved,) = walk(Adaptive(tolerance, tolerance), counted, [1.0, 0.05], X)
        errors.append(float((moved.xs - gaussian_flow(X, 1.0, 0.05)).abs().max()))
        evaluations.append(counted.evaluations)
    assert all(error < 10 * tolerance for error, tolerance in zip(errors, (1e-2, 1e-4, 1e-6, 1e-8), strict=True))
    assert evaluations == sorted(set(evaluations))
    assert evaluations[0] < 40
    assert evaluations[-1] < 400


@pytest.mark.usefixtures("unchecked")
def test_errors_fall_with_the_evaluations_as_the_order_that_is_listed_says():
    """Evaluations for a tolerance are as many steps as it takes: its order is that of the error in their number."""
    found = []
    for tolerance in (1e-8, 1e-11):
        counted = Counted(GAUSSIAN)
        (moved,) = walk(Adaptive(tolerance, tolerance), counted, [1.0, 0.05], X)
        found.append((float((moved.xs - gaussian_flow(X, 1.0, 0.05)).abs().max()), counted.evaluations))
    (first, few), (last, many) = found
    assert math.log(first / last) / math.log(many / few) > int(SAMPLERS["adaptive"].order) - 0.15


@pytest.mark.parametrize("schedule", [COSINE, NormalSchedule(), TABLE], ids=["cosine", "normal", "table"])
def test_to_the_data_it_is_the_flow_to_no_noise(schedule):
    """One step from t = 1 to 0: all the way, in closed form."""
    (moved,) = walk(Adaptive(1e-7, 1e-7), oracle_of(schedule), [1.0, 0.0], X)
    torch.testing.assert_close(moved.xs, gaussian_flow(X, 1.0, 0.0, schedule), rtol=1e-5, atol=1e-5)


def test_the_grid_says_only_where_to_stop_and_look():
    once, often = (
        walk(Adaptive(1e-8, 1e-8), GAUSSIAN, times, X)[-1].xs for times in ([0.9, 0.2], [0.9, 0.7, 0.65, 0.3, 0.2])
    )
    torch.testing.assert_close(once, often, rtol=1e-6, atol=1e-6)


def test_points_are_given_back():
    points = noise(4, 2, seed=5)
    oracle = FiniteOracle(points, GaussianCorruption(COSINE))
    (moved,) = walk(Adaptive(), oracle, [1.0, 0.0], noise(30, 2))
    assert torch.cdist(moved.xs, points).min(1).values.max() < 1e-6


def test_it_may_start_from_pure_noise():
    oracle = oracle_of(SigmoidSchedule(last_log_snr=-math.inf))
    (moved,) = walk(Adaptive(1e-7, 1e-7), oracle, [1.0, 0.0], X)
    values, axes = torch.linalg.eigh(MATRIX)
    torch.testing.assert_close(moved.xs, CENTER + X @ axes * values.sqrt() @ axes.mT, rtol=1e-5, atol=1e-5)


def test_it_starts_where_less_noise_than_its_tolerance_is_left():
    t = 1e-9
    (moved,) = walk(Adaptive(), oracle_of(COSINE), [t, 0.0], X)
    expected = oracle_of(COSINE)(X, torch.full((6,), t, dtype=torch.float64)).x0
    torch.testing.assert_close(moved.xs, expected)


def test_a_table_is_walked_as_its_interpolation_is():
    ours, smooth = (
        walk(Adaptive(), oracle_of(one), [1.0, 0.5, 0.0], X)[-1].xs for one in (TABLE, InterpolatedSchedule(TABLE))
    )
    torch.testing.assert_close(ours, smooth)


def test_the_start_is_asked_once():
    """It is the estimate that is remembered, and the solver's first slope too."""
    times = []

    class Seen:
        corruption = GAUSSIAN.corruption

        def __call__(self, xt, t, condition=None):
            times.append(float(t[0]))
            return GAUSSIAN(xt, t)

    (moved,) = walk(Adaptive(), Seen(), [0.9, 0.2], X)
    assert sum(abs(t - 0.9) < 1e-9 for t in times) == 1
    assert len(moved.history) == 1
    torch.testing.assert_close(moved.x0, GAUSSIAN(X, torch.full((6,), 0.9, dtype=torch.float64)).x0)


def test_single_precision_is_asked_in_single_precision():
    types = set()

    def predict(x, t, condition):
        types.add(x.dtype)
        return GAUSSIAN(x, t.double()).eps

    denoiser = NetworkDenoiser(predict, GAUSSIAN.corruption)
    times = torch.tensor([0.9, 0.2], dtype=torch.float64)
    single = final(sample(denoiser, Adaptive(1e-5, 1e-5), times, X.float(), seeded(0)))
    assert types == {torch.float32}
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), gaussian_flow(X, 0.9, 0.2), rtol=1e-3, atol=1e-3)


def test_a_hard_example_is_not_outvoted():
    """Steps are chosen for the worst example: copies of another change nothing."""
    hard = torch.cat([torch.zeros(1, 2, dtype=torch.float64), 5 * X[:1]])
    crowd = torch.cat([torch.zeros(200, 2, dtype=torch.float64), 5 * X[:1]])
    few, many = (walk(Adaptive(), GAUSSIAN, [0.9, 0.2], x)[-1].xs[-1] for x in (hard, crowd))
    torch.testing.assert_close(few, many, rtol=0, atol=1e-10)


@pytest.mark.parametrize("wrong", [{"rtol": 1.0}, {"atol": 0.0}, {"rtol": -1e-3}])
def test_wrong_tolerances_are_refused(wrong):
    with pytest.raises(EbbtideError, match="such as 1e-4"):
        Adaptive(**wrong)


def test_numbers_that_are_not_finite_are_refused():
    with pytest.raises(EbbtideError, match="finite"):
        walk(Adaptive(), GAUSSIAN, [0.9, 0.2], X / 0)


def test_without_torchdiffeq_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchdiffeq", None)
    with pytest.raises(EbbtideError, match=r"pip install \"ebbtide\[ode\]\""):
        walk(Adaptive(), GAUSSIAN, [0.9, 0.2], X)
