"""However few steps, on whatever schedule and grid: samples are finite, of the data's size, and no worse than DDIM."""

import pytest
import torch

from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers import GaussianOracle, MixtureOracle
from ebbtide.grids import karras_grid, uniform_grid
from ebbtide.samplers import (
    TABLEAUS,
    Adams,
    Ddim,
    Heun,
    Multistep,
    RungeKutta,
    SingleStep,
    Started,
    UniPC,
    final,
    sample,
)
from ebbtide.schedules import CosineSchedule, NormalSchedule, SigmoidSchedule, constant_schedule, linear_schedule
from parts import noise, seeded
from problems import CENTER, MATRIX, gaussian_flow

pytestmark = pytest.mark.usefixtures("unchecked")

SOLVERS = {
    **{f"Multistep {order}": Multistep(order) for order in (2, 3, 6)},
    **{f"SingleStep {order}": SingleStep(order) for order in (2, 3)},
    **{f"UniPC {order}": UniPC(order) for order in (2, 3)},
    **{name: RungeKutta(tableau) for name, tableau in TABLEAUS.items() if tableau.order > 1},
    **{f"Adams {order}": Adams(order) for order in (2, 4)},
    "EDM": Heun(),
    "EDM with churn": Heun(churn=0.3),
    "Multistep 4, started": Started(RungeKutta(), Multistep(4), 3),
}
SCHEDULES = {
    "cosine": CosineSchedule(),
    "normal": NormalSchedule(),
    "sigmoid": SigmoidSchedule(),
    "linear": linear_schedule(),
    "constant": constant_schedule(0.02),
}
CASES = [(name, grid) for name in SCHEDULES for grid in (uniform_grid, karras_grid)]
MEANS = torch.tensor([[-1.0, 0.0], [1.0, 0.0], [0.0, 1.5]], dtype=torch.float64)
X = noise(16, 4, dtype=torch.float32)


def oracle_of(schedule):
    """Three narrow clouds and, independent of them, the Gaussian of `problems`."""
    corruption = GaussianCorruption(schedule)
    spread = torch.block_diag(0.05**2 * torch.eye(2, dtype=torch.float64), MATRIX)
    clouds = tuple(GaussianOracle(torch.cat([mean, CENTER]), spread, corruption) for mean in MEANS)
    return MixtureOracle(torch.full((3,), 1 / 3, dtype=torch.float64), clouds)


@pytest.mark.parametrize(("name", "grid"), CASES)
def test_samples_are_finite_and_of_the_datas_size_and_no_worse_than_ddims(name, grid):
    """Of the Gaussian the end of the flow is known: high orders are not for few steps, but they do little harm."""
    schedule = SCHEDULES[name]
    oracle = oracle_of(schedule)
    for steps in (1, 2, 3, 5, 10):
        times = grid(schedule, steps)
        truth = gaussian_flow(X[:, 2:].double(), float(times[0]), 0.0, schedule)
        ends = {solver: final(sample(oracle, one, times, X, seeded(0))) for solver, one in SOLVERS.items()}
        ddim = float((final(sample(oracle, Ddim(), times, X, seeded(0)))[:, 2:] - truth).square().mean().sqrt())
        for solver, x in ends.items():
            said = f"{solver}, {steps} steps"
            assert x.dtype == torch.float32
            assert float(x[:, :2].abs().max()) < 3.3, said  # twice as far as the data
            assert float(x[:, 2:].abs().max()) < 1.5 * float(truth.abs().max()), said
            if "churn" not in solver:
                assert float((x[:, 2:] - truth).square().mean().sqrt()) < 1.5 * ddim + 1e-6, said
