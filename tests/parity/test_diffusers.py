"""Tables, single steps and corruption agree with diffusers' DDPM and DDIM, whose timestep i is t = (i + 1) / T."""

import math

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler

from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers import NetworkDenoiser, decode
from ebbtide.samplers import Ancestral, Ddim
from ebbtide.schedules import CosineSchedule, discretised, linear_schedule
from parts import noise, seeded

STEPS = 1000
OURS = {
    "linear": linear_schedule(),
    "squaredcos_cap_v2": discretised(CosineSchedule(last_log_snr=-math.inf), STEPS, "cosine"),
}
KINDS = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}
SHAPE = (3, 1, 4, 4)
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture(params=OURS)
def name(request):
    return request.param


def time(index):
    return torch.full((3,), (index + 1) / STEPS, dtype=torch.float64)


def denoiser_of(name, kind, prediction):
    return NetworkDenoiser(lambda x, t, condition: prediction, GaussianCorruption(OURS[name]), KINDS[kind])


def scheduler_of(kind, name, **options):
    """Theirs with their own betas, but the products in float64: in float32, 1 - abar has four digits near the data."""
    theirs = kind(beta_schedule=name, beta_start=1e-4, beta_end=0.02, clip_sample=False, **options)
    theirs.betas = theirs.betas.double()
    theirs.alphas = 1 - theirs.betas
    theirs.alphas_cumprod = theirs.alphas.cumprod(0)
    return theirs


XT, PREDICTION = noise(*SHAPE, seed=1), noise(*SHAPE, seed=2)


def test_tables_agree(name):
    theirs = DDPMScheduler(beta_schedule=name, beta_start=1e-4, beta_end=0.02)
    assert torch.allclose(OURS[name].betas.float(), theirs.betas, rtol=1e-5, atol=1e-7)
    abar = OURS[name].level(torch.arange(1, STEPS + 1) / STEPS).alpha.square()
    assert torch.allclose(abar.float(), theirs.alphas_cumprod, rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize("index", [0, 1, 300, 800, 950])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("size", "variance"), [("fixed_small", "posterior"), ("fixed_large", "step")])
def test_one_ancestral_step_has_the_same_mean_and_variance(name, kind, size, variance, index):
    theirs = scheduler_of(DDPMScheduler, name, variance_type=size, prediction_type=kind)
    denoiser = denoiser_of(name, kind, PREDICTION)
    estimate = denoiser(XT, time(index))
    level = denoiser.corruption.level
    law = decode(estimate, level(time(index - 1)), level(time(index)), variance)
    step = theirs.step(PREDICTION, index, XT, generator=seeded(4)).prev_sample
    drawn = torch.randn(SHAPE, generator=seeded(4), dtype=torch.float64)
    expected = law.mean + law.variances.sqrt() * drawn if index else law.mean
    assert torch.allclose(step, expected, **CLOSE)
    ours = Ancestral(variance=variance)(denoiser, XT, time(index), time(index - 1), None, seeded(4), None)
    assert torch.allclose(ours.xs, step, **CLOSE)
    if index:
        known = theirs._get_variance(index)
        assert torch.allclose(law.variances.flatten(), known.expand(3), rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("index", [0, 100, 300, 800, 950])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("eta", [0.0, 0.7, 1.0])
def test_one_ddim_step_over_many_levels_is_the_same(name, kind, eta, index):
    theirs = scheduler_of(DDIMScheduler, name, prediction_type=kind)
    theirs.set_timesteps(10)
    denoiser = denoiser_of(name, kind, PREDICTION)
    step = theirs.step(PREDICTION, index, XT, eta=eta, generator=seeded(4)).prev_sample
    s = time(max(index - 100, -1))
    ours = Ddim(eta=eta)(denoiser, XT, time(index), s, None, seeded(4), None).xs
    assert torch.allclose(ours, step, **CLOSE)


@pytest.mark.parametrize("scheduler", [DDPMScheduler, DDIMScheduler])
def test_corrupted_data_and_velocities_agree(name, scheduler):
    theirs = scheduler_of(scheduler, name)
    x0, eps = XT, PREDICTION
    index = torch.tensor([0, 500, 999])
    level = OURS[name].level((index + 1) / STEPS)
    a, b = (value.view(3, 1, 1, 1) for value in level.pair("v"))
    assert torch.allclose(level.mix(x0, eps), theirs.add_noise(x0, eps, index), **CLOSE)
    assert torch.allclose(a * x0 + b * eps, theirs.get_velocity(x0, eps, index), **CLOSE)
