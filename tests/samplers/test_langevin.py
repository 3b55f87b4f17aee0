"""Item G7: Langevin dynamics, held against the stationary law of its steps and of its equation."""

from contextlib import AbstractContextManager
from itertools import pairwise
from unittest.mock import patch

import pytest
import torch

from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers import FiniteOracle, GaussianOracle, MixtureOracle
from ebbtide.errors import EbbtideError
from ebbtide.grids import karras_grid, uniform_grid
from ebbtide.randomness import SampleGenerators
from ebbtide.samplers import (
    Corrector,
    Ddim,
    DpmSolver2M,
    EulerMaruyama,
    Langevin,
    PredictorCorrector,
    Sampler,
    final,
    sample,
)
from ebbtide.schedules import SubVpSchedule, VeSchedule
from parts import COSINE, SIGMAS, covariance, noise, seeded, slopes

SCHEDULES = {"cosine": COSINE, "sub-vp": SubVpSchedule(), "ve": VeSchedule()}
CENTER, MATRIX = torch.tensor([0.7, -1.5], dtype=torch.float64), covariance(2, seed=3)


def oracle_on(name):
    return GaussianOracle(CENTER, MATRIX, GaussianCorruption(SCHEDULES[name]))


def drawing(value: float) -> AbstractContextManager:
    return patch("ebbtide.samplers.langevin.normal", lambda shape, g, **kind: torch.full(tuple(shape), value, **kind))


def step_of(langevin, oracle, t):
    """(M, b, v) of one step at t, x -> M x + b + sqrt(v) z."""
    basis = torch.cat([torch.zeros(1, 2, dtype=torch.float64), torch.eye(2, dtype=torch.float64)])
    times = torch.full((3,), t, dtype=torch.float64)
    with drawing(0.0):
        means = langevin.correct(oracle, basis, times, None, seeded(0))
    with drawing(1.0):
        stds = langevin.correct(oracle, basis, times, None, seeded(0)) - means
    return (means[1:] - means[0]).mT, means[0], stds[0].square()


def stationary(langevin, oracle, t):
    """Mean and covariance that a step at t keeps: the fixed point of P = M P Mᵀ + v."""
    scale, shift, variance = step_of(langevin, oracle, t)
    size = torch.eye(2, dtype=torch.float64)
    mean = torch.linalg.solve(size - scale, shift)
    whole = torch.linalg.solve(torch.eye(4) - torch.kron(scale, scale), torch.diag(variance).flatten())
    return mean, whole.reshape(2, 2)


@pytest.mark.parametrize("t", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("name", SCHEDULES)
def test_at_one_level_the_stationary_law_is_the_marginal_but_for_an_error_of_the_order_of_the_step(name, t):
    oracle, ratios = oracle_on(name), [0.4, 0.2, 0.1, 0.05, 0.025]
    law = oracle.marginal(torch.tensor(t, dtype=torch.float64))
    errors = []
    for ratio in ratios:
        mean, matrix = stationary(Langevin(ratio=ratio), oracle, t)
        assert torch.allclose(mean, law.mean, rtol=1e-7, atol=1e-9)
        errors.append(float((matrix - law.covariance.matrix).norm()))
    # the step is e = 2 (ratio sigma)²: first order in e is second in the ratio
    assert all(abs(slope - 2) < 0.3 for slope in slopes(errors))
    assert all(abs(slope - 2) < 0.05 for slope in slopes(errors)[2:])


@pytest.mark.parametrize("ratio", [0.05, 0.3, 0.9, 0.99])
@pytest.mark.parametrize("name", SCHEDULES)
def test_each_principal_variance_is_too_large_by_the_formula_and_never_by_more_than_the_ratio_allows(name, ratio):
    oracle, t = oracle_on(name), 0.4
    law = oracle.marginal(torch.tensor(t, dtype=torch.float64))
    values, axes = torch.linalg.eigh(law.covariance.matrix)
    sigma = float(oracle.corruption.level(torch.tensor(t, dtype=torch.float64)).sigma)
    e = 2 * (ratio * sigma) ** 2
    found = (axes.mT @ stationary(Langevin(ratio=ratio), oracle, t)[1] @ axes).diagonal()
    torch.testing.assert_close(found, values / (1 - e / (2 * values)), rtol=1e-8, atol=0)
    assert (found - values >= 0.999 * e / 2).all()
    assert (found <= values / (1 - ratio**2) * (1 + 1e-9)).all()


@pytest.mark.parametrize("steps", [1, 3])
def test_chains_tend_to_the_stationary_law_from_anywhere(steps):
    oracle, langevin = oracle_on("cosine"), Langevin(steps=steps, ratio=0.5)
    x, t, count = torch.full((8000, 2), 4.0, dtype=torch.float64), torch.full((8000,), 0.5, dtype=torch.float64), 8000
    generator = seeded(1)
    for _ in range(60 // steps):
        x = langevin.correct(oracle, x, t, None, generator)
    mean, matrix = stationary(Langevin(ratio=0.5), oracle, 0.5)
    spread = matrix.diagonal()
    assert ((x.mean(0) - mean).abs() < SIGMAS * (spread / count).sqrt() + 0.02).all()
    assert ((x.mT.cov() - matrix).abs() < SIGMAS * ((spread[:, None] * spread + matrix**2) / count).sqrt()).all()


def test_several_steps_are_one_after_another():
    oracle, x, t = oracle_on("ve"), noise(3, 2), torch.full((3,), 0.5, dtype=torch.float64)
    three = Langevin(steps=3).correct(oracle, x, t, None, seeded(5))
    generator = seeded(5)
    for _ in range(3):
        x = Langevin().correct(oracle, x, t, None, generator)
    assert torch.equal(three, x)


@pytest.mark.parametrize("name", ["ve", "cosine"])
def test_annealed_langevin_draws_a_mixture(name):
    """Song & Ermon's sampler: many levels, some steps at each, means and variances of the data at the end."""
    count, schedule = 2000, SCHEDULES[name]
    means, weights = torch.tensor([[-1.0, 0.5], [1.0, 0.0]], dtype=torch.float64), torch.tensor([0.4, 0.6]).double()
    oracle = MixtureOracle.spherical(weights, means, 0.5, GaussianCorruption(schedule))
    grid = karras_grid(schedule, 60)
    x = oracle.corruption.prior((count, 2), seeded(3), float(grid[0])).double()
    samples = final(sample(oracle, Langevin(steps=5, ratio=0.3), grid, x, seeded(4)))
    mean = weights @ means
    variance = 0.25 + weights @ means.square() - mean.square()
    assert ((samples.mean(0) - mean).abs() < SIGMAS * (variance / count).sqrt() + 0.05).all()
    assert ((samples.var(0) / variance - 1).abs() < 0.15 + SIGMAS * (2 / count) ** 0.5).all()


@pytest.mark.parametrize("langevin", [Langevin(steps=2), PredictorCorrector(Ddim(), Langevin(steps=2))])
def test_it_ends_at_the_data_with_nothing_left_over(langevin):
    oracle = FiniteOracle(noise(3, 2, seed=4), GaussianCorruption(COSINE))
    walked = list(sample(oracle, langevin, uniform_grid(COSINE, 6), noise(5, 2), seeded(0)))
    assert torch.equal(walked[-1].x, walked[-1].x0)
    assert isinstance(langevin, Sampler)
    assert isinstance(Langevin(), Corrector)


def moments(sampler, oracle, grid):
    """Mean and covariance of the end for the first-order predictors, pushed through every step from p_1."""
    law = oracle.marginal(grid[0])
    mean, matrix = law.mean, law.covariance.matrix
    for t, s in pairwise(grid):
        maps = []
        for one in (sampler.predictor, sampler.corrector):
            basis = torch.cat([torch.zeros(1, 2, dtype=torch.float64), torch.eye(2, dtype=torch.float64)])
            found = {}
            for value in (0.0, 1.0):
                fixed = lambda shape, g, value=value, **kind: torch.full(tuple(shape), value, **kind)  # noqa: E731
                with patch("ebbtide.samplers.langevin.normal", fixed), patch("ebbtide.brownian.normal", fixed):
                    if one is sampler.predictor:
                        found[value] = one(oracle, basis, t.expand(3), s.expand(3), None, seeded(0), None).xs
                    else:
                        found[value] = one.correct(oracle, basis, s.expand(3), None, seeded(0))
            maps.append(((found[0.0][1:] - found[0.0][0]).mT, found[0.0][0], (found[1.0] - found[0.0])[0].square()))
        for scale, shift, variance in maps:
            mean, matrix = scale @ mean + shift, scale @ matrix @ scale.mT + torch.diag(variance)
    return mean, matrix


@pytest.mark.parametrize("predictor", [Ddim(), EulerMaruyama(1.0)])
def test_a_corrector_mends_what_few_steps_of_a_predictor_leave_wrong(predictor):
    """Ten steps to t = 0.1: the covariance's error with a corrector, against one so small that it is none."""
    oracle = oracle_on("cosine")
    grid = torch.linspace(1, 0.1, 11, dtype=torch.float64)
    true = oracle.marginal(grid[-1]).covariance.matrix
    errors = [
        float((moments(PredictorCorrector(predictor, Langevin(ratio=ratio)), oracle, grid)[1] - true).norm())
        for ratio in (1e-9, 0.3)
    ]
    assert errors[1] < 0.85 * errors[0]


def test_the_predictors_history_goes_by_the_corrector():
    """With a corrector that does nothing, a multistep predictor is itself."""

    class Still:
        def correct(self, denoiser, x, t, condition, generator):
            return x

    oracle, grid, x = oracle_on("cosine"), uniform_grid(COSINE, 8), noise(4, 2)
    with_it = final(sample(oracle, PredictorCorrector(DpmSolver2M(), Still()), grid, x, seeded(0)))
    assert torch.equal(with_it, final(sample(oracle, DpmSolver2M(), grid, x, seeded(0))))


@pytest.mark.parametrize("sampler", [Langevin(), PredictorCorrector(Ddim(), Langevin())])
def test_a_sample_does_not_depend_on_the_others_of_its_batch(sampler):
    x, grid = noise(3, 2), uniform_grid(COSINE, 4)

    def ends(rows):
        return final(sample(oracle_on("cosine"), sampler, grid, x[rows], SampleGenerators.of(1, rows)))

    assert torch.allclose(ends([2, 0, 1])[1:2], ends([0]), rtol=1e-11)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"ratio": 0.0}, {"ratio": 1.0}, {"ratio": float("nan")}])
def test_steps_that_are_none_or_unstable_are_refused(wrong):
    with pytest.raises(EbbtideError, match="came, expected"):
        Langevin(**wrong)
