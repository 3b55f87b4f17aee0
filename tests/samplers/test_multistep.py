"""DPM-Solver++ 2M: its order on exact answers, and diffusers' own implementation."""

from itertools import pairwise

import torch

from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers import GaussianOracle, MixtureOracle
from ebbtide.samplers import Ddim, DpmSolver2M, final, sample
from ebbtide.schedules import FunctionSchedule
from parts import covariance, noise, seeded, slopes

STRAIGHT = FunctionSchedule(lambda t: 8 - 14 * t)
"""Even steps of t are even steps of log-SNR, as the solver's order is stated for."""
CORRUPTION = GaussianCorruption(STRAIGHT)
END = 0.05
CENTER = torch.tensor([0.7, -1.5], dtype=torch.float64)
MATRIX = covariance(2, seed=3)
ORACLE = GaussianOracle(CENTER, MATRIX, CORRUPTION)


def grid_of(steps):
    return torch.linspace(1, END, steps + 1, dtype=torch.float64)


def exact(x):
    """The flow of N(m, C): every principal coordinate keeps its place in units of its standard deviation."""
    values, axes = torch.linalg.eigh(MATRIX)
    start, end = (CORRUPTION.level(torch.tensor(t, dtype=torch.float64)) for t in (1.0, END))
    before, after = ((level.alpha**2 * values + level.sigma**2).sqrt() for level in (start, end))
    return end.alpha * CENTER + ((x - start.alpha * CENTER) @ axes * (after / before)) @ axes.mT


def error(sampler, steps):
    x = noise(64, 2)
    return float((final(sample(ORACLE, sampler, grid_of(steps), x, seeded(0))) - exact(x)).norm())


def test_it_is_of_second_order_where_ddim_is_of_first():
    counts = [20, 40, 80, 160, 320]
    second = slopes([error(DpmSolver2M(), count) for count in counts])
    first = slopes([error(Ddim(), count) for count in counts])
    assert all(1.8 < slope < 2.3 for slope in second[1:])
    assert all(0.8 < slope < 1.2 for slope in first[1:])


def test_the_first_step_and_the_last_are_ddims():
    x = noise(5, 2)
    t, s, zero = (torch.full((5,), value, dtype=torch.float64) for value in (0.8, 0.6, 0.0))
    first = DpmSolver2M()(ORACLE, x, t, s, None, seeded(0), None)
    torch.testing.assert_close(first.xs, Ddim()(ORACLE, x, t, s, None, seeded(0), None).xs)
    last = DpmSolver2M()(ORACLE, first.xs, s, zero, None, seeded(0), first.history)
    torch.testing.assert_close(last.xs, ORACLE(first.xs, s).x0)


def test_a_straight_path_of_x0_is_followed_exactly_in_one_extrapolation():
    """Where x0 is linear in log(alpha/sigma), two estimates say all there is to know: D is x0 at the step's middle."""

    class Line:
        corruption = CORRUPTION

        def __call__(self, xt, t, condition=None):
            rise = CORRUPTION.level(t).log_snr.unsqueeze(1) / 2
            return type("Straight", (), {"x0": 3.0 + 0.25 * rise.expand_as(xt)})()

    x, times = noise(4, 2), [torch.full((4,), value, dtype=torch.float64) for value in (0.9, 0.7, 0.4)]
    history = None
    for t, s in pairwise(times):
        moved = DpmSolver2M()(Line(), x, t, s, None, seeded(0), history)
        before, x, history = x, moved.xs, moved.history
    now, after = CORRUPTION.level(times[1]), CORRUPTION.level(times[2])
    middle = 3.0 + 0.25 * (now.log_snr + after.log_snr) / 4
    expected = (after.sigma / now.sigma).unsqueeze(1) * before
    h = (after.log_snr - now.log_snr) / 2
    expected = expected - (after.alpha * torch.expm1(-h) * middle).unsqueeze(1)
    torch.testing.assert_close(x, expected)


def test_few_steps_draw_a_mixture_better_than_ddim_does(unchecked):
    """Against DDIM in very many steps, from the same noise."""
    means = torch.tensor([[-2.0, 0.0], [2.0, 0.0], [0.0, 3.0]], dtype=torch.float64)
    oracle = MixtureOracle.spherical(torch.full((3,), 1 / 3, dtype=torch.float64), means, 0.3, CORRUPTION)
    x = noise(200, 2, seed=5)
    truth = final(sample(oracle, Ddim(), grid_of(1000), x, seeded(0)))
    for steps in (5, 10, 20):
        ours, ddim = (final(sample(oracle, one, grid_of(steps), x, seeded(0))) for one in (DpmSolver2M(), Ddim()))
        assert (ours - truth).norm() < 0.7 * (ddim - truth).norm()


def test_it_is_diffusers_step_by_step():
    """diffusers' DPMSolverMultistepScheduler on its own table of betas, with an oracle in the network's place."""
    from diffusers import DPMSolverMultistepScheduler

    from ebbtide.schedules import table

    theirs = DPMSolverMultistepScheduler(
        num_train_timesteps=100, prediction_type="sample", final_sigmas_type="zero", timestep_spacing="trailing"
    )
    theirs.set_timesteps(10)
    schedule = table(theirs.betas.double())
    oracle = GaussianOracle(CENTER, MATRIX, GaussianCorruption(schedule))
    x = noise(6, 2)
    grid = torch.tensor([*((theirs.timesteps + 1) / 100).tolist(), 0.0], dtype=torch.float64)
    found = final(sample(oracle, DpmSolver2M(), grid, x, seeded(0)))
    y = x.clone()
    for t, time in zip(theirs.timesteps, grid[:-1], strict=True):
        y = theirs.step(oracle(y, time.expand(6)).x0, t, y).prev_sample
    torch.testing.assert_close(found, y, rtol=1e-4, atol=1e-4)
