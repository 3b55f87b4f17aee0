"""One solver starts, another goes on; and denoisers that count how often they are asked."""

import pytest
import torch

from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers import GaussianOracle
from ebbtide.denoisers.continuous import continuous
from ebbtide.errors import EbbtideError
from ebbtide.samplers import (
    Adams,
    Adaptive,
    Counted,
    Ddim,
    Multistep,
    RungeKutta,
    SingleStep,
    Started,
    UniPC,
    final,
    sample,
)
from ebbtide.schedules import table
from parts import noise, seeded
from problems import CENTER, GAUSSIAN, MATRIX, walk

TIMES = [1.0, 0.95, 0.9, 0.85, 0.8]


def test_the_first_steps_are_the_firsts_and_all_others_the_others():
    taken = []

    def named(name, sampler):
        def step(*arguments):
            taken.append(name)
            return sampler(*arguments)

        return step

    walk(Started(named("first", RungeKutta()), named("then", Adams(4)), 3), GAUSSIAN, [*TIMES, 0.7, 0.6], noise(3, 2))
    assert taken == ["first"] * 3 + ["then"] * 3


@pytest.mark.parametrize("then", [Multistep(4), Adams(4), UniPC(3)])
@pytest.mark.parametrize("first", [SingleStep(2), RungeKutta(), Adaptive(), Multistep(2), Adams(2)])
def test_any_deterministic_solver_can_start_any_other(first, then):
    started = walk(Started(first, then, 3), GAUSSIAN, TIMES, noise(3, 2))
    taken, history = started[-1].history
    assert taken == 4
    expected = [0.5 * float(GAUSSIAN.corruption.level(torch.tensor(t)).log_snr) for t in TIMES[-2::-1]]
    assert [known.place.log_ratio for known in history] == pytest.approx(expected, abs=1e-6)
    assert all(torch.isfinite(moved.xs).all() for moved in started)


def test_a_solver_started_by_itself_is_itself():
    x, grid = noise(3, 2), torch.linspace(1, 0, 9, dtype=torch.float64)
    for sampler in (Multistep(3), Adams(3), UniPC(2)):
        alone, started = (
            final(sample(GAUSSIAN, one, grid, x, seeded(0))) for one in (sampler, Started(sampler, sampler, 4))
        )
        assert torch.equal(alone, started)


def test_without_a_first_step_there_is_nothing_to_start():
    with pytest.raises(EbbtideError, match="steps=0"):
        Started(Ddim(), Ddim(), 0)


def test_a_counted_denoiser_answers_as_before_and_counts_with_its_copies():
    oracle = GaussianOracle(CENTER, MATRIX, GaussianCorruption(table([0.1, 0.2, 0.3, 0.4])))
    counted, x = Counted(oracle), noise(3, 2)
    t = torch.full((3,), 0.5, dtype=torch.float64)
    assert torch.equal(counted(x, t).x0, oracle(x, t).x0)
    assert counted.corruption is oracle.corruption
    smooth = continuous(counted)
    smooth(x[:2], t[:2] + 0.1)
    assert counted.evaluations == smooth.evaluations == 2
    assert counted.calls == [3, 2]
