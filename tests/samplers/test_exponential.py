"""Exponential integrators: exact where x0 is a polynomial in l, DDIM at the ends, in order everywhere else."""

import math

import pytest
import torch

from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers import FiniteOracle, GaussianOracle
from ebbtide.errors import EbbtideError
from ebbtide.samplers import Counted, Ddim, Multistep, SingleStep, final, sample
from ebbtide.schedules import InterpolatedSchedule, SigmoidSchedule, table
from parts import COSINE, covariance, noise, seeded
from problems import GAUSSIAN, POLYNOMIAL, Path, walk

TABLE = table(torch.linspace(1e-3, 0.3, 40, dtype=torch.float64))


@pytest.mark.parametrize("order", range(1, 7))
def test_multistep_follows_polynomials_of_lower_degree_exactly(order):
    """From where enough is known on, through steps of unequal lengths."""
    denoiser, x = Path(*POLYNOMIAL[:order]), noise(3, 2)
    times = [0.9, 0.86, 0.83, 0.78, 0.75, 0.71, 0.68, 0.64]
    states = [x, *(moved.xs for moved in walk(Multistep(order), denoiser, times, x))]
    for index in range(order - 1, len(times) - 1):
        expected = denoiser.carried(states[index], times[index], times[index + 1])
        torch.testing.assert_close(states[index + 1], expected, rtol=1e-10, atol=1e-10)
    if order > 1:
        with pytest.raises(AssertionError):
            torch.testing.assert_close(states[1], denoiser.carried(x, times[0], times[1]), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("length", [0.001, 0.1, 0.6])
def test_single_steps_follow_polynomials_of_lower_degree_exactly(order, length):
    denoiser, x = Path(*POLYNOMIAL[:order]), noise(3, 2)
    found = walk(SingleStep(order), denoiser, [0.8, 0.8 - length], x)[-1].xs
    torch.testing.assert_close(found, denoiser.carried(x, 0.8, 0.8 - length), rtol=1e-10, atol=1e-10)


def test_with_one_estimate_it_is_ddim():
    x, grid = noise(4, 2), torch.linspace(1, 0, 6, dtype=torch.float64)
    ours, ddim = (final(sample(GAUSSIAN, sampler, grid, x, seeded(0))) for sampler in (Multistep(1), Ddim()))
    torch.testing.assert_close(ours, ddim)


@pytest.mark.parametrize("sampler", [Multistep(1), Multistep(4), SingleStep(2), SingleStep(3)])
def test_the_step_to_the_data_is_the_estimate_of_it(sampler):
    x = noise(4, 2)
    *_, before, last = walk(sampler, GAUSSIAN, [0.6, 0.4, 0.2, 0.0], x)
    assert torch.equal(last.xs, GAUSSIAN(before.xs, torch.full((4,), 0.2, dtype=torch.float64)).x0)


@pytest.mark.parametrize("sampler", [Multistep(3), SingleStep(2), SingleStep(3)])
def test_a_step_from_pure_noise_is_ddims_and_those_after_it_are_finite(sampler):
    corruption = GaussianCorruption(SigmoidSchedule(last_log_snr=-math.inf))
    oracle = FiniteOracle(noise(3, 2, seed=2), corruption)
    x = noise(4, 2)
    first, *others = walk(sampler, oracle, [1.0, 0.8, 0.5, 0.2], x)
    torch.testing.assert_close(first.xs, walk(Ddim(), oracle, [1.0, 0.8], x)[-1].xs)
    assert all(torch.isfinite(moved.xs).all() for moved in others)


@pytest.mark.parametrize(("sampler", "asked"), [(Multistep(3), 5), (SingleStep(2), 9), (SingleStep(3), 13)])
def test_evaluations_are_what_they_are_said_to_be(sampler, asked):
    """The last step, to t = 0, needs one."""
    counted = Counted(GAUSSIAN)
    final(sample(counted, sampler, torch.linspace(1, 0, 6, dtype=torch.float64), noise(4, 2), seeded(0)))
    assert counted.evaluations == asked


@pytest.mark.parametrize("sampler", [Multistep(3), SingleStep(2), SingleStep(3)])
def test_a_table_is_walked_as_its_interpolation_is(sampler):
    mean, matrix, x = noise(2, seed=1), covariance(2, seed=3), noise(4, 2)
    grid = torch.tensor([40, 31, 20, 8, 3, 0], dtype=torch.float64) / 40
    ours, smooth = (
        final(sample(GaussianOracle(mean, matrix, GaussianCorruption(schedule)), sampler, grid, x, seeded(0)))
        for schedule in (TABLE, InterpolatedSchedule(TABLE))
    )
    torch.testing.assert_close(ours, smooth)


def test_what_was_known_is_forgotten_beyond_the_highest_order():
    times = torch.linspace(1, 0.5, 12, dtype=torch.float64).tolist()
    history = walk(Multistep(2), GAUSSIAN, times, noise(2, 2))[-1].history
    assert len(history) == 6
    assert [known.place.log_ratio for known in history] == sorted(known.place.log_ratio for known in history)[::-1]


@pytest.mark.parametrize(
    ("wrong", "named"),
    [(lambda: Multistep(0), "order=0"), (lambda: Multistep(7), "1 to 6"), (lambda: SingleStep(4), "order=4")],
)
def test_orders_that_do_not_exist_are_refused(wrong, named):
    with pytest.raises(EbbtideError, match=named):
        wrong()


@pytest.mark.parametrize("sampler", [Multistep(2), SingleStep(2)])
def test_a_batch_with_different_times_is_refused(sampler):
    t, s = torch.tensor([0.9, 0.8], dtype=torch.float64), torch.tensor([0.5, 0.5], dtype=torch.float64)
    with pytest.raises(EbbtideError, match="different times"):
        sampler(GAUSSIAN, noise(2, 2), t, s, None, seeded(0), None)


def test_the_times_of_a_batch_need_not_be_expanded_from_one():
    x = noise(3, 2)
    whole = [torch.full((3,), one, dtype=torch.float64) for one in (0.9, 0.7)]
    expanded = [one[:1].expand(3) for one in whole]
    one, other = (SingleStep(2)(GAUSSIAN, x, *times, None, seeded(0), None).xs for times in (whole, expanded))
    torch.testing.assert_close(one, other)


def test_single_precision_stays_single():
    grid = torch.linspace(1, 0, 5, dtype=torch.float64)
    oracle = GaussianOracle(noise(2, seed=1), covariance(2, seed=3), GaussianCorruption(COSINE))
    x = noise(4, 2)
    for sampler in (Multistep(3), SingleStep(3)):
        single = final(sample(oracle, sampler, grid, x.float(), seeded(0)))
        assert single.dtype == torch.float32
        torch.testing.assert_close(
            single.double(), final(sample(oracle, sampler, grid, x, seeded(0))), rtol=1e-4, atol=1e-4
        )
