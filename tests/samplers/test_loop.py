"""The loop: it ends at the data with nothing left over, hands history along and keeps no gradients."""

import math
from itertools import pairwise

import pytest
import torch

from ebbtide.conditions import Condition
from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers import FiniteOracle, NetworkDenoiser
from ebbtide.errors import EbbtideError
from ebbtide.grids import uniform_grid
from ebbtide.samplers import Ancestral, Ddim, Moved, Sampler, final, generate, sample
from ebbtide.schedules import CosineSchedule
from parts import COSINE, SCHEDULES, SIGMAS, corruption_of, noise, seeded

SAMPLERS = {
    "posterior": Ancestral(),
    "step": Ancestral(variance="step"),
    "eta 0": Ddim(),
    "eta 0.5": Ddim(eta=0.5),
    "eta 1": Ddim(eta=1.0),
}
POINTS = torch.tensor([[-1.0, -1.0], [1.0, -0.5], [0.0, 1.5]], dtype=torch.float64)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 2, 3, 8])
@pytest.mark.parametrize("name", SCHEDULES)
def test_any_number_of_steps_ends_at_the_data_with_nothing_left_over(name, steps, sampler):
    oracle = FiniteOracle(POINTS, corruption_of(name))
    grid = uniform_grid(SCHEDULES[name], steps)
    walked = list(sample(oracle, SAMPLERS[sampler], grid, noise(5, 2), seeded(0)))
    assert [step.index for step in walked] == list(range(steps))
    assert [step.t for step in walked] == grid[1:].tolist()
    assert walked[-1].t == 0
    assert torch.equal(walked[-1].x, walked[-1].x0)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_oracle_of_a_finite_set_gives_its_points_back_evenly(sampler):
    count = 600
    oracle = FiniteOracle(POINTS, GaussianCorruption(COSINE))
    samples = final(sample(oracle, SAMPLERS[sampler], uniform_grid(COSINE, 60), noise(count, 2), seeded(1)))
    distances = torch.cdist(samples, POINTS)
    assert distances.min(1).values.max() < 1e-6
    shares = torch.bincount(distances.argmin(1), minlength=3) / count
    # the set is symmetric enough for no sampler to prefer a point by much more than chance does
    assert (shares - 1 / 3).abs().max() < SIGMAS * (2 / 9 / count) ** 0.5 + 0.03


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_one_step_from_pure_noise_gives_the_mean_of_the_data(sampler):
    schedule = CosineSchedule(last_log_snr=-60.0)
    oracle = FiniteOracle(POINTS, GaussianCorruption(schedule))
    once = final(sample(oracle, SAMPLERS[sampler], uniform_grid(schedule, 1), noise(7, 2), seeded(0)))
    assert torch.allclose(once, POINTS.mean(0).expand_as(once), rtol=0, atol=1e-9)


def test_each_step_begins_where_the_last_one_ended_with_what_it_remembered():
    seen = []

    def adding(denoiser, xt, t, s, condition, generator, history):
        seen.append((xt.clone(), t.clone(), s.clone(), condition, history))
        return Moved(xt + 1, xt, (history or 0) + 1)

    grid, label = uniform_grid(COSINE, 4), Condition(label=torch.tensor([3, 4]))
    walked = list(sample(FiniteOracle(POINTS, corruption_of("cosine")), adding, grid, noise(2, 2), seeded(0), label))
    assert isinstance(Ddim(), Sampler)
    assert [history for *_, history in seen] == [None, 1, 2, 3]
    assert all(condition is label for _, _, _, condition, _ in seen)
    for before, after in pairwise(seen):
        assert torch.equal(before[0] + 1, after[0])
        assert torch.equal(before[2], after[1])
    assert torch.equal(walked[-1].x, noise(2, 2) + 4)


def test_steps_are_taken_when_they_are_asked_for():
    calls = []

    def network(x, t, condition):
        calls.append(t[0].item())
        return x

    denoiser = NetworkDenoiser(network, GaussianCorruption(COSINE))
    steps = sample(denoiser, Ddim(), uniform_grid(COSINE, 3), noise(2, 2), seeded(0))
    assert calls == []
    next(steps)
    assert calls == [1.0]


def test_no_gradients_are_kept_and_those_of_the_caller_are_left_alone():
    weight = torch.ones((), dtype=torch.float64, requires_grad=True)
    denoiser = NetworkDenoiser(lambda x, t, condition: weight * x, GaussianCorruption(COSINE))
    for step in sample(denoiser, Ddim(eta=1.0), uniform_grid(COSINE, 3), noise(2, 2), seeded(0)):
        assert not step.x.requires_grad
        assert torch.is_grad_enabled()


def test_generation_begins_at_the_prior():
    seen = []

    def network(x, t, condition):
        seen.append(x)
        return torch.zeros_like(x)

    denoiser = NetworkDenoiser(network, GaussianCorruption(COSINE))
    final(generate(denoiser, Ddim(), uniform_grid(COSINE, 1), (3, 20, 20), range(10), seed=4))
    values = seen[0].flatten()
    assert values.mean().abs() < SIGMAS / math.sqrt(len(values))
    assert (values.var() - 1).abs() < SIGMAS * math.sqrt(2 / len(values))


@pytest.mark.parametrize(
    "times",
    [[], [1.0], [0.2, 0.5, 0.8], [0.8, 0.5, 0.5], [1.5, 0.5, 0.0], [0.5, -0.1], [1.0, math.nan, 0.0], [0.9] * 99],
)
def test_times_that_do_not_fall_from_noise_to_data_are_refused_before_anything_is_asked(times):
    oracle = FiniteOracle(POINTS, GaussianCorruption(COSINE))
    with pytest.raises(EbbtideError, match="two or more that fall"):
        sample(oracle, Ddim(), torch.tensor(times, dtype=torch.float64), noise(2, 2), seeded(0))


def test_no_samples_are_refused_and_no_steps_have_no_end():
    oracle = FiniteOracle(POINTS, GaussianCorruption(COSINE))
    with pytest.raises(EbbtideError, match="one example or more"):
        generate(oracle, Ddim(), uniform_grid(COSINE, 2), (2,), [], seed=0)
    with pytest.raises(EbbtideError, match="no steps"):
        final(iter(()))
