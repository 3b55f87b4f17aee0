"""EDM's stochastic sampler against its algorithm, written out in its own coordinates, and against exact laws."""

import math

import pytest
import torch

from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers import GaussianOracle
from ebbtide.errors import EbbtideError
from ebbtide.grids import karras_grid, uniform_grid
from ebbtide.randomness import SampleGenerators, normal
from ebbtide.samplers import HEUN, Heun, RungeKutta, final, sample
from ebbtide.schedules import linear_schedule
from parts import COSINE, SIGMAS, noise, seeded
from problems import CENTER, GAUSSIAN, MATRIX, walk

ORACLE = GaussianOracle(CENTER, MATRIX, GaussianCorruption(COSINE))


def algorithm_2(denoise, sigmas, y, generator, churn, low, high, extra):
    """Karras et al. 2022 (arXiv:2206.00364), algorithm 2: y = x / alpha, and sigma for our n."""
    for sigma, after in zip(sigmas[:-1], sigmas[1:], strict=True):
        raised = sigma
        if churn > 0 and low <= sigma <= high:
            raised = sigma * (1 + churn)
            z = normal(y.shape, generator, dtype=y.dtype)
            y = y + math.sqrt(raised**2 - sigma**2) * extra * z
        slope = (y - denoise(y, raised)) / raised
        moved = y + (after - raised) * slope
        if after != 0:
            end = (moved - denoise(moved, after)) / after
            moved = y + (after - raised) * (slope + end) / 2
        y = moved
    return y


def denoise(y, sigma):
    """E[x0 | y] of N(m, C): m + C (C + sigma²)⁻¹ (y - m)."""
    gain = torch.linalg.solve(MATRIX + sigma**2 * torch.eye(2, dtype=torch.float64), MATRIX)
    return CENTER + (y - CENTER) @ gain


@pytest.mark.parametrize(
    "options",
    [{}, {"churn": 0.3}, {"churn": 0.41, "low": 0.1, "high": 5.0, "noise": 1.01}],
    ids=["no churn", "churn", "all"],
)
def test_it_is_algorithm_2_of_karras_and_others(options):
    grid = karras_grid(COSINE, 18)
    level = COSINE.level(grid)
    sigmas, alpha = (level.sigma / level.alpha).tolist(), float(level.alpha[0])
    x = noise(5, 2)
    ours = final(sample(ORACLE, Heun(**options), grid, x, seeded(3)))
    churn, low, high, extra = ({"churn": 0.0, "low": 0.0, "high": math.inf, "noise": 1.0} | options).values()
    theirs = algorithm_2(denoise, sigmas, x / alpha, seeded(3), churn, low, high, extra)
    torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-8)


def test_without_churn_it_is_heuns_method_and_draws_nothing():
    x, times, generator = noise(4, 2), [0.9, 0.88, 0.86, 0.85], seeded(3)
    ours, plain = (walk(sampler, GAUSSIAN, times, x)[-1].xs for sampler in (Heun(), RungeKutta(HEUN)))
    assert torch.equal(ours, plain)
    final(sample(GAUSSIAN, Heun(), torch.tensor(times, dtype=torch.float64), x, generator))
    assert torch.equal(normal((3,), generator), normal((3,), seeded(3)))


def test_the_step_to_the_data_is_the_estimate_at_the_raised_level():
    seen = []

    class Seen:
        corruption = ORACLE.corruption

        def __call__(self, xt, t, condition=None):
            seen.append((float(t[0]), ORACLE(xt, t)))
            return seen[-1][1]

    (moved,) = walk(Heun(churn=0.2), Seen(), [0.3, 0.0], noise(4, 2))
    ((t, estimate),) = seen
    assert t > 0.3
    assert torch.equal(moved.xs, estimate.x0)


def test_new_noise_leaves_the_law_of_xt_at_its_new_level():
    """x ~ p_t, raised: p_t', for a denoiser that knows its data; so churn changes no law."""
    count, t = 20000, 0.5
    level = COSINE.level(torch.tensor([t], dtype=torch.float64))
    data = CENTER + noise(count, 2, seed=8) @ torch.linalg.cholesky(MATRIX).mT
    xt = level.mix(data, noise(count, 2, seed=9))
    seen = []

    class Seen:
        corruption = ORACLE.corruption

        def __call__(self, xt, t, condition=None):
            seen.append((xt, t[:1]))
            return ORACLE(xt, t)

    walk(Heun(churn=0.4), Seen(), [t, 0.49], xt)
    raised, time = seen[0]
    marginal = ORACLE.marginal(time[0])
    mean, covariance = raised.mean(0), raised.mT.cov()
    spread = marginal.variances.sqrt()
    assert ((mean - marginal.mean).abs() < SIGMAS * spread / count**0.5).all()
    assert ((covariance.diagonal() / marginal.variances - 1).abs() < SIGMAS * (2 / count) ** 0.5).all()
    before, after = COSINE.level(torch.tensor([t, float(time)], dtype=torch.float64)).log_snr.tolist()
    assert math.exp((before - after) / 2) == pytest.approx(1.4)


def test_samples_with_much_churn_have_the_law_of_the_data():
    count = 4000
    grid = karras_grid(COSINE, 24)
    level = COSINE.level(grid[0])
    x = level.mix(CENTER + noise(count, 2, seed=8) @ torch.linalg.cholesky(MATRIX).mT, noise(count, 2, seed=9))
    found = final(sample(ORACLE, Heun(churn=0.4), grid, x, seeded(1)))
    variances = MATRIX.diagonal()
    # 24 steps of Heun's method are a percent or so away
    assert ((found.mean(0) - CENTER).abs() < (SIGMAS / count**0.5 + 0.02) * variances.sqrt()).all()
    assert ((found.var(0) / variances - 1).abs() < SIGMAS * (2 / count) ** 0.5 + 0.05).all()


@pytest.mark.parametrize(("t", "options"), [(1.0, {}), (0.5, {"low": 9.0}), (0.5, {"high": 0.01})])
def test_no_noise_is_added_beyond_the_end_or_the_range(t, options):
    x, generator = noise(4, 2), seeded(3)
    grid = torch.tensor([t, t - 0.01], dtype=torch.float64)
    with_churn, without = (
        final(sample(ORACLE, sampler, grid, x, generator)) for sampler in (Heun(churn=0.3, **options), Heun())
    )
    assert torch.equal(with_churn, without)
    assert torch.equal(normal((3,), generator), normal((3,), seeded(3)))


def test_noise_cannot_be_raised_above_that_of_t_1():
    times = []

    class Seen:
        corruption = ORACLE.corruption

        def __call__(self, xt, t, condition=None):
            times.append(float(t[0]))
            return ORACLE(xt, t)

    (moved,) = walk(Heun(churn=0.41), Seen(), [0.9999, 0.99], noise(4, 2))
    assert times[0] == 1
    assert torch.isfinite(moved.xs).all()


def test_a_seed_names_a_sample_in_any_batch():
    x, grid = noise(4, 2), karras_grid(COSINE, 6)
    together = final(sample(ORACLE, Heun(churn=0.3), grid, x, SampleGenerators.of(5, [0, 1, 2, 3])))
    alone = final(sample(ORACLE, Heun(churn=0.3), grid, x[2:3], SampleGenerators.of(5, [2])))
    torch.testing.assert_close(together[2:3], alone)


def test_a_table_is_raised_between_its_times():
    oracle = GaussianOracle(CENTER, MATRIX, GaussianCorruption(linear_schedule(50)))
    found = final(sample(oracle, Heun(churn=0.3), uniform_grid(linear_schedule(50), 10), noise(4, 2), seeded(0)))
    assert torch.isfinite(found).all()


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"churn": 0.5}, "churn=0.5"),
        ({"churn": -0.1}, "S_churn"),
        ({"low": 2.0, "high": 1.0}, "low=2"),
        ({"noise": -1.0}, "noise"),
    ],
)
def test_wrong_numbers_are_refused(wrong, named):
    with pytest.raises(EbbtideError, match=named):
        Heun(**wrong)
