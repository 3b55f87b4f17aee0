"""Deterministic solvers agree with diffusers' schedulers, whose timestep i is t = (i + 1) / T, to 1e-4.

The same oracle answers both, from the same noise. diffusers keeps sigma / alpha in float32, which is where the digits
after that go; its tables are taken in float64. Euler's and Heun's schedulers walk y = x / alpha, all others x itself.

Compared are DDIM, Euler, Heun, DPM-Solver++ 2M (both solver types, all ways to end, Karras' levels), 3M, 2S and 3S, and
UniPC (bh2 and bh1). Not compared: their DPM-Solver without ++, which takes eps for smooth where ours takes x0, and the
ends "sigma_min", which leave noise on the samples: ours go to 0.
"""

import math
from functools import partial

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    DPMSolverSinglestepScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    UniPCMultistepScheduler,
)

from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers import GaussianOracle, MixtureOracle
from ebbtide.grids import karras_grid
from ebbtide.levels import Level
from ebbtide.samplers import EULER, Adams, Ddim, DpmSolver2M, Heun, Multistep, RungeKutta, SingleStep, UniPC, sample
from ebbtide.samplers.exponential import integrated, travel
from ebbtide.samplers.lagrange import exponential_moments, weights
from ebbtide.schedules import InterpolatedSchedule, betas_of_level, linear_schedule, table
from ebbtide.times import time_of
from parts import covariance, noise, seeded

STEPS = 1000
LINEAR = linear_schedule(STEPS)
CLOSE = {"rtol": 1e-4, "atol": 1e-4}
X = noise(6, 2)
MEANS = noise(3, 2, seed=4)
ORACLES = {
    "gaussian": lambda corruption: GaussianOracle(noise(2, seed=1), covariance(2, seed=3), corruption),
    "mixture": lambda corruption: MixtureOracle.spherical(
        torch.full((3,), 1 / 3, dtype=torch.float64), MEANS, 0.3, corruption
    ),
}


@pytest.fixture(params=ORACLES)
def oracle(request):
    return ORACLES[request.param](GaussianCorruption(LINEAR))


def scheduler_of(kind, **options):
    """Theirs on Ho's table, in float64, told x0."""
    theirs = kind(
        num_train_timesteps=STEPS,
        beta_start=1e-4,
        beta_end=0.02,
        beta_schedule="linear",
        prediction_type="sample",
        **options,
    )
    return in_float64(theirs, LINEAR.betas)


def in_float64(theirs, betas):
    theirs.betas, theirs.alphas = betas, 1 - betas
    theirs.alphas_cumprod = theirs.alphas.cumprod(0)
    if hasattr(theirs, "lambda_t"):
        theirs.alpha_t, theirs.sigma_t = theirs.alphas_cumprod.sqrt(), (1 - theirs.alphas_cumprod).sqrt()
        theirs.lambda_t = theirs.alpha_t.log() - theirs.sigma_t.log()
    return theirs


def multistep_of(order, spacing, solver_type, steps=20, **options):
    theirs = scheduler_of(
        DPMSolverMultistepScheduler,
        solver_order=order,
        timestep_spacing=spacing,
        solver_type=solver_type,
        final_sigmas_type="zero",
        **options,
    )
    theirs.set_timesteps(steps)
    return theirs


def their_states(theirs, oracle, timesteps, scaled=False):
    """What theirs returns after each step; scaled: it walks y = x / alpha, which at its end is x."""
    return states_at((timesteps.double() + 1) / oracle.corruption.schedule.steps, theirs, oracle, timesteps, scaled)


def states_at(times, theirs, oracle, timesteps, scaled):
    """The same, at our times."""
    scales = oracle.corruption.level(times).alpha if scaled else torch.ones_like(times)
    theirs.is_scale_input_called = True
    y, states = X / scales[0], []
    for timestep, time, scale in zip(timesteps, times, scales, strict=True):
        x0 = oracle(scale * y, time.expand(len(X))).x0
        y = theirs.step(x0, timestep, y).prev_sample.double()
        states.append(y)
    return states


def grid_of(timesteps, steps=STEPS):
    return torch.cat([(timesteps.double() + 1) / steps, torch.zeros(1, dtype=torch.float64)])


def our_states(sampler, oracle, grid):
    return [step.x for step in sample(oracle, sampler, grid, X, seeded(0))]


def agree(ours, theirs):
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, **CLOSE)


@pytest.mark.parametrize("sampler", [Ddim(), RungeKutta(EULER), Adams(1), Multistep(1)])
def test_ddim(oracle, sampler):
    """Their DDIM's own last step: to alpha = 1 with set_alpha_to_one, its default."""
    theirs = scheduler_of(DDIMScheduler, clip_sample=False, timestep_spacing="trailing")
    theirs.set_timesteps(10)
    agree(our_states(sampler, oracle, grid_of(theirs.timesteps)), their_states(theirs, oracle, theirs.timesteps))


def test_euler(oracle):
    theirs = scheduler_of(EulerDiscreteScheduler, timestep_spacing="trailing")
    theirs.set_timesteps(10)
    states = their_states(theirs, oracle, theirs.timesteps, scaled=True)
    ours = our_states(RungeKutta(EULER), oracle, grid_of(theirs.timesteps))
    torch.testing.assert_close(ours[-1], states[-1], **CLOSE)


@pytest.mark.parametrize("steps", [25, 50])
def test_heun(oracle, steps):
    """EDM's Heun without churn; its last step is Euler's, as theirs is. In fewer steps ours takes the midpoint."""
    theirs = scheduler_of(HeunDiscreteScheduler, timestep_spacing="trailing")
    theirs.set_timesteps(steps)
    states = their_states(theirs, oracle, theirs.timesteps, scaled=True)
    timesteps = torch.unique_consecutive(theirs.timesteps)
    ours = our_states(Heun(), oracle, grid_of(timesteps))
    torch.testing.assert_close(ours[-1], states[-1], **CLOSE)


@pytest.mark.parametrize(
    ("sampler", "solver_type"), [(DpmSolver2M(), "midpoint"), (Multistep(2), "heun")], ids=["midpoint", "heun"]
)
@pytest.mark.parametrize("spacing", ["trailing", "linspace"])
def test_dpm_solver_2m(oracle, sampler, solver_type, spacing):
    """With 20 steps: below 15 theirs lowers the order before the end as well."""
    theirs = multistep_of(2, spacing, solver_type)
    agree(our_states(sampler, oracle, grid_of(theirs.timesteps)), their_states(theirs, oracle, theirs.timesteps))


ENDS = {
    "lower": {"lower_order_final": True},
    "as high": {"lower_order_final": False},
    "euler": {"euler_at_final": True},
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("steps", [5, 10, 20])
@pytest.mark.parametrize("solver_type", ["midpoint", "heun"])
def test_dpm_solver_2m_ends_so_however_it_is_told_to_end(oracle, solver_type, steps, end):
    """To sigma = 0 all of its ways are ours, x0: there the line through two estimates would have an infinite slope."""
    theirs = multistep_of(2, "trailing", solver_type, steps, **ENDS[end])
    sampler = DpmSolver2M() if solver_type == "midpoint" else Multistep(2)
    agree(our_states(sampler, oracle, grid_of(theirs.timesteps)), their_states(theirs, oracle, theirs.timesteps))


KARRAS = {
    "dpm2m": (DPMSolverMultistepScheduler, {"final_sigmas_type": "zero"}, DpmSolver2M(), False),
    "euler": (EulerDiscreteScheduler, {}, RungeKutta(EULER), True),
    "heun": (HeunDiscreteScheduler, {}, Heun(), True),
}


@pytest.mark.parametrize("name", KARRAS)
@pytest.mark.parametrize("oracle_name", ORACLES)
def test_karras_levels(oracle_name, name):
    """Levels between a table's: ours on the table interpolated, asked at theirs, and `karras_grid` has the same."""
    kind, options, sampler, scaled = KARRAS[name]
    schedule, steps = InterpolatedSchedule(LINEAR), 25
    oracle = ORACLES[oracle_name](GaussianCorruption(schedule))
    theirs = scheduler_of(kind, use_karras_sigmas=True, **options)
    theirs.set_timesteps(steps)
    sigmas = theirs.sigmas.double()[:-1]
    times = time_of(schedule, -2 * sigmas.log())
    grid = torch.cat([torch.unique_consecutive(times), torch.zeros(1, dtype=torch.float64)])
    ours = our_states(sampler, oracle, grid)
    states = states_at(times, theirs, oracle, theirs.timesteps, scaled)
    torch.testing.assert_close(ours[-1], states[-1], **CLOSE)
    same = karras_grid(schedule, steps, most=float(sigmas[0]), least=float(sigmas[-1]))
    torch.testing.assert_close(same, grid, **CLOSE)


@pytest.mark.parametrize("spacing", ["trailing", "linspace"])
def test_dpm_solver_3m_but_for_its_second_difference(oracle, spacing, monkeypatch):
    """In theirs, as in DPM-Solver's own code and k-diffusion's, the second difference counts half.

    The parabola through three points is m + v D1 + v² D2 with D2 = (D1_0 - D1_1) / (r0 + r1), half of the second
    derivative, and ∫ h e^(h (v - 1)) v² dv = 1 - 2/h + 2 (1 - e^-h)/h²; they multiply D2 by half of that (their
    single-step solver has the 2 in its D2). So theirs is of order 2: measured, with the start of order 4, 2.0 where
    ours is 3.0. With the half put in, ours is theirs, up to the last step but one of this grid, which is half as long
    again as the one before: there ours takes two points only (`lagrange.bounded`), as theirs does in fewer steps.
    """

    def halved(h, points):
        first, *others = exponential_moments(h, len(points))
        return weights(points, [first, *others[:1], *(moment / 2 for moment in others[1:])])

    theirs = multistep_of(3, spacing, "midpoint")
    grid = grid_of(theirs.timesteps)
    states = their_states(theirs, oracle, theirs.timesteps)
    plain = our_states(Multistep(3), oracle, grid)
    monkeypatch.setattr("ebbtide.samplers.exponential.travel", partial(travel, rule=halved))
    agree(our_states(Multistep(3), oracle, grid)[:-2], states[:-2])
    assert float((plain[-3] - states[-3]).abs().max()) > 1e-4


@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("steps", [10, 20])
def test_unipc(oracle, order, steps):
    """Theirs of order 3 takes 2 in the step before the last ("lower_order_final"): compared up to there."""
    theirs = scheduler_of(UniPCMultistepScheduler, solver_order=order, solver_type="bh2", timestep_spacing="trailing")
    theirs.set_timesteps(steps)
    ours = our_states(UniPC(order), oracle, grid_of(theirs.timesteps))
    states = their_states(theirs, oracle, theirs.timesteps)
    kept = steps if order == 2 else steps - 2
    agree(ours[:kept], states[:kept])


@pytest.mark.parametrize("order", [2, 3])
def test_unipc_with_bh1(oracle, order, monkeypatch):
    """Ours has B(h) = 1 - e^-h (bh2) where two estimates make a line. With h in its place (bh1), ours is theirs.

    Compared up to the last step, where theirs is not a number: h is infinite there.
    """

    def with_h(h, points):
        if len(points) != 2:
            return integrated(h, points)
        share = (0.5 - points[0]) / (points[1] - points[0])
        return [-math.expm1(-h) - share * h, share * h]

    theirs = scheduler_of(UniPCMultistepScheduler, solver_order=order, solver_type="bh1", timestep_spacing="trailing")
    theirs.set_timesteps(8)
    states = their_states(theirs, oracle, theirs.timesteps)
    plain = our_states(UniPC(order), oracle, grid_of(theirs.timesteps))
    monkeypatch.setattr("ebbtide.samplers.unipc.halved", with_h)
    kept = 7 if order == 2 else 6
    assert states[-1].isnan().all()
    agree(our_states(UniPC(order), oracle, grid_of(theirs.timesteps))[:kept], states[:kept])
    assert max(float((a - b).abs().max()) for a, b in zip(plain[:kept], states[:kept], strict=True)) > 2e-4


@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("name", ORACLES)
def test_dpm_solver_singlestep(name, order):
    """On a table whose l falls evenly: theirs takes the grid's points within a step, ours even shares of l."""
    count = 60
    level = Level.of_log_snr(torch.linspace(6, -6, count, dtype=torch.float64))
    schedule = table(betas_of_level(level))
    oracle = ORACLES[name](GaussianCorruption(schedule))
    theirs = DPMSolverSinglestepScheduler(
        num_train_timesteps=count,
        trained_betas=schedule.betas.tolist(),
        prediction_type="sample",
        solver_order=order,
        solver_type="heun",
        final_sigmas_type="zero",
        lower_order_final=True,
    )
    theirs = in_float64(theirs, schedule.betas)
    timesteps = torch.arange(count - 1, -1, -5)
    theirs.set_timesteps(timesteps=timesteps.tolist())
    states = their_states(theirs, oracle, timesteps)
    whole = 3
    grid = (timesteps[: order * whole + 1 : order].double() + 1) / count
    agree(our_states(SingleStep(order), oracle, grid), states[order - 1 : order * whole : order])
