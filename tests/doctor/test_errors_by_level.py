"""Errors at each noise level: where they are taken, what they are, and what it means that two of them differ."""

import math
from dataclasses import dataclass, field

import pytest
import torch

from ebbtide.conditions import Condition
from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers import GaussianEstimate, GaussianOracle, MixtureOracle, NetworkDenoiser
from ebbtide.denoisers.wiener import LinearDenoiser
from ebbtide.doctor.levels import (
    BATCH,
    ENDS,
    HIGH,
    LOW,
    POINTS,
    Comparison,
    Errors,
    answers_at,
    compare,
    compare_apart,
    errors_of,
    same_levels,
    times_to_look_at,
)
from ebbtide.schedules import FunctionSchedule, SigmoidSchedule, table
from ebbtide.times import nearest
from parts import COSINE, SCHEDULES, SIGMAS, covariance, noise

CORRUPTION = GaussianCorruption(COSINE)
COUNT = 300
TIMES = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
TABLES = {name: schedule for name, schedule in SCHEDULES.items() if schedule.steps is not None}
CONTINUOUS = {name: schedule for name, schedule in SCHEDULES.items() if schedule.steps is None}


@dataclass
class Listener:
    """Half of what it sees, and a note of everything that it was asked."""

    corruption: GaussianCorruption
    asked: list = field(default_factory=list)

    def __call__(self, xt, t, condition=None):
        self.asked.append((xt, t, condition))
        return GaussianEstimate(xt, self.corruption.level(t), "x0", xt / 2)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_levels_are_spread_evenly_over_what_a_network_has_seen_enough_of(name):
    schedule = CONTINUOUS[name]
    times = times_to_look_at(schedule)
    log_snr = schedule.level(times).log_snr
    assert len(times) == POINTS
    assert (times.diff() > 0).all()
    assert torch.allclose(log_snr.diff(), log_snr.diff().mean().expand(POINTS - 1), rtol=1e-6)
    assert float(times[0]) >= ENDS - 1e-9
    assert float(times[-1]) <= 1 - ENDS + 1e-9
    assert float(log_snr[0]) <= HIGH + 1e-9
    assert float(log_snr[-1]) >= LOW - 1e-9
    # nothing is left out that was seen enough of
    assert float(times[0]) == pytest.approx(ENDS) or float(log_snr[0]) == pytest.approx(HIGH)
    assert float(times[-1]) == pytest.approx(1 - ENDS) or float(log_snr[-1]) == pytest.approx(LOW)


@pytest.mark.parametrize("name", TABLES)
def test_of_a_table_its_own_times_are_taken_that_are_nearest_to_even(name):
    schedule = TABLES[name]
    times = times_to_look_at(schedule)
    assert torch.equal(nearest(schedule, times), times)
    assert (times.diff() > 0).all()
    assert min(2, schedule.steps) <= len(times) <= POINTS
    known = schedule.level(torch.arange(1, schedule.steps + 1, dtype=torch.float64) / schedule.steps).log_snr
    found = schedule.level(times).log_snr
    even = torch.linspace(float(found[0]), float(found[-1]), POINTS, dtype=torch.float64)
    best = (known - even[:, None]).abs().min(1).values
    assert torch.allclose((found - even[:, None]).abs().min(1).values, best, rtol=0, atol=1e-9)


def test_a_table_of_one_step_has_one_time():
    assert times_to_look_at(table([0.5])).tolist() == [1.0]


@pytest.mark.parametrize("name", SCHEDULES)
def test_another_schedule_is_asked_at_the_same_levels_as_nearly_as_it_knows_them(name):
    schedule = SCHEDULES[name]
    asked = SigmoidSchedule().level(torch.linspace(0.1, 0.8, 7, dtype=torch.float64)).log_snr
    found = schedule.level(same_levels(schedule, asked)).log_snr
    every = torch.linspace(0, 1, 1001, dtype=torch.float64)[1:]
    known = schedule.level(nearest(schedule, every)).log_snr
    nearest_of_all = (known - asked[:, None]).abs().min(1).values
    assert ((found - asked).abs() <= nearest_of_all + 1e-9).all()


def test_errors_are_those_of_a_slow_loop_over_what_the_denoiser_was_asked():
    x0, condition, listener = noise(COUNT, 2, 4, seed=1), Condition(label=torch.arange(COUNT)), Listener(CORRUPTION)
    found = errors_of(listener, TIMES, x0, condition)
    parts = -(-COUNT // BATCH)
    assert len(listener.asked) == 3 * parts
    values, drawn = [], []
    for number, (xt, t, told) in enumerate(listener.asked):
        time, first = TIMES[number // parts], number % parts * BATCH
        level = CORRUPTION.level(time)
        assert (t == time).all()
        assert torch.equal(told.label, torch.arange(first, min(first + BATCH, COUNT)))
        for row, x in zip(xt, x0[first : first + BATCH], strict=True):
            values.append(float((row / 2 - x).square().mean()))
            drawn.append((row - level.alpha * x) / level.sigma)
    expected = torch.tensor(values, dtype=torch.float64).reshape(3, COUNT)
    assert torch.allclose(found.values, expected, rtol=1e-12)
    assert torch.allclose(found.log_snr, CORRUPTION.level(TIMES).log_snr)
    assert torch.allclose(found.mean, expected.mean(1))
    assert torch.allclose(found.standard_error, expected.std(1) / COUNT**0.5)
    # the noise is fresh for each example and each level, and it is noise
    eps = torch.stack(drawn).flatten(1)
    size = eps.numel()
    assert abs(eps.mean()) < SIGMAS / size**0.5
    assert abs(eps.square().mean() - 1) < SIGMAS * (2 / size) ** 0.5
    assert torch.pdist(eps).min() > 1e-3


def test_two_denoisers_see_the_same_and_so_do_two_schedules_at_one_level():
    x0 = noise(COUNT, 3, seed=1)
    other = GaussianCorruption(SigmoidSchedule())
    times = same_levels(other.schedule, CORRUPTION.level(TIMES).log_snr)
    ours, same, moved, reseeded = (Listener(corruption) for corruption in (CORRUPTION, CORRUPTION, other, CORRUPTION))
    errors_of(ours, TIMES, x0)
    errors_of(same, TIMES, x0)
    errors_of(moved, times, x0)
    errors_of(reseeded, TIMES, x0, seed=1)
    for one, two, three, four in zip(ours.asked, same.asked, moved.asked, reseeded.asked, strict=True):
        assert torch.equal(one[0], two[0])
        assert torch.allclose(one[0], three[0], rtol=0, atol=1e-7)
        assert not torch.allclose(one[0], four[0], atol=0.1)


def test_a_denoiser_may_be_told_another_time_than_the_true_one():
    x0, honest, misled = noise(5, 3, seed=1), Listener(CORRUPTION), Listener(CORRUPTION)
    errors_of(honest, TIMES, x0)
    errors_of(misled, TIMES, x0, shown_times=TIMES.flip(0))
    assert [float(t[0]) for _, t, _ in misled.asked] == TIMES.flip(0).tolist()
    assert all(torch.equal(one[0], two[0]) for one, two in zip(honest.asked, misled.asked, strict=True))


@pytest.mark.parametrize("predicts", ["v", "eps"])
def test_answers_at_two_times_are_the_networks_own_about_the_same_example(predicts):
    seen = []

    def network(x, t, condition):
        seen.append((x, condition.label))
        return x * t.reshape(-1, 1)

    denoiser = NetworkDenoiser(network, CORRUPTION, predicts)
    labels = torch.arange(COUNT)
    one, other = answers_at(denoiser, TIMES[0], TIMES[2], noise(COUNT, 3, seed=1), Condition(label=labels))
    (xt, told), (again, told_again) = seen
    assert torch.equal(xt, again)
    assert torch.equal(told, told_again)
    assert torch.equal(told, labels[: len(xt)])
    assert torch.allclose(one, TIMES[0] * xt)
    assert torch.allclose(other, TIMES[2] * xt)


LEVELS = 2000
"""Levels of made-up errors: enough to see how their z-scores spread."""


def made_up(count, seed, base=0.0, shift=0.0):
    values = 2 + noise(LEVELS, count, seed=seed) + base + shift
    return Errors(torch.zeros(LEVELS, dtype=torch.float64), torch.zeros(LEVELS, dtype=torch.float64), values)


@pytest.mark.parametrize("shift", [0.0, 0.4])
def test_paired_z_scores_are_standard_errors_whatever_the_examples_have_in_common(shift):
    base = 50 * noise(LEVELS, 200, seed=3)
    one, other = made_up(200, 1, base, shift), made_up(200, 2, base)
    z = compare(one, other).z
    assert abs(z.mean() - shift / (2 / 200) ** 0.5) < SIGMAS * LEVELS**-0.5
    assert abs(z.std() - 1) < SIGMAS * (2 * LEVELS) ** -0.5 + 0.02
    # of the same errors as if of different examples, next to nothing can be seen
    assert compare_apart(one, other).z.abs().max() < 1


@pytest.mark.parametrize("shift", [0.0, 0.4])
def test_z_scores_of_different_examples_are_standard_errors_whatever_their_numbers(shift):
    one, other = made_up(100, 1, shift=shift), made_up(400, 2)
    z = compare_apart(one, other).z
    assert abs(z.mean() - shift / (1 / 100 + 1 / 400) ** 0.5) < SIGMAS * LEVELS**-0.5
    assert abs(z.std() - 1) < SIGMAS * (2 * LEVELS) ** -0.5 + 0.03


@pytest.mark.parametrize("count", [2, 3, 6])
def test_of_few_examples_four_standard_errors_are_as_rare_as_they_are_of_a_normal_law(count):
    """Of two examples every sixth ratio of a mean to its own standard error is beyond 4."""
    rows = noise(40_000, count, seed=9)
    blank = torch.zeros(len(rows), dtype=torch.float64)
    errors, none = Errors(blank, blank, rows), Errors(blank, blank, 0 * rows)
    for z in (compare(errors, none).z, compare_apart(errors, none).z):
        for bound, share in ((1.0, 0.3173), (2.0, 0.0455)):
            assert 0.7 * share < float((z.abs() > bound).double().mean()) < 1.1 * share
        assert int((z.abs() > 4).sum()) <= 30


def test_the_ratio_is_that_of_the_means_and_overall_its_geometric_mean():
    one, other = (Errors(TIMES, TIMES, noise(3, 40, seed=seed).square()) for seed in (1, 2))
    found = compare(one, other)
    expected = [a / b for a, b in zip(one.values.mean(1).tolist(), other.values.mean(1).tolist(), strict=True)]
    assert found.ratio.tolist() == pytest.approx(expected)
    assert compare_apart(one, other).ratio.tolist() == pytest.approx(expected)
    assert found.overall == pytest.approx(math.prod(expected) ** (1 / 3))
    assert (found.z.sign() == (found.ratio - 1).sign()).all()


def test_of_independent_levels_the_overall_z_is_one_standard_error():
    rows = noise(LEVELS, 10, seed=1)
    overall = torch.tensor([Comparison(row.exp(), row).overall_z for row in rows])
    assert abs(overall.mean()) < SIGMAS * LEVELS**-0.5
    assert abs(overall.std() - 1) < SIGMAS * (2 * LEVELS) ** -0.5


def test_a_denoiser_beside_itself_is_as_good():
    found = compare(*(errors_of(Listener(CORRUPTION), TIMES, noise(40, 3)) for _ in range(2)))
    assert found.ratio.tolist() == [1.0, 1.0, 1.0]
    assert found.z.tolist() == [0.0, 0.0, 0.0]


def test_of_gaussian_data_no_denoiser_is_better_than_the_best_linear_one():
    mean, matrix = noise(8, seed=1), covariance(8, seed=2) / 8
    root = torch.linalg.cholesky(matrix)
    train, unseen = (mean + noise(count, 8, seed=count) @ root.mT for count in (40_000, 400))
    times = times_to_look_at(COSINE)
    linear = errors_of(LinearDenoiser.of(iter([train]), CORRUPTION), times, unseen)
    ideal = errors_of(GaussianOracle(mean, matrix, CORRUPTION), times, unseen)
    found = compare(ideal, linear)
    assert (found.z.abs() < 4).all()
    assert ((found.ratio - 1).abs() < 0.01).all()


def test_of_a_mixture_the_ideal_denoiser_is_better_at_every_level_that_tells_the_components_apart():
    weights = torch.full((4,), 0.25, dtype=torch.float64)
    means = 1.5 * noise(4, 8, seed=3)
    oracle = MixtureOracle.spherical(weights, means, 0.2, CORRUPTION)
    train, unseen = (means[torch.arange(n) % 4] + 0.2 * noise(n, 8, seed=n) for n in (4000, 400))
    times = times_to_look_at(COSINE)
    found = compare(
        errors_of(oracle, times, unseen), errors_of(LinearDenoiser.of(iter([train]), CORRUPTION), times, unseen)
    )
    middle = COSINE.level(times).log_snr.abs() < 2
    assert middle.sum() >= 2
    assert (found.ratio[middle] < 0.8).all()
    assert (found.z[middle] < -SIGMAS).all()
    assert (found.z < 4).all()


def test_levels_that_no_schedule_reaches_are_left_out():
    """A schedule that ends with signal left, and begins with noise, is looked at between its ends."""
    short = FunctionSchedule(lambda t: 3 - 4 * t)
    log_snr = short.level(times_to_look_at(short)).log_snr
    assert float(log_snr[0]) == pytest.approx(3 - 4 * ENDS)
    assert float(log_snr[-1]) == pytest.approx(3 - 4 * (1 - ENDS))
