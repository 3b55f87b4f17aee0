"""UniPC: what the corrector adds, and that it costs nothing."""

import pytest
import torch

from ebbtide.errors import EbbtideError
from ebbtide.samplers import Counted, Ddim, DpmSolver2M, Multistep, UniPC, final, sample
from parts import noise, seeded
from problems import CORRUPTION, GAUSSIAN, POLYNOMIAL, Path, gaussian_flow, walk


@pytest.mark.parametrize("order", [2, 3])
def test_the_corrector_follows_polynomials_of_one_degree_more_exactly(order):
    """With the estimate at the end it knows one more point than the predictor, from where enough is known on."""
    denoiser, x = Path(*POLYNOMIAL[: order + 1]), noise(3, 2)
    times = [0.9, 0.86, 0.83, 0.78, 0.75, 0.71]
    corrected = [moved.history[0].x for moved in walk(UniPC(order), denoiser, times, x)]
    for index in range(order - 1, len(corrected) - 1):
        expected = denoiser.carried(corrected[index], times[index], times[index + 1])
        torch.testing.assert_close(corrected[index + 1], expected, rtol=1e-10, atol=1e-10)


def test_the_corrector_makes_much_of_the_same_evaluations():
    x, grid = noise(16, 2), torch.linspace(1, 0.05, 41, dtype=torch.float64)
    truth = gaussian_flow(x, 1.0, 0.05)
    with_it, without = (
        float((final(sample(GAUSSIAN, sampler, grid, x, seeded(0))) - truth).norm())
        for sampler in (UniPC(2), DpmSolver2M())
    )
    assert with_it < without / 3


def test_the_first_step_is_ddims_and_the_second_one_predicts_as_dpm_solver_2m_does():
    x = noise(4, 2)
    first, second = walk(UniPC(2), GAUSSIAN, [0.9, 0.8, 0.72], x)
    torch.testing.assert_close(first.xs, walk(Ddim(), GAUSSIAN, [0.9, 0.8], x)[0].xs)
    (_, theirs) = walk(DpmSolver2M(), GAUSSIAN, [0.9, 0.8, 0.72], x)
    # they start from two places, the corrected and the other one, with the same estimates
    now, after = (CORRUPTION.level(torch.tensor(t, dtype=torch.float64)) for t in (0.8, 0.72))
    moved_start = (after.sigma / now.sigma) * (second.history[0].x - first.xs)
    torch.testing.assert_close(second.xs, theirs.xs + moved_start)


def test_three_points_count_as_those_of_multistep_do():
    """From the same corrected place, with the same three estimates, the predictor's step is Multistep(3)'s."""
    x, times = noise(4, 2), [0.9, 0.86, 0.83, 0.8]
    *_, before, last = walk(UniPC(3), GAUSSIAN, times, x)
    t, s = (torch.tensor([one], dtype=torch.float64).expand(4) for one in times[-2:])

    class Known:
        corruption = CORRUPTION

        def __call__(self, xt, t, condition=None):
            return last.history[0].estimate

    theirs = Multistep(3)(Known(), last.history[0].x, t, s, None, seeded(0), before.history)
    torch.testing.assert_close(last.xs, theirs.xs)


@pytest.mark.parametrize("order", [2, 3])
def test_it_asks_once_a_step_and_ends_at_the_estimate(order):
    counted = Counted(GAUSSIAN)
    grid = torch.linspace(1, 0, 8, dtype=torch.float64)
    *_, last = sample(counted, UniPC(order), grid, noise(4, 2), seeded(0))
    assert counted.evaluations == 7
    assert torch.equal(last.x, last.x0)


def test_the_state_that_a_step_returns_is_the_one_it_is_asked_at_next():
    seen = []

    class Seen:
        corruption = CORRUPTION

        def __call__(self, xt, t, condition=None):
            seen.append(xt)
            return GAUSSIAN(xt, t)

    walked = list(sample(Seen(), UniPC(2), torch.linspace(1, 0, 6, dtype=torch.float64), noise(4, 2), seeded(0)))
    assert all(torch.equal(step.x, x) for step, x in zip(walked, seen[1:], strict=False))
    assert torch.isfinite(final(iter(walked))).all()


def test_another_order_is_refused():
    with pytest.raises(EbbtideError, match="order=1"):
        UniPC(1)
