"""The order of every deterministic solver, measured: on a mixture and on a Gaussian, side by side.

Steps are even in l = log(alpha / sigma), between two times with noise left. A solver of order p divides its error by
2^p when its steps are halved. High orders show only where x0 is so smooth along the way that the error has not reached
the last digits before its leading term rules: their clouds lie nearer to each other, and their way is shorter.
"""

from dataclasses import dataclass
from functools import cache, cached_property

import pytest
import torch
from scipy.integrate import solve_ivp

from ebbtide.denoisers import GaussianEstimate, GaussianOracle, MixtureOracle
from ebbtide.samplers import (
    EULER,
    HEUN,
    HEUN3,
    KUTTA3,
    MIDPOINT,
    RK4,
    Adams,
    Adaptive,
    DpmSolver2M,
    Multistep,
    RungeKutta,
    SingleStep,
    Started,
    UniPC,
    final,
    sample,
)
from parts import noise, seeded, slopes
from problems import CENTER, CORRUPTION, MATRIX, MEANS, STRAIGHT, gaussian_flow

pytestmark = pytest.mark.usefixtures("unchecked")

X = noise(4, 4)
STD = 0.8
CLOSE = 0.15
VALUES, AXES = torch.linalg.eigh(MATRIX)


@dataclass(frozen=True)
class Problem:
    """Clouds whose middles are `apart` times those of `problems`, beside its Gaussian; the way from start to end."""

    apart: float
    start: float
    end: float

    corruption = CORRUPTION

    def __call__(self, xt, t, condition=None):
        """E[x0 | xt] by numbers, several times as fast as the oracles (to which a test holds it)."""
        level = CORRUPTION.level(t)
        alpha, sigma = float(level.alpha[0]), float(level.sigma[0])
        x, y = xt[:, :2], xt[:, 2:]
        return GaussianEstimate(
            xt, level, "x0", torch.cat([self.mixture(x, alpha, sigma), gaussian(y, alpha, sigma)], 1)
        )

    def mixture(self, x, alpha, sigma):
        means, variance = self.apart * MEANS, alpha**2 * STD**2 + sigma**2
        logits = (alpha / variance) * (x @ means.mT) - (0.5 * alpha**2 / variance) * means.square().sum(1)
        return (sigma**2 / variance) * (logits.softmax(1) @ means) + (alpha * STD**2 / variance) * x

    @cached_property
    def truth(self):
        """x at the end: the mixture's by SciPy's method of order 8 on dx/dl = alpha (x0 - alpha x), the other known."""

        def slope(at, x):
            alpha, sigma = (1 + torch.tensor([-2 * at, 2 * at]).double().exp()).rsqrt().tolist()
            x = torch.from_numpy(x).reshape(len(X), 2)
            return (alpha * (self.mixture(x, alpha, sigma) - alpha * x)).flatten().numpy()

        times = torch.tensor([self.start, self.end], dtype=torch.float64)
        span = (0.5 * STRAIGHT.level(times).log_snr).tolist()
        found = solve_ivp(slope, span, X[:, :2].flatten().numpy(), method="DOP853", rtol=3e-14, atol=1e-15)
        mixture = torch.from_numpy(found.y[:, -1]).reshape(len(X), 2)
        return torch.cat([mixture, gaussian_flow(X[:, 2:], self.start, self.end)], 1)


def gaussian(y, alpha, sigma):
    gain = alpha * VALUES / (alpha**2 * VALUES + sigma**2)
    return CENTER + ((y - alpha * CENTER) @ AXES * gain) @ AXES.mT


WIDE, NEAR, SHORT = Problem(1.0, 0.9, 0.4), Problem(0.5, 0.85, 0.45), Problem(0.5, 0.85, 0.5)

# the solver, its order, the problem, the number of steps that four halvings begin with
SOLVERS = {
    "Euler": (RungeKutta(EULER), 1, WIDE, 6),
    "midpoint": (RungeKutta(MIDPOINT), 2, WIDE, 20),
    "Heun": (RungeKutta(HEUN), 2, WIDE, 10),
    "Adams 2": (Adams(2), 2, WIDE, 12),
    "Multistep 2": (Multistep(2), 2, WIDE, 20),
    "DPM-Solver++ 2M": (DpmSolver2M(), 2, WIDE, 20),
    "SingleStep 2": (SingleStep(2), 2, WIDE, 6),
    "Heun 3": (RungeKutta(HEUN3), 3, WIDE, 6),
    "Kutta 3": (RungeKutta(KUTTA3), 3, WIDE, 12),
    "SingleStep 3": (SingleStep(3), 3, WIDE, 6),
    "Adams 3, started": (Started(RungeKutta(KUTTA3), Adams(3), 2), 3, WIDE, 24),
    "Multistep 3, started": (Started(SingleStep(2), Multistep(3), 2), 3, WIDE, 24),
    "UniPC 2": (UniPC(2), 3, WIDE, 12),
    "RK4": (RungeKutta(RK4), 4, WIDE, 10),
    "Adams 4, started": (Started(RungeKutta(), Adams(4), 3), 4, NEAR, 28),
    "Multistep 4, started": (Started(RungeKutta(), Multistep(4), 3), 4, NEAR, 16),
    "UniPC 3, started": (Started(RungeKutta(), UniPC(3), 3), 4, NEAR, 20),
    "Multistep 5, started": (Started(RungeKutta(), Multistep(5), 4), 5, NEAR, 28),
    "Multistep 6, started": (Started(Adaptive(1e-13, 1e-13), Multistep(6), 5), 6, SHORT, 20),
}


@cache
def errors(sampler, problem, steps):
    """On the mixture, and on the Gaussian."""
    grid = torch.linspace(problem.start, problem.end, steps + 1, dtype=torch.float64)
    off = final(sample(problem, sampler, grid, X, seeded(0))) - problem.truth
    return float(off[:, :2].norm()), float(off[:, 2:].norm())


@pytest.mark.parametrize("name", SOLVERS)
def test_halved_steps_divide_the_error_as_the_order_says(name):
    """On the Gaussian the order may be more, where the leading term happens to vanish, as the midpoint's does."""
    sampler, order, problem, steps = SOLVERS[name]
    found = [errors(sampler, problem, steps * 2**halving) for halving in range(5)]
    mixture, gaussian = (slopes(list(one)) for one in zip(*found, strict=True))
    assert sum(mixture) / 4 == pytest.approx(order, abs=CLOSE)
    assert sum(gaussian) / 4 > order - CLOSE


@pytest.mark.parametrize("name", [name for name, (_, order, *_) in SOLVERS.items() if order >= 4])
def test_solvers_of_order_4_and_more_reach_1e_8(name):
    sampler, _, problem, steps = SOLVERS[name]
    assert max(errors(sampler, problem, 16 * steps)) < 1e-8


@pytest.mark.parametrize("order", [3, 4])
def test_alone_multistep_is_of_order_2_in_the_end(order):
    """The first step is of order 1: its error, h² times what x0 changes there, is what remains."""
    alone = [errors(Multistep(order), WIDE, steps)[0] for steps in (160, 320)]
    assert slopes(alone)[0] == pytest.approx(2, abs=CLOSE)
    assert errors(Started(RungeKutta(), Multistep(order), order - 1), WIDE, 320)[0] < alone[1] / 10


@pytest.mark.parametrize("problem", [WIDE, NEAR], ids=["wide", "near"])
def test_the_problem_is_the_oracles(problem):
    clouds = MixtureOracle.spherical(
        torch.full((3,), 1 / 3, dtype=torch.float64), problem.apart * MEANS, STD, CORRUPTION
    )
    for t in (problem.start, 0.6, problem.end):
        t = torch.tensor([t], dtype=torch.float64).expand(len(X))
        oracles = clouds(X[:, :2], t).x0, GaussianOracle(CENTER, MATRIX, CORRUPTION)(X[:, 2:], t).x0
        torch.testing.assert_close(problem(X, t).x0, torch.cat(oracles, 1), rtol=1e-12, atol=1e-12)
