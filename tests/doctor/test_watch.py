"""Trouble as it appears: a loss that rises is said once, and levels are held against bars that are what they say."""

import math

import numpy as np
import pytest
import torch

from ebbtide.conditions import Condition
from ebbtide.corruptions import GaussianCorruption
from ebbtide.data import load
from ebbtide.denoisers.wiener import LinearDenoiser
from ebbtide.doctor.watch import FROM, LOOKS, SEEN, WARM_UP, LevelWatch, LossWatch
from ebbtide.levels import convert
from ebbtide.objectives import BoundWeight, DenoisingObjective
from ebbtide.schedules import discretised, linear_schedule, table
from ebbtide.training import Update
from ebbtide.training.bins import BINS, LevelBins
from parts import COSINE, SCHEDULES, SIGMAS, covariance, noise, seeded

CORRUPTION = GaussianCorruption(COSINE)
DATA = noise(2000, 4, seed=1) @ torch.linalg.cholesky(covariance(4, seed=2)).mT / 2 + noise(4, seed=3)
KINDS = ["v", "eps", "x0"]


def update(step, loss, *, skipped=False):
    return Update(
        step=step,
        images=step,
        loss=loss,
        rate=0.05,
        grad_norm=1.0,
        skipped=skipped,
        progress=0.5,
        images_per_second=1.0,
    )


def sentences(losses, skipped=()):
    watch = LossWatch()
    said = [watch.take(update(step, loss, skipped=step in skipped)) for step, loss in enumerate(losses)]
    return {step: text for step, text in enumerate(said) if text}


def noisy(curve, seed=0):
    return (np.asarray(curve) * np.exp(0.3 * np.random.default_rng(seed).normal(size=len(curve)))).tolist()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "curve",
    [np.full(2000, 1.0), np.geomspace(1, 1e-3, 2000), np.linspace(1, 1.5, 2000)],
    ids=["flat", "falls", "a bit"],
)
def test_of_a_loss_that_does_not_rise_far_nothing_is_said(curve, seed):
    assert sentences(noisy(curve, seed)) == {}


@pytest.mark.parametrize("end", [0.5, 5.0, 500.0])
def test_a_loss_that_rises_is_told_once_when_it_has_risen(end):
    curve = np.concatenate([np.geomspace(1, 0.1, 1000), np.geomspace(0.1, end, 1000)])
    said = sentences(noisy(curve))
    ((step, text),) = said.items()
    assert 1000 < step < 2000
    assert curve[step] > 0.2
    assert "0.05" in text


def test_nothing_is_said_while_the_running_mean_is_new():
    assert sentences([0.1] * (WARM_UP // 2) + [5.0] * (WARM_UP // 2 - 2)) == {}
    assert len(sentences([0.1] * WARM_UP + [5.0] * WARM_UP)) == 1


def test_updates_that_were_skipped_do_not_count():
    losses = [1.0] * 300
    losses[200:220] = [float("nan")] * 20
    assert sentences(losses, range(200, 220)) == {}


def test_a_single_high_loss_is_not_a_rise():
    losses = [1.0] * 500
    losses[300] = 30.0
    assert sentences(losses) == {}


def watched(schedule, predicts, weight=None, measured=None):
    objective = DenoisingObjective(
        corruption=GaussianCorruption(schedule), predicts=predicts, measured=measured, weight=weight
    )
    linear = LinearDenoiser.of([DATA], objective.corruption)
    return objective, linear, LevelWatch.of(objective, linear)


@pytest.mark.parametrize("bar", ["linear", "constant"])
@pytest.mark.parametrize("predicts", KINDS)
@pytest.mark.parametrize("name", ["cosine", "linear", "list"])
def test_the_bars_are_the_losses_of_these_denoisers_in_training(name, predicts, bar):
    """Trained as a network is: drawn times, drawn noise, the objective's own loss, and the bins that the run keeps."""
    objective, linear, watch = watched(SCHEDULES[name], predicts)
    corruption = objective.corruption

    def network(x, t, condition):
        constant = convert(linear.mean.expand_as(x), "x0", predicts, x, corruption.level(t))
        return linear(x, t).as_(predicts) if bar == "linear" else constant

    losses = objective(network, DATA.repeat(20, 1), Condition(), seeded(4))
    bins = LevelBins(memory=10**9)
    bins.add(losses.values, losses.times)
    place = (losses.times * BINS).ceil().long() - 1
    for index, expected in enumerate(getattr(watch, bar)):
        inside = losses.values[place == index]
        if len(inside) == 0:  # a table of a few steps
            continue
        if index == 0 and bar == "constant" and predicts == "eps" and corruption.schedule.steps is None:
            continue  # without noise the error of the noise is infinite
        error = float(inside.std()) / len(inside) ** 0.5
        assert abs(bins.losses[index] - expected) < SIGMAS * error + 0.01 * expected


@pytest.mark.parametrize("predicts", KINDS)
@pytest.mark.parametrize("steps", [7, 20, 30, 200])
def test_the_bars_of_a_table_are_means_over_its_own_times(steps, predicts):
    schedule = discretised(COSINE, steps, "cosine")
    objective, linear, watch = watched(schedule, predicts)
    rows = {}
    for number in range(1, steps + 1):
        t = torch.tensor([number / steps], dtype=torch.float64)
        count, level = float(objective.per_x0(t)), schedule.level(t)
        index = math.ceil(number / steps * BINS) - 1
        rows.setdefault(index, []).append((linear.constant_error * count, float(linear.error(level)) * count))
    for index, row in rows.items():
        assert [watch.constant[index], watch.linear[index]] == pytest.approx(np.mean(row, axis=0).tolist())
    assert np.isfinite([*watch.constant, *watch.linear]).all()


def test_a_weight_of_the_loss_is_one_of_the_bars():
    plain, weighted = (watched(linear_schedule(), "v", weight, "x0")[2] for weight in (None, BoundWeight()))
    t = torch.arange(1, 1001, dtype=torch.float64) / 1000
    weights = BoundWeight()(GaussianCorruption(linear_schedule()), t)
    place = (t * BINS).ceil() - 1
    expected = [float(weights[place == index].mean()) for index in range(BINS)]
    assert np.divide(weighted.constant, plain.constant) == pytest.approx(expected)


CONSTANT, LINEAR = [1.0] * BINS, [0.5] * BINS
MIDDLE, END = 0.5, 1.0
"""Of a run."""


def bins_of(losses, count=SEEN):
    return LevelBins(losses=list(losses), counts=[count] * BINS)


def with_level(index, loss, others=0.3):
    return bins_of([loss if bin_ == index else others for bin_ in range(BINS)])


def test_a_level_no_better_than_the_constant_is_told_once_with_its_times():
    watch = LevelWatch(CONSTANT, LINEAR)
    assert [watch.look(with_level(3, 2.0), MIDDLE) for _ in range(LOOKS - 1)] == [None] * (LOOKS - 1)
    text = watch.look(with_level(3, 2.0), MIDDLE)
    assert "at 1 of 20 noise levels (t from 0.15 to 0.20)" in text
    assert "guessing the mean" in text
    assert "up to 2 times" in text
    assert watch.look(with_level(3, 2.0), MIDDLE) is None


def test_a_run_that_has_hardly_begun_and_levels_that_get_better_are_not_frightened_for():
    """Seconds after the start any network is no better than a guess at some level."""
    watch = LevelWatch(CONSTANT, LINEAR)
    assert [watch.look(bins_of([5.0] * BINS), 0.99 * FROM) for _ in range(9)] == [None] * 9
    # another level each time: chance, or learning under way
    assert [watch.look(with_level(index, 2.0), MIDDLE) for index in range(9)] == [None] * 9


def test_what_is_true_at_the_end_is_told_at_the_end_whatever_was_seen_before():
    assert "guessing the mean" in LevelWatch(CONSTANT, LINEAR).look(with_level(3, 2.0), END)


def test_the_linear_bar_is_held_only_when_the_run_has_ended():
    watch = LevelWatch(CONSTANT, LINEAR)
    between = with_level(19, 0.7)
    assert [watch.look(between, MIDDLE) for _ in range(9)] == [None] * 9
    text = watch.look(between, END)
    assert "t from 0.95 to 1.00" in text
    assert "the best linear denoiser" in text


@pytest.mark.parametrize("bins", [with_level(0, 0.4), bins_of([9.0] * BINS, SEEN - 1), LevelBins()])
def test_of_levels_that_are_better_or_hardly_seen_nothing_is_said(bins):
    watch = LevelWatch(CONSTANT, LINEAR)
    assert [watch.look(bins, progress) for progress in (*[MIDDLE] * LOOKS, END)] == [None] * (LOOKS + 1)


def test_what_was_said_of_the_constant_does_not_silence_the_linear_bar():
    watch = LevelWatch(CONSTANT, LINEAR)
    assert "guessing the mean" in [watch.look(with_level(5, 3.0), MIDDLE) for _ in range(LOOKS)][-1]
    assert "the best linear denoiser" in watch.look(with_level(5, 3.0), END)


def test_of_examples_that_are_all_the_same_there_is_no_bar():
    linear = LinearDenoiser.of([load("dots").batch(range(20)).x0], CORRUPTION)
    watch = LevelWatch.of(DenoisingObjective(corruption=CORRUPTION, predicts="v"), linear)
    assert watch.record() == {"constant": [0.0] * BINS, "linear": [0.0] * BINS}
    assert watch.look(bins_of([1.0] * BINS), END) is None


def test_a_table_of_one_step_has_bars():
    _, _, watch = watched(table([0.9]), "v")
    assert min(watch.constant) > 0
    assert watch.record() == {"constant": watch.constant, "linear": watch.linear}
