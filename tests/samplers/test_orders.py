"""The order of every deterministic solver, measured: on a mixture and on a Gaussian, side by side.

Steps are even in l = log(alpha / sigma), between two times with noise left. A solver of order p divides its error by
2^p when its steps are halved.
"""

from functools import cache

import pytest
import torch
from scipy.integrate import solve_ivp

from ebbtide.samplers import (
    EULER,
    HEUN,
    HEUN3,
    KUTTA3,
    MIDPOINT,
    RK4,
    Adams,
    Adaptive,
    Multistep,
    RungeKutta,
    SingleStep,
    Started,
    UniPC,
    final,
    sample,
)
from parts import noise, seeded, slopes
from problems import BOTH, CORRUPTION, MIXTURE, STRAIGHT, gaussian_flow

START, END = 1.0, 0.05
X = noise(4, 4)
CLOSE = 0.15

# the solver, its order, the number of steps that four halvings begin with
SOLVERS = {
    "Euler": (RungeKutta(EULER), 1, 20),
    "midpoint": (RungeKutta(MIDPOINT), 2, 40),
    "Heun": (RungeKutta(HEUN), 2, 20),
    "Adams 2": (Adams(2), 2, 40),
    "Multistep 2": (Multistep(2), 2, 20),
    "SingleStep 2": (SingleStep(2), 2, 10),
    "Heun 3": (RungeKutta(HEUN3), 3, 10),
    "Kutta 3": (RungeKutta(KUTTA3), 3, 20),
    "SingleStep 3": (SingleStep(3), 3, 10),
    "Adams 3, started": (Started(RungeKutta(KUTTA3), Adams(3), 2), 3, 40),
    "Multistep 3, started": (Started(SingleStep(2), Multistep(3), 2), 3, 40),
    "UniPC 2": (UniPC(2), 3, 20),
    "RK4": (RungeKutta(RK4), 4, 20),
    "Adams 4, started": (Started(RungeKutta(), Adams(4), 3), 4, 80),
    "Multistep 4, started": (Started(RungeKutta(), Multistep(4), 3), 4, 40),
    "UniPC 3, started": (Started(RungeKutta(), UniPC(3), 3), 4, 80),
}


@cache
def truth():
    """x at the end: the mixture's by SciPy's method of order 8 on dx/dl = sigma² x - sigma eps."""

    def slope(at, x):
        t = torch.tensor([(8 - 2 * at) / 14], dtype=torch.float64)
        z = torch.from_numpy(x).reshape(len(X), 2)
        sigma = float(CORRUPTION.level(t).sigma)
        return (sigma**2 * z - sigma * MIXTURE(z, t.expand(len(z))).eps).flatten().numpy()

    span = [0.5 * float(STRAIGHT.level(torch.tensor(t, dtype=torch.float64)).log_snr) for t in (START, END)]
    found = solve_ivp(slope, span, X[:, :2].flatten().numpy(), method="DOP853", rtol=1e-12, atol=1e-13)
    mixture = torch.from_numpy(found.y[:, -1]).reshape(len(X), 2)
    return torch.cat([mixture, gaussian_flow(X[:, 2:], START, END)], 1)


@cache
def errors(sampler, steps):
    """On the mixture, and on the Gaussian."""
    grid = torch.linspace(START, END, steps + 1, dtype=torch.float64)
    off = final(sample(BOTH, sampler, grid, X, seeded(0))) - truth()
    return float(off[:, :2].norm()), float(off[:, 2:].norm())


@pytest.mark.parametrize("name", SOLVERS)
def test_halved_steps_divide_the_error_as_the_order_says(name):
    """On the Gaussian the order may be more, where the leading term happens to vanish, as the midpoint's does."""
    sampler, order, steps = SOLVERS[name]
    mixture, gaussian = zip(*(errors(sampler, steps * 2**halving) for halving in range(5)), strict=True)
    assert sum(slopes(mixture)) / 4 == pytest.approx(order, abs=CLOSE)
    assert sum(slopes(gaussian)) / 4 > order - CLOSE


@pytest.mark.parametrize("name", [name for name, (_, order, _) in SOLVERS.items() if order >= 4])
def test_solvers_of_order_4_and_more_reach_1e_8(name):
    sampler, _, steps = SOLVERS[name]
    assert max(errors(sampler, 16 * steps)) < 1e-8


@pytest.mark.parametrize("order", [5, 6])
def test_the_same_formula_goes_on_to_higher_orders(order):
    """Roughly so: their range between steps that are too long and float64's last digits is short."""
    sampler = Started(Adaptive(1e-13, 1e-13), Multistep(order), order - 1)
    coarse, fine = (errors(sampler, steps)[0] for steps in (80, 320))
    assert slopes([coarse, fine])[0] / 2 > order - 0.7


@pytest.mark.parametrize("order", [3, 4])
def test_alone_multistep_is_of_order_2_in_the_end(order):
    """The first step is of order 1: its error, h² times what x0 changes there, is what remains."""
    alone = [errors(Multistep(order), steps)[0] for steps in (640, 1280)]
    assert slopes(alone)[0] == pytest.approx(2, abs=CLOSE)
    assert errors(Started(RungeKutta(), Multistep(order), order - 1), 1280)[0] < alone[1] / 10
