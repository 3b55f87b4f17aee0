"""Item G3: denoise fully, then renoise at a lower level."""

import pytest
import torch

from ebbtide.corruptions import Corrupted, GaussianCorruption
from ebbtide.denoisers import FiniteOracle, GaussianOracle
from ebbtide.errors import EbbtideError
from ebbtide.grids import uniform_grid
from ebbtide.samplers import Renoise, final, sample, strided_grid
from ebbtide.schedules import CosineSchedule, constant_schedule, linear_schedule
from parts import COSINE, SCHEDULES, SIGMAS, corruption_of, noise, seeded


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 3, 8])
def test_of_data_that_are_one_point_every_state_has_the_law_of_the_corruption(name, steps):
    count = 4000
    corruption, point = corruption_of(name), torch.tensor([[1.5, -0.5]], dtype=torch.float64)
    grid = uniform_grid(SCHEDULES[name], steps)
    for step in sample(FiniteOracle(point, corruption), Renoise(), grid, noise(count, 2), seeded(1)):
        level = corruption.level(torch.tensor(step.t, dtype=torch.float64))
        assert ((step.x.mean(0) - level.alpha * point[0]).abs() <= SIGMAS * level.sigma / count**0.5 + 1e-12).all()
        wide = level.sigma**2 * SIGMAS * (2 / count) ** 0.5
        assert ((step.x.var(0) - level.sigma**2).abs() <= wide + 1e-12).all()


def test_it_ends_at_the_data_with_nothing_left_over():
    points = noise(3, 2, seed=4)
    walked = list(
        sample(
            FiniteOracle(points, corruption_of("cosine")), Renoise(), uniform_grid(COSINE, 9), noise(5, 2), seeded(0)
        )
    )
    assert torch.equal(walked[-1].x, walked[-1].x0)


def test_a_step_forgets_the_noise_that_was_there():
    """xs depends on xt through E[x0 | xt] alone."""
    oracle = FiniteOracle(noise(1, 2, seed=4), corruption_of("cosine"))
    t, s = (torch.full((3,), time, dtype=torch.float64) for time in (0.6, 0.3))
    one, other = (Renoise()(oracle, noise(3, 2, seed=k), t, s, None, seeded(7), None).xs for k in (1, 2))
    assert torch.equal(one, other)


@pytest.mark.parametrize("spread", [0.25, 1.0, 4.0])
def test_of_gaussian_data_it_draws_too_narrow_a_law_by_the_recursion_of_its_variance(spread):
    """v_s = (alpha_s gain_t)² v_t + sigma_s², below alpha_s² C + sigma_s² by what Cov[x0 | xt] hides."""
    count, corruption, steps = 40_000, GaussianCorruption(COSINE), 12
    oracle = GaussianOracle(
        torch.zeros(1, dtype=torch.float64), torch.full((1, 1), spread, dtype=torch.float64), corruption
    )
    grid = uniform_grid(COSINE, steps)
    levels = corruption.level(grid)
    v = float(levels.alpha[0] ** 2 * spread + levels.sigma[0] ** 2)
    start = v**0.5 * noise(count, 1)
    walked = list(sample(oracle, Renoise(), grid, start, seeded(2)))
    for index, step in enumerate(walked):
        now, (alpha, sigma) = (
            (levels.alpha[index], levels.sigma[index]),
            (levels.alpha[index + 1], levels.sigma[index + 1]),
        )
        gain = now[0] * spread / (now[0] ** 2 * spread + now[1] ** 2)
        v = float((alpha * gain) ** 2 * v + sigma**2)
        assert float(step.x.var()) == pytest.approx(v, rel=SIGMAS * (2 / count) ** 0.5)
        assert v < float(alpha**2 * spread + sigma**2)
    assert v < 0.75 * spread


@pytest.mark.parametrize("alpha", [0.2, 0.7, 0.95])
def test_many_steps_near_one_level_leave_variance_1_over_1_plus_alpha_squared(alpha):
    schedule = constant_schedule(1 - alpha**2, 1)
    oracle = GaussianOracle(
        torch.zeros(1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64), GaussianCorruption(schedule)
    )
    x, t = noise(40_000, 1), torch.ones(40_000, dtype=torch.float64)
    generator = seeded(3)
    for _ in range(60):
        x = Renoise()(oracle, x, t, t, None, generator, None).xs
    assert float(x.var()) == pytest.approx(1 / (1 + alpha**2), rel=SIGMAS * (2 / 40_000) ** 0.5)


def test_it_asks_of_a_corruption_only_to_corrupt():
    class Fading:
        """Without any noise: data fade to nothing."""

        def corrupt(self, x0, t, generator):
            return Corrupted((1 - t[:, None]) * x0, None)

    class Ideal:
        corruption = Fading()

        def __call__(self, xt, t, condition=None):
            return type("Known", (), {"x0": xt / (1 - t[:, None])})()

    x0, grid = noise(4, 2), torch.tensor([0.8, 0.5, 0.1, 0.0], dtype=torch.float64)
    walked = list(sample(Ideal(), Renoise(), grid, 0.2 * x0, seeded(0)))
    for step in walked:
        torch.testing.assert_close(step.x, (1 - step.t) * x0)


@pytest.mark.parametrize(("stride", "points"), [(100, 11), (300, 5), (1000, 2), (1, 1001)])
def test_a_stride_visits_every_kth_step_of_the_table_from_its_end(stride, points):
    grid = strided_grid(linear_schedule(), stride)
    assert len(grid) == points
    assert (float(grid[0]), float(grid[-1])) == (1, 0)
    assert torch.allclose(-grid.diff()[:-1] * 1000, torch.full((points - 2,), float(stride), dtype=torch.float64))
    x = final(sample(FiniteOracle(noise(2, 2), corruption_of("linear")), Renoise(), grid[-4:], noise(3, 2), seeded(0)))
    assert x.isfinite().all()


def test_strides_without_steps_are_refused():
    for stride in (0, 1001):
        with pytest.raises(EbbtideError, match="stride"):
            strided_grid(linear_schedule(), stride)
    with pytest.raises(EbbtideError, match="uniform_grid"):
        strided_grid(CosineSchedule(), 10)
