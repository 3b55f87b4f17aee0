"""Any schedule, kind of prediction, solver, grid and number of steps give finite samples of the data's size.

Networks side by side, one for each kind, answer for a mixture in closed form; half of the batch as they are, half
rounded to bfloat16. So one walk is several combinations, and over 10,000 are walked: all solvers, schedules and grids
with numbers of steps up to 10, where steps and kinds take turns, and all pairs of them with 50 steps.
"""

from dataclasses import dataclass
from functools import cache
from itertools import product

import pytest
import torch

from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers import GaussianEstimate, NetworkDenoiser
from ebbtide.grids import GRIDS, spread_grid
from ebbtide.levels import KINDS, STEP_KINDS
from ebbtide.recipes.recipe import SamplingRecipe
from ebbtide.recipes.samplers import SAMPLERS, build_sampler
from ebbtide.samplers import sample
from ebbtide.samplers.local_error import error_density
from ebbtide.schedules import InterpolatedSchedule, SubVpSchedule, VeSchedule, VpSchedule, linear_schedule
from parts import SCHEDULES as OTHERS
from parts import noise, seeded

pytestmark = pytest.mark.usefixtures("unchecked")

SCHEDULES = {
    **{name: schedule for name, schedule in OTHERS.items() if name != "lecture"},  # which is nearly the linear one
    "interpolated": InterpolatedSchedule(linear_schedule(100)),
    "VP": VpSchedule(),
    "sub-VP": SubVpSchedule(),
    "VE": VeSchedule(),
}
SOLVERS = [name for name, about in SAMPLERS.items() if about.serves in ("gaussian", "any")]
GRID_NAMES = (*GRIDS, "measured")
FEW, MANY = (1, 2, 3, 5, 10), 50
BETWEEN = {"heun", "midpoint", "dpm2s", "dpm3s", "rk4", "adaptive", "edm"}
"""Solvers that may ask between a table's times, where kinds about its single steps have no meaning."""

MEANS = torch.tensor([[-1.0, 0.0], [1.0, 0.0], [0.0, 1.5]], dtype=torch.float64)
STD = 0.3
REACH = 1.5 + 4 * STD
"""How far from 0 the data lie, but for one in thousands."""
EXACT, ROUNDED = 4, 4
"""Samples of each kind."""


@dataclass(frozen=True)
class Several(GaussianEstimate):
    """Estimates of several kinds as one batch."""

    parts: tuple[GaussianEstimate, ...]

    def as_(self, kind):
        return self.prediction if kind == "x0" else torch.cat([part.as_(kind) for part in self.parts])


@dataclass(frozen=True)
class Networks:
    """One network for each kind, each with its rows of the batch; shift: how far rounding has moved x0."""

    corruption: GaussianCorruption
    kinds: tuple[str, ...]
    shift: list

    def __call__(self, xt, t, condition=None):
        level = self.corruption.level(t)
        x0, eps = exact(xt.double(), float(level.alpha[0]), float(level.sigma[0]))
        found = []
        for kind, rows, x0_, eps_ in zip(self.kinds, *(x.chunk(len(self.kinds)) for x in (xt, x0, eps)), strict=True):
            a, b = (float(number[0]) for number in self.corruption.pair(kind, t))
            answer = (a * x0_ + b * eps_).float()
            answer[EXACT:] = answer[EXACT:].bfloat16().float()
            network = NetworkDenoiser(lambda *_, answer=answer: answer, self.corruption, kind)
            found.append(network(rows, t[: len(rows)]))
        believed = torch.cat([part.x0 for part in found])
        self.shift.append((believed - x0).abs().amax(1))
        return Several(xt, level, "x0", believed, tuple(found))


def exact(x, alpha, sigma):
    """E[x0 | xt] and E[eps | xt] of three round clouds."""
    variance = alpha**2 * STD**2 + sigma**2
    logits = (alpha / variance) * (x @ MEANS.mT) - (0.5 * alpha**2 / variance) * MEANS.square().sum(1)
    x0 = (sigma**2 / variance) * (logits.softmax(1) @ MEANS) + (alpha * STD**2 / variance) * x
    return x0, (x - alpha * x0) / sigma


@cache
def corruption_of(schedule):
    return GaussianCorruption(SCHEDULES[schedule])


@cache
def grid_of(name, schedule, steps):
    if name != "measured":
        return GRIDS[name](SCHEDULES[schedule], steps, 1.0)
    return spread_grid(SCHEDULES[schedule], steps, *measured(schedule))


@cache
def measured(schedule):
    """Where steps err."""
    return error_density(Networks(corruption_of(schedule), ("x0",), []), (2,), samples=EXACT)


LONG = [name for name, schedule in SCHEDULES.items() if (schedule.steps or MANY) >= MANY]
"""Schedules that have so many steps."""


def few(schedule, turn):
    """Numbers of steps up to 10 that the table has: every other one, where there are enough for all kinds."""
    numbers = [steps for steps in FEW if steps <= (SCHEDULES[schedule].steps or MANY)]
    return numbers[turn % 2 :: 2] if len(numbers) > 3 else numbers


def runs_of(solver, schedule):
    """(grid, steps, kinds): all grids, with some numbers of steps by turns, half of the kinds by turns."""
    first, second = SOLVERS.index(solver), [*SCHEDULES].index(schedule)
    runs = [(grid, steps) for turn, grid in enumerate(GRID_NAMES, first + second) for steps in few(schedule, turn)]
    if solver == "adaptive":  # whose own steps are hundreds
        runs = [(GRID_NAMES[second % len(GRID_NAMES)], FEW[(first + second) % 2])]
    elif schedule in LONG and (first + LONG.index(schedule)) % 2 == 0:
        runs.append((GRID_NAMES[(first + LONG.index(schedule) // 2) % len(GRID_NAMES)], MANY))
    single = SCHEDULES[schedule].steps is not None and solver not in BETWEEN
    kinds = (*KINDS, *STEP_KINDS) if single else KINDS
    return [(*run, kinds[turn % 2 :: 2]) for turn, run in enumerate(runs, first + second // 2)]


def failures(solver, schedule, grid, steps, kinds):
    """Walk all kinds, exact and rounded, and say which went wrong."""
    corruption, times = corruption_of(schedule), grid_of(grid, schedule, steps)
    start = corruption.scale(float(times[0])) * noise(EXACT + ROUNDED, 2, dtype=torch.float32).repeat(len(kinds), 1)
    networks, sampler = Networks(corruption, kinds, []), build_sampler(SamplingRecipe(sampler=solver, steps=steps))
    walked = list(sample(networks, sampler, times, start, seeded(0)))
    x = walked[-1].x
    assert x.dtype == torch.float32
    finite = torch.stack([(step.x + step.x0).isfinite().all(1) for step in walked]).all(0)
    bound = 1.2 * REACH + 3 * torch.stack(networks.shift).amax(0)
    if solver == "langevin":
        bound = bound + start.abs().amax()
    fine = (finite & (x.abs().amax(1) <= bound)).unflatten(0, (len(kinds), 2, -1)).all(2)
    where = f"{solver}, {schedule}, {grid}, {steps} steps"
    return [
        f"{where}, {kind}{', bf16' if rounded else ''}: {x.unflatten(0, (*fine.shape, -1))[row, rounded].tolist()}"
        for row, kind in enumerate(kinds)
        for rounded in (0, 1)
        if not fine[row, rounded]
    ]


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("solver", SOLVERS)
def test_samples_are_finite_and_of_the_datas_size(solver, schedule):
    """A sample ends at what is last believed of x0, or within rounding of it: as far out as the data are, and a little
    for chance; further by what rounding moved x0, which a step of Runge-Kutta's counts up to 3 times (the sizes of its
    weights together). Langevin dynamics alone keeps x as it is from level to level: where levels are few, noise is left
    over, no more than it began with.
    """
    failed = [line for run in runs_of(solver, schedule) for line in failures(solver, schedule, *run)]
    assert not failed, "\n".join(failed)


def test_over_ten_thousand_are_walked_and_all_pairs_with_every_number_of_steps():
    runs = [(*both, *run) for both in product(SOLVERS, SCHEDULES) for run in runs_of(*both)]
    assert sum(2 * len(kinds) for *_, kinds in runs) > 10_000
    solvers = {*SOLVERS} - {"adaptive"}
    long = {(solver, schedule, grid, steps) for solver, schedule, grid, steps, _ in runs if schedule in LONG}
    assert {(solver, grid, steps) for solver, _, grid, steps in long} >= {*product(solvers, GRID_NAMES, (*FEW, MANY))}
    assert {(schedule, grid, steps) for _, schedule, grid, steps in long} >= {*product(LONG, GRID_NAMES, (*FEW, MANY))}
    seen = {(solver, schedule, grid, kind) for solver, schedule, grid, _, kinds in runs for kind in kinds}
    assert seen >= {*product(solvers, SCHEDULES, GRID_NAMES, KINDS)}
