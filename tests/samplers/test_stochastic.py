"""Item G6: solvers of the reverse SDE, held against the exact law of every member of the family, and path by path."""

from functools import cache
from itertools import pairwise
from unittest.mock import patch

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline

from ebbtide.brownian import BrownianPath
from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers import FiniteOracle, GaussianOracle, MixtureOracle
from ebbtide.errors import EbbtideError
from ebbtide.gaussian import Full, Gaussian
from ebbtide.grids import karras_grid, uniform_grid
from ebbtide.randomness import SampleGenerators
from ebbtide.samplers import (
    Ancestral,
    Ddim,
    DpmSolver2M,
    EulerMaruyama,
    SdeDpmSolver2M,
    StochasticHeun,
    final,
    sample,
)
from ebbtide.schedules import FunctionSchedule, table
from parts import COSINE, SCHEDULES, corruption_of, covariance, noise, seeded, slopes

STRAIGHT = FunctionSchedule(lambda t: 3 - 6 * t)
"""Even steps of t are even steps of log-SNR, as orders are stated for."""
END = 0.1
CORRUPTION = GaussianCorruption(STRAIGHT)
CENTER, MATRIX = torch.tensor([0.7, -1.5], dtype=torch.float64), covariance(2, seed=3)
ORACLE = GaussianOracle(CENTER, MATRIX, CORRUPTION)
MIXTURE = MixtureOracle.spherical(
    torch.tensor([0.3, 0.7], dtype=torch.float64),
    torch.tensor([[-1.0, 0.5], [1.0, 0.0]], dtype=torch.float64),
    0.5,
    CORRUPTION,
)
KINDS = {"euler": EulerMaruyama, "2m": SdeDpmSolver2M, "heun": StochasticHeun}
ORDERS = {"euler": 1, "2m": 2, "heun": 2}


def at(t):
    return torch.tensor(t, dtype=torch.float64)


def even(steps):
    return torch.linspace(1, END, steps + 1, dtype=torch.float64)


def law_of_samples(sampler, oracle, grid, start):
    """The Gaussian that a linear oracle's samples have, in one run: row by row, a unit of the start or of one noise."""
    size, steps, call = len(start.mean), len(grid) - 1, 0
    x = torch.zeros(1 + size + steps * size, size, dtype=torch.float64)
    x[1 : 1 + size] = torch.eye(size)

    def scripted(like, generator, begin, end):
        nonlocal call
        z, first, call = torch.zeros_like(like), 1 + size + call * size, call + 1
        z[first : first + size] = torch.eye(size)
        return z

    with patch("ebbtide.samplers.stochastic.noise_between", scripted):
        ends = final(sample(oracle, sampler, grid, x, seeded(0)))
    shift, of_start, of_noise = ends[0], (ends[1 : 1 + size] - ends[0]).mT, ends[1 + size :] - ends[0]
    matrix = of_start @ start.covariance.matrix @ of_start.mT + of_noise.mT @ of_noise
    return of_start @ start.mean + shift, matrix


def exact_law(oracle, eta, t, s, start):
    """Mean and covariance at s of the reverse SDE of N(m, C), begun at any Gaussian at t.

    Along an eigenvector of variance v, with w = alpha² v + sigma²: what lies off p_t's own shrinks by
    sqrt(w_s / w_t) (w_s alpha_t² / w_t alpha_s²)^(eta²/2), as ∫ g²/w dt = log of the second ratio.
    """
    values, axes = torch.linalg.eigh(oracle.matrix)
    now, after = (oracle.corruption.level(at(time)) for time in (t, s))
    wide, narrow = (level.alpha**2 * values + level.sigma**2 for level in (now, after))
    kept = (narrow / wide).sqrt() * (narrow * now.alpha**2 / (wide * after.alpha**2)) ** (eta**2 / 2)
    gain = (axes * kept) @ axes.mT
    mean = after.alpha * oracle.mean + gain @ (start.mean - now.alpha * oracle.mean)
    off = start.covariance.matrix - (axes * wide) @ axes.mT
    return mean, gain @ off @ gain.mT + (axes * narrow) @ axes.mT


ELSEWHERE = Gaussian(at([1.5, 0.5]), Full(at([[0.3, 0.1], [0.1, 0.6]])))
"""A start that is not p_1: the sampler must follow its own member of the family, not only keep p_t."""


@pytest.mark.parametrize(("name", "eta"), [("euler", 0.6), ("2m", 0.6), ("heun", 0.0), ("heun", 1.0)])
def test_mean_and_covariance_of_gaussian_data_have_the_weak_order_that_is_claimed(name, eta):
    true_mean, true_matrix = exact_law(ORACLE, eta, 1.0, END, ELSEWHERE)
    errors = []
    for steps in (16, 32, 64, 128, 256):
        mean, matrix = law_of_samples(KINDS[name](eta), ORACLE, even(steps), ELSEWHERE)
        errors.append(float((mean - true_mean).norm() + (matrix - true_matrix).norm()))
    assert all(abs(slope - ORDERS[name]) < 0.15 for slope in slopes(errors)), slopes(errors)


@pytest.mark.parametrize("name", KINDS)
def test_the_reverse_sde_keeps_the_mean_of_gaussian_data_exactly_in_any_steps(name):
    """At eta = 1 a step is linear in x0, and E[x0 | xs] is a martingale."""
    true_mean, _ = exact_law(ORACLE, 1.0, 1.0, END, ELSEWHERE)
    for steps in (1, 2, 7):
        mean, _ = law_of_samples(KINDS[name](1.0), ORACLE, even(steps), ELSEWHERE)
        assert torch.allclose(mean, true_mean, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", KINDS)
def test_an_eta_that_changes_with_t_keeps_the_marginals_at_the_same_order(name):
    start, end = ORACLE.marginal(at(1.0)), ORACLE.marginal(at(END))
    errors = []
    for steps in (48, 96, 192) if name == "2m" else (16, 32, 64):
        _, matrix = law_of_samples(KINDS[name](lambda t: 0.5 + t), ORACLE, even(steps), start)
        errors.append(float((matrix - end.covariance.matrix).norm()))
    assert all(abs(slope - ORDERS[name]) < 0.15 for slope in slopes(errors)), slopes(errors)


def test_an_eta_that_is_a_constant_function_is_that_number():
    grid, x = uniform_grid(COSINE, 5), noise(4, 2)
    oracle = GaussianOracle(CENTER, MATRIX, GaussianCorruption(COSINE))
    for kind in KINDS.values():
        one = final(sample(oracle, kind(0.7), grid, x, seeded(0)))
        other = final(sample(oracle, kind(lambda t: torch.full_like(t, 0.7)), grid, x, seeded(0)))
        assert torch.allclose(one, other, rtol=1e-12)


# --- data that are not Gaussian: expectations by quadrature, backward from the end ------------------------------------

LINE = MixtureOracle.spherical(MIXTURE.weights, at([[-1.0], [1.0]]), 0.5, CORRUPTION)
X = np.linspace(-8, 8, 401)
NODES, SHARES = np.polynomial.hermite_e.hermegauss(14)


def density(t):
    return np.exp(LINE.log_prob(torch.from_numpy(X)[:, None], at(t)).numpy()) * (X[1] - X[0])


def expectation(sampler, steps, of):
    """E of(x) at the end, begun at p_1: u(x) = E[u_next(step(x, z))] by Gauss-Hermite and splines (Kolmogorov)."""
    x, z = (torch.from_numpy(values)[:, None] for values in (np.repeat(X, len(NODES)), np.tile(NODES, len(X))))
    u = of(X)
    for t, s in reversed(list(pairwise(even(steps)))):
        with patch("ebbtide.samplers.stochastic.noise_between", lambda like, *_: z):
            moved = sampler(LINE, x, t.expand(len(x)), s.expand(len(x)), None, seeded(0), None).xs
        u = CubicSpline(X, u)(moved[:, 0].numpy().clip(-8, 8)).reshape(len(X), -1) @ (SHARES / SHARES.sum())
    return float(density(1.0) @ u)


@pytest.mark.parametrize("name", ["euler", "heun"])
@pytest.mark.parametrize("of", [np.square, lambda x: np.cos(2 * x)], ids=["square", "cosine"])
def test_expectations_of_a_mixture_have_the_weak_order_that_is_claimed(name, of):
    true = float(density(END) @ of(X))
    errors = [abs(expectation(KINDS[name](1.0), steps, of) - true) for steps in (12, 24, 48, 96)]
    assert all(abs(slope - ORDERS[name]) < 0.15 for slope in slopes(errors)), slopes(errors)


# --- path by path -----------------------------------------------------------------------------------------------------


PATHS = 128


@cache
def ends_of_paths(name, steps, eta=1.0):
    path, x = BrownianPath.of(5, range(PATHS)), noise(PATHS, 2)
    return final(sample(MIXTURE, KINDS[name](eta), even(steps), x, path))


@pytest.mark.parametrize("name", KINDS)
def test_along_one_brownian_path_steps_converge_at_strong_order_1(name):
    counts = (5, 10, 20, 40, 80)
    gaps = [float((ends_of_paths(name, a) - ends_of_paths(name, b)).norm()) for a, b in pairwise(counts)]
    found = slopes(gaps)
    # chance: the paths are few
    assert abs(sum(found) / len(found) - 1) < 0.2, found
    assert all(abs(slope - 1) < 0.5 for slope in found), found


def test_along_one_brownian_path_all_solvers_arrive_at_the_same_place():
    ends = [ends_of_paths(name, 80) for name in KINDS]
    far = float((ends_of_paths("euler", 5) - ends[0]).norm())
    assert all(float((one - ends[0]).norm()) < 0.15 * far for one in ends[1:])
    other = final(sample(MIXTURE, EulerMaruyama(), even(20), noise(PATHS, 2), BrownianPath.of(6, range(PATHS))))
    assert float((other - ends[0]).norm()) > 3 * far


def test_a_path_wants_a_clock():
    with pytest.raises(EbbtideError, match="Brownian path"):
        final(sample(MIXTURE, EulerMaruyama(lambda t: t), even(3), noise(2, 2), BrownianPath.of(0, [0, 1])))


def test_steps_along_a_path_have_the_law_of_fresh_noise():
    """Of many paths, the variance at the end is that of the exact moments."""
    count = 4000
    oracle = GaussianOracle(CENTER[:1], MATRIX[:1, :1], CORRUPTION)
    start = Gaussian(at([0.3]), Full(at([[0.0]])))
    mean, matrix = law_of_samples(EulerMaruyama(0.8), oracle, even(6), start)
    x = torch.full((count, 1), 0.3, dtype=torch.float64)
    ends = final(sample(oracle, EulerMaruyama(0.8), even(6), x, BrownianPath.of(1, range(count))))
    assert abs(float(ends.mean() - mean)) < 5 * float(matrix / count) ** 0.5
    assert abs(float(ends.var() / matrix) - 1) < 5 * (2 / count) ** 0.5


# --- what they are at the ends of the family --------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCHEDULES)
def test_eta_0_is_the_solver_of_the_ode(name):
    oracle = GaussianOracle(CENTER, MATRIX, corruption_of(name))
    grid, x = uniform_grid(SCHEDULES[name], 6), noise(5, 2)
    for ours, theirs in ((EulerMaruyama(0.0), Ddim()), (SdeDpmSolver2M(0.0), DpmSolver2M())):
        generator = seeded(3)
        before = generator.get_state()
        found = final(sample(oracle, ours, grid, x, generator))
        torch.testing.assert_close(found, final(sample(oracle, theirs, grid, x, seeded(3))), rtol=1e-9, atol=1e-10)
        assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize("name", SCHEDULES)
def test_eta_1_is_ancestral_sampling_noise_for_noise(name):
    """A reverse SDE whose x0 stands still over the step is the posterior given x0, exactly."""
    oracle = GaussianOracle(CENTER, MATRIX, corruption_of(name))
    grid, x = uniform_grid(SCHEDULES[name], 6), noise(5, 2)
    found = final(sample(oracle, EulerMaruyama(1.0), grid, x, seeded(3)))
    torch.testing.assert_close(found, final(sample(oracle, Ancestral(), grid, x, seeded(3))), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("eta", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("name", SCHEDULES)
def test_any_number_of_steps_ends_at_the_data_with_nothing_left_over(name, steps, kind, eta):
    points = at([[-1.0, -1.0], [1.0, -0.5], [0.0, 1.5]])
    oracle = FiniteOracle(points, corruption_of(name))
    walked = list(sample(oracle, KINDS[kind](eta), uniform_grid(SCHEDULES[name], steps), noise(5, 2), seeded(0)))
    assert torch.equal(walked[-1].x, walked[-1].x0)
    assert all(bool(step.x.isfinite().all()) and float(step.x.abs().max()) < 10 for step in walked)


@pytest.mark.parametrize("kind", KINDS)
def test_24_steps_of_karras_draw_a_mixture_with_its_moments(kind):
    count, corruption = 4000, GaussianCorruption(COSINE)
    oracle = MixtureOracle.spherical(MIXTURE.weights, at([[-1.0, 0.5], [1.0, 0.0]]), 0.5, corruption)
    ends = final(sample(oracle, KINDS[kind](1.0), karras_grid(COSINE, 24), noise(count, 2), seeded(4)))
    mean = MIXTURE.weights @ at([[-1.0, 0.5], [1.0, 0.0]])
    variance = 0.25 + MIXTURE.weights @ at([[-1.0, 0.5], [1.0, 0.0]]).square() - mean.square()
    known = 0.3 if kind == "euler" else 0.09  # first order, and second
    assert ((ends.mean(0) - mean).abs() < 5 * (variance / count).sqrt() + known / 5).all()
    assert ((ends.var(0) / variance - 1).abs() < 5 * (2 / count) ** 0.5 + known).all()


def test_sde_dpm_solver_is_diffusers_step_by_step():
    from diffusers import DPMSolverMultistepScheduler

    theirs = DPMSolverMultistepScheduler(
        num_train_timesteps=100,
        prediction_type="sample",
        final_sigmas_type="zero",
        timestep_spacing="trailing",
        algorithm_type="sde-dpmsolver++",
    )
    theirs.set_timesteps(10)
    schedule = table(theirs.betas.double())
    oracle = GaussianOracle(CENTER, MATRIX, GaussianCorruption(schedule))
    grid = at([*((theirs.timesteps + 1) / 100).tolist(), 0.0])
    drawn = [noise(6, 2, seed=k) for k in range(10)]
    left = iter(drawn)
    with patch("ebbtide.samplers.stochastic.noise_between", lambda *_: next(left)):
        found = final(sample(oracle, SdeDpmSolver2M(), grid, noise(6, 2, seed=99), seeded(0)))
    y = noise(6, 2, seed=99)
    for t, time, z in zip(theirs.timesteps, grid[:-1], drawn, strict=True):
        y = theirs.step(oracle(y, time.expand(6)).x0, t, y, variance_noise=z).prev_sample
    torch.testing.assert_close(found, y, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("noises", [SampleGenerators, BrownianPath])
@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_is_the_same_in_any_batch(kind, noises):
    x, grid = noise(3, 2), even(5)

    def ends(rows):
        return final(sample(MIXTURE, KINDS[kind](0.9), grid, x[rows], noises.of(1, rows)))

    assert torch.allclose(ends([2, 0, 1])[1:2], ends([0]), rtol=1e-11)


@pytest.mark.parametrize("eta", [-0.1, float("nan"), float("inf")])
@pytest.mark.parametrize("kind", KINDS.values())
def test_an_eta_that_is_no_amount_of_noise_is_refused(kind, eta):
    with pytest.raises(EbbtideError, match="eta"):
        kind(eta)


def test_a_function_that_falls_below_0_is_refused_where_it_does():
    with pytest.raises(EbbtideError, match=r"eta=-.* came at t="):
        final(sample(MIXTURE, EulerMaruyama(lambda t: t - 0.5), even(4), noise(2, 2), seeded(0)))
