"""Item G8: noise an example to level t and bring it back."""

import pytest
import torch

from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers import FiniteOracle, GaussianOracle
from ebbtide.grids import uniform_grid
from ebbtide.randomness import SampleGenerators
from ebbtide.samplers import Ancestral, Ddim, final, restore
from parts import COSINE, SIGMAS, noise, seeded

CORRUPTION = GaussianCorruption(COSINE)
GAUSSIAN = GaussianOracle(torch.zeros(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64), CORRUPTION)
SAMPLERS = {"ancestral": Ancestral(), "ddim": Ddim()}


@pytest.fixture(params=SAMPLERS)
def sampler(request):
    return SAMPLERS[request.param]


@pytest.mark.parametrize("t", [0.1, 0.6, 1.0])
def test_the_noised_example_has_the_law_of_the_corruption(t, sampler):
    count = 20_000
    x0 = torch.tensor([2.0, -1.0], dtype=torch.float64).expand(count, 2)
    xt, _ = restore(GAUSSIAN, sampler, uniform_grid(COSINE, 3, t), x0, seeded(1))
    level = CORRUPTION.level(torch.tensor(t, dtype=torch.float64))
    assert ((xt.mean(0) - level.alpha * x0[0]).abs() < SIGMAS * level.sigma / count**0.5).all()
    assert ((xt.var(0) - level.sigma**2).abs() < SIGMAS * level.sigma**2 * (2 / count) ** 0.5).all()


@pytest.mark.parametrize("t", [0.02, 0.005, 0.001])
def test_a_little_noise_changes_little(t, sampler):
    x0 = noise(500, 2)
    xt, steps = restore(GAUSSIAN, sampler, uniform_grid(COSINE, 10, t), x0, seeded(2))
    restored = final(steps)
    sigma = CORRUPTION.level(torch.tensor(t, dtype=torch.float64)).sigma
    assert (restored - x0).square().mean().sqrt() < 2 * sigma
    assert not torch.equal(restored, xt)


@pytest.mark.parametrize("t", [0.01, 0.2, 0.4])
def test_a_denoiser_that_knows_the_examples_by_heart_gives_the_original_back(t, sampler):
    points = 3 * noise(6, 1, 4, 4, seed=5)
    _, steps = restore(FiniteOracle(points, CORRUPTION), sampler, uniform_grid(COSINE, 20, t), points, seeded(3))
    assert torch.allclose(final(steps), points, rtol=0, atol=1e-6)


def test_restored_data_are_data_again(sampler):
    """Data of the oracle's own law come back with that law, up to the error of the steps."""
    x0, count = noise(2000, 2), 2000
    _, steps = restore(GAUSSIAN, sampler, uniform_grid(COSINE, 40, 0.7), x0, seeded(4))
    restored = final(steps)
    assert (restored.mean(0).abs() < SIGMAS / count**0.5).all()
    assert (restored.mT.cov() - torch.eye(2)).abs().max() < SIGMAS * (2 / count) ** 0.5 + 0.05


def test_the_steps_go_from_the_level_down_to_the_data(sampler):
    grid = uniform_grid(COSINE, 4, 0.6)
    xt, steps = restore(GAUSSIAN, sampler, grid, noise(3, 2), seeded(0))
    walked = list(steps)
    assert [step.t for step in walked] == grid[1:].tolist()
    assert torch.equal(walked[0].x0, GAUSSIAN(xt, grid[:1].expand(3)).x0)


def test_an_example_is_restored_alike_in_any_batch(sampler):
    x0, grid = noise(3, 2), uniform_grid(COSINE, 5, 0.5)

    def restored(rows):
        xt, steps = restore(GAUSSIAN, sampler, grid, x0[rows], SampleGenerators.of(1, rows))
        return torch.cat([xt, final(steps)], dim=1)

    assert torch.allclose(restored([2, 0, 1])[1:2], restored([0]), rtol=1e-12)
