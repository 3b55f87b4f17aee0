"""A seed and an index name a sample: the same in any batch, in any order, noise along the way included."""

import pytest
import torch

from ebbtide.conditions import Condition
from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers import FiniteOracle, GaussianOracle, MixtureOracle, NetworkDenoiser
from ebbtide.grids import uniform_grid
from ebbtide.guidance import Clipped
from ebbtide.networks import Mlp, UNet
from ebbtide.randomness import SampleGenerators, normal
from ebbtide.samplers import Ancestral, Ddim, final, generate, sample
from parts import COSINE, covariance, noise, perturbed

CORRUPTION = GaussianCorruption(COSINE)
MIXTURE = MixtureOracle.spherical(torch.tensor([0.3, 0.7]).double(), noise(2, 2, seed=1), 0.4, CORRUPTION)
SAMPLERS = {"ancestral": Ancestral(), "step": Ancestral(variance="step"), "ddim": Ddim(), "between": Ddim(eta=0.6)}


def network(kind):
    torch.manual_seed(0)
    if kind == "mlp":
        return perturbed(Mlp(2, width=16, depth=2, classes=3)), (2,)
    unet = UNet(1, channels=8, multipliers=(1, 2), blocks=1, attention=(False, True), heads=2, classes=3)
    return perturbed(unet), (1, 7, 5)


def samples(denoiser, sampler, shape, indices, seed=3, labelled=False):
    label = Condition(label=torch.tensor(indices) % 3) if labelled else None
    return final(generate(denoiser, sampler, uniform_grid(COSINE, 5), shape, indices, seed=seed, condition=label))


def exact_samples(oracle, sampler, indices, seed=3):
    """As `samples`, in float64 from the first noise on."""
    generator = SampleGenerators.of(seed, indices)
    start = normal((len(indices), 2), generator, dtype=torch.float64)
    return final(sample(oracle, sampler, uniform_grid(COSINE, 5), start, generator))


ORACLES = {
    "gaussian": GaussianOracle(noise(2), covariance(2), CORRUPTION),
    "mixture": MIXTURE,
    "finite": FiniteOracle(noise(5, 2), CORRUPTION),
    "clipped": Clipped(MIXTURE),
}


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("name", ORACLES)
def test_an_oracles_sample_is_the_same_in_any_batch_and_order(name, sampler):
    oracle, step = ORACLES[name], SAMPLERS[sampler]
    whole = exact_samples(oracle, step, [0, 1, 2, 3, 4])
    alone = torch.cat([exact_samples(oracle, step, [index]) for index in range(5)])
    turned = exact_samples(oracle, step, [4, 2, 0])
    assert torch.allclose(whole, alone, rtol=1e-11, atol=1e-12)
    assert torch.allclose(turned, whole[[4, 2, 0]], rtol=1e-11, atol=1e-12)
    assert not torch.allclose(exact_samples(oracle, step, [0, 1, 2, 3, 4], seed=4), whole)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("kind", ["mlp", "unet"])
def test_a_networks_sample_is_the_same_in_any_batch_and_order(kind, sampler):
    weights, shape = network(kind)
    denoiser = Clipped(NetworkDenoiser(weights, CORRUPTION, "v"), -2.0, 2.0)
    whole = samples(denoiser, SAMPLERS[sampler], shape, [0, 1, 2], labelled=True)
    turned = samples(denoiser, SAMPLERS[sampler], shape, [2, 0], labelled=True)
    assert torch.allclose(turned, whole[[2, 0]], atol=1e-5)
    assert not torch.allclose(whole[0], whole[1], atol=1e-2)
