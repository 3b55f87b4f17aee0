"""Item G1 and DDIM: steps held against recursions in scalars, Bayes' rule and the exact solution of the ODE."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers import FiniteOracle, GaussianOracle, MixtureOracle, VarianceDenoiser
from ebbtide.errors import EbbtideError
from ebbtide.grids import uniform_grid
from ebbtide.samplers import Ancestral, Ddim, final, sample
from ebbtide.schedules import linear_schedule
from parts import COSINE, SIGMAS, affine_of, covariance, noise, noise_is, seeded, slopes

CORRUPTION = GaussianCorruption(COSINE)
EYE = torch.eye(2, dtype=torch.float64)
POSTERIOR, STEP, LEARNED = (Ancestral(variance=variance) for variance in ("posterior", "step", "learned"))
ALL = {"posterior": POSTERIOR, "step": STEP, "eta 0": Ddim(0.0), "eta 0.6": Ddim(0.6), "eta 1": Ddim(1.0)}


def stepping(sampler, oracle, t, s, seed=0):
    """x -> one step of the sampler from t to s."""
    return lambda x: sampler(oracle, x, t.expand(len(x)), s.expand(len(x)), None, seeded(seed), None).xs


def moments(sampler, oracle, grid, mean, matrix):
    """Mean and covariance pushed through every step of the grid."""
    for t, s in pairwise(grid):
        scale, shift, variance = affine_of(stepping(sampler, oracle, t, s), len(mean))
        mean, matrix = scale @ mean + shift, scale @ matrix @ scale.mT + torch.diag(variance)
    return mean, matrix


def by_hand(betas, indices, mean, spread, widened, m, v):
    """Ho's recursion in betas for one coordinate of data N(mean, spread), begun at N(m, v): mean and variance."""
    abar = [1.0]
    for beta in betas.tolist():
        abar.append(abar[-1] * (1 - beta))
    for t, s in pairwise(indices):
        now, after = abar[t], abar[s]
        beta = 1 - now / after
        gain = now**0.5 * spread / (now * spread + 1 - now)
        on_x0, on_xt = after**0.5 * beta / (1 - now), (now / after) ** 0.5 * (1 - after) / (1 - now)
        m = on_x0 * (mean + gain * (m - now**0.5 * mean)) + on_xt * m
        added = beta if widened else beta * (1 - after) / (1 - now)
        v = (on_x0 * gain + on_xt) ** 2 * v + (added if s > 0 else 0.0)
    return m, v


@pytest.mark.parametrize("widened", [False, True])
@pytest.mark.parametrize("indices", [[1000, 0], [1000, 700, 699, 300, 40, 1, 0], list(range(40, -1, -1))])
def test_ancestral_sampling_is_hos_recursion_in_every_direction_of_the_data(indices, widened):
    schedule = linear_schedule()
    matrix = covariance(2, seed=3)
    center = torch.tensor([0.7, -1.5], dtype=torch.float64)
    oracle = GaussianOracle(center, matrix, GaussianCorruption(schedule))
    spreads, axes = torch.linalg.eigh(matrix)
    grid = torch.tensor(indices, dtype=torch.float64) / 1000
    start = axes @ (0.4 * (axes.mT @ center))
    mean, result = moments(STEP if widened else POSTERIOR, oracle, grid, start, 0.8 * EYE)
    for axis, spread in zip(axes.mT, spreads.tolist(), strict=True):
        along = (axis @ center).item()
        m, v = by_hand(schedule.betas, indices, along, spread, widened, 0.4 * along, 0.8)
        assert (axis @ mean).item() == pytest.approx(m, rel=1e-9, abs=1e-10)
        assert (axis @ result @ axis).item() == pytest.approx(v, rel=1e-8)
    assert (axes[:, 0] @ result @ axes[:, 1]).abs() < 1e-9


@pytest.mark.parametrize("name", ALL)
def test_the_samples_of_the_loop_have_the_moments_of_the_steps(name):
    count, grid = 20_000, uniform_grid(COSINE, 5)
    oracle = GaussianOracle(noise(2, seed=1), covariance(2, seed=3), CORRUPTION)
    start = noise(count, 2, seed=4)
    samples = final(sample(oracle, ALL[name], grid, start, seeded(5)))
    mean, matrix = moments(ALL[name], oracle, grid, torch.zeros(2, dtype=torch.float64), EYE)
    variances = matrix.diagonal()
    assert ((samples.mean(0) - mean).abs() < SIGMAS * (variances / count).sqrt()).all()
    error = ((variances[:, None] * variances + matrix.square()) / count).sqrt()
    assert ((samples.mT.cov() - matrix).abs() < SIGMAS * error).all()


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("spread", [0.25, 1.0, 4.0])
def test_with_more_steps_the_moments_tend_to_those_of_the_data_at_first_order(name, spread, unchecked):
    center = torch.ones(1, dtype=torch.float64)
    oracle = GaussianOracle(center, torch.full((1, 1), spread, dtype=torch.float64), CORRUPTION)
    start = oracle.marginal(torch.ones((), dtype=torch.float64))
    errors = []
    for steps in (40, 80, 160):
        mean, matrix = moments(ALL[name], oracle, uniform_grid(COSINE, steps), start.mean, start.covariance.matrix)
        errors.append(abs(matrix.item() - spread))
        assert abs(mean.item() - 1) < 1e-6
    assert errors[-1] < 0.03 * (1 + spread)
    assert min(slopes(errors)) > 0.8
    assert max(slopes(errors)) < (1.15 if (name, spread) != ("step", 1.0) else 2.15)


def reverse(oracle, t, s):
    """The true law of xs given xt, by conditioning their joint Gaussian: (scale, shift, variance), on a line."""
    now, after = oracle.marginal(t), oracle.marginal(s)
    together = (CORRUPTION.level(t).alpha / CORRUPTION.level(s).alpha) * after.variances
    scale = together / now.variances
    return scale, after.mean - scale * now.mean, after.variances - scale * together


TIMES = [(0.9, 0.2), (0.5, 0.49), (1.0, 0.01), (0.05, 0.01)]


@pytest.mark.parametrize(("t", "s"), TIMES)
@pytest.mark.parametrize(("variance", "center", "spread"), [("posterior", 0.7, 0.0), ("step", 0.0, 1.0)])
def test_each_fixed_variance_is_exact_for_its_extreme_of_data(variance, center, spread, t, s):
    """Ho et al., section 3.2: btilde for one point, beta for standard normal data."""
    oracle = GaussianOracle(
        torch.tensor([center], dtype=torch.float64), torch.tensor([[spread]], dtype=torch.float64), CORRUPTION
    )
    t, s = torch.tensor([t, s], dtype=torch.float64)
    scale, shift, added = affine_of(stepping(Ancestral(variance=variance), oracle, t, s), 1)
    true_scale, true_shift, true_added = reverse(oracle, t, s)
    assert torch.allclose(scale[0], true_scale, rtol=1e-8, atol=1e-10)
    assert torch.allclose(shift, true_shift, rtol=1e-8, atol=1e-10)
    assert torch.allclose(added, true_added, rtol=1e-7)


@pytest.mark.parametrize(("t", "s"), TIMES)
@pytest.mark.parametrize("spread", [0.1, 0.5, 0.9])
def test_between_the_extremes_the_true_variance_lies_between_the_fixed_ones(spread, t, s):
    oracle = GaussianOracle(
        torch.zeros(1, dtype=torch.float64), torch.full((1, 1), spread, dtype=torch.float64), CORRUPTION
    )
    t, s = torch.tensor([t, s], dtype=torch.float64)
    low, high = (affine_of(stepping(sampler, oracle, t, s), 1)[2] for sampler in (POSTERIOR, STEP))
    assert low < reverse(oracle, t, s)[2] < high


def learned(oracle, share):
    """A network that knows the oracle's eps, and the same share of the variance everywhere."""

    def network(x, t, condition):
        return torch.cat([oracle(x, t).eps, torch.full_like(x, 2 * share - 1)], 1)

    return VarianceDenoiser(network, oracle.corruption)


@pytest.mark.parametrize(("t", "s"), TIMES)
@pytest.mark.parametrize("spread", [0.1, 0.5, 0.9])
def test_a_learned_variance_is_sampled_with_and_may_be_the_true_one(spread, t, s):
    oracle = GaussianOracle(
        torch.zeros(1, dtype=torch.float64), torch.full((1, 1), spread, dtype=torch.float64), CORRUPTION
    )
    t, s = torch.tensor([t, s], dtype=torch.float64)
    low, high = (affine_of(stepping(sampler, oracle, t, s), 1)[2] for sampler in (POSTERIOR, STEP))
    for share in (-0.5, 0.0, 0.3, 1.0):
        found = affine_of(stepping(LEARNED, learned(oracle, share), t, s), 1)[2]
        assert torch.allclose(found, high**share * low ** (1 - share), rtol=1e-8)
    true_scale, true_shift, true_added = reverse(oracle, t, s)
    share = ((true_added / low).log() / (high / low).log()).item()
    scale, shift, added = affine_of(stepping(LEARNED, learned(oracle, share), t, s), 1)
    assert torch.allclose(scale[0], true_scale, rtol=1e-8, atol=1e-10)
    assert torch.allclose(shift, true_shift, rtol=1e-8, atol=1e-10)
    assert torch.allclose(added, true_added, rtol=1e-7)


def test_a_learned_variance_is_not_asked_of_a_network_without_one():
    with pytest.raises(EbbtideError, match="learned"):
        stepping(LEARNED, MIXTURE, *torch.tensor([0.5, 0.4], dtype=torch.float64))(noise(3, 2))


def test_the_last_step_with_a_learned_variance_has_no_noise():
    t, s = torch.tensor([0.3, 0.0], dtype=torch.float64)
    x = noise(4, 2)
    with noise_is(1e6):
        assert torch.equal(
            stepping(LEARNED, learned(MIXTURE, 0.7), t, s)(x), stepping(POSTERIOR, learned(MIXTURE, 0.7), t, s)(x)
        )


MIXTURE = MixtureOracle.spherical(
    torch.tensor([0.3, 0.7], dtype=torch.float64),
    torch.tensor([[-1.0, 0.5], [1.0, 0.0]], dtype=torch.float64),
    0.4,
    CORRUPTION,
)


def test_ddim_with_eta_1_is_ancestral_sampling_noise_for_noise():
    grid, start = uniform_grid(COSINE, 6), noise(5, 2)
    one = sample(MIXTURE, Ddim(eta=1.0), grid, start, seeded(3))
    other = sample(MIXTURE, POSTERIOR, grid, start, seeded(3))
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a.x, b.x)


def test_the_last_step_has_no_noise():
    t, s = torch.tensor([0.3, 0.0], dtype=torch.float64)
    x = noise(4, 2)
    for sampler in ALL.values():
        with noise_is(0.0):
            quiet = stepping(sampler, MIXTURE, t, s)(x)
        with noise_is(1e6):
            loud = stepping(sampler, MIXTURE, t, s)(x)
        assert torch.equal(quiet, loud)
        assert torch.equal(quiet, MIXTURE(x, t.expand(4)).x0)


def test_ddim_with_eta_0_draws_no_noise():
    generator = seeded(3)
    before = generator.get_state()
    final(sample(MIXTURE, Ddim(eta=0.0), uniform_grid(COSINE, 4), noise(5, 2), generator))
    assert torch.equal(generator.get_state(), before)


def solution(x, t, s, mean, spread):
    """Where the probability-flow ODE of data N(mean, spread) leads from (x, t) to s: quantiles keep their place."""
    now, after = CORRUPTION.level(t), CORRUPTION.level(s)
    width = [(level.alpha**2 * spread + level.sigma**2).sqrt() for level in (now, after)]
    return mean * after.alpha + width[1] / width[0] * (x - now.alpha * mean)


@pytest.mark.parametrize("spread", [0.25, 1.0, 4.0])
@pytest.mark.parametrize(("start", "end"), [(1.0, 0.0), (0.8, 0.3)])
def test_ddim_solves_the_ode_of_gaussian_data_at_order_one(start, end, spread):
    oracle = GaussianOracle(torch.ones(2, dtype=torch.float64), spread * EYE, CORRUPTION)
    x = 2 * noise(4, 2)
    exact = solution(x, torch.tensor(start, dtype=torch.float64), torch.tensor(end, dtype=torch.float64), 1.0, spread)
    errors = []
    for steps in (10, 20, 40, 80, 160):
        grid = torch.linspace(start, end, steps + 1, dtype=torch.float64)
        errors.append((final(sample(oracle, Ddim(), grid, x, seeded(0))) - exact).abs().max().item())
    assert all(abs(slope - 1) < 0.15 for slope in slopes(errors))


def by_runge_kutta(x):
    """The mixture's ODE solved by scipy in y = x / alpha and z = sigma / alpha, where it reads dy/dz = E[eps | x]."""
    weights = MIXTURE.weights.numpy()
    means = np.stack([component.mean.numpy() for component in MIXTURE.components])
    first = CORRUPTION.level(torch.ones((), dtype=torch.float64))

    def noise_at(z, y):
        alpha = (1 + z * z) ** -0.5
        spread = alpha**2 * (0.4**2 + z * z)
        away = alpha * (y - means)
        share = weights * np.exp(-0.5 * ((away**2).sum(1) - (away**2).sum(1).min()) / spread)
        return alpha * z / spread * (share / share.sum()) @ away

    z = (first.sigma / first.alpha).item()
    return solve_ivp(noise_at, (z, 0), x / first.alpha.item(), rtol=1e-8, atol=1e-8).y[:, -1]


def test_ddim_converges_at_order_one_for_a_mixture():
    x = noise(6, 2)
    exact = torch.from_numpy(np.stack([by_runge_kutta(start) for start in x.numpy()]))
    errors = []
    for steps in (20, 40, 80, 160, 320):
        ends = final(sample(MIXTURE, Ddim(), uniform_grid(COSINE, steps), x, seeded(0)))
        errors.append((ends - exact).abs().max().item())
    assert all(abs(slope - 1) < 0.15 for slope in slopes(errors))


@pytest.mark.parametrize("steps", [1, 2, 9])
def test_ddim_of_a_single_point_is_exact_in_any_number_of_steps(steps):
    point = noise(1, 2, seed=3)
    oracle, eps = FiniteOracle(point, CORRUPTION), noise(4, 2)
    grid = torch.linspace(0.9, 0.2, steps + 1, dtype=torch.float64)
    start, end = (CORRUPTION.level(t).mix(point, eps) for t in (grid[0], grid[-1]))
    assert torch.allclose(final(sample(oracle, Ddim(), grid, start, seeded(0))), end, rtol=1e-12)


@pytest.mark.parametrize("eta", [-0.01, 1.01])
def test_an_eta_outside_0_and_1_is_refused(eta):
    with pytest.raises(EbbtideError, match="eta"):
        Ddim(eta=eta)
