"""The trained last decoder (item E11): what it charges, what it is told, and the loss that it learns from."""

import math

import pytest
import torch
from torch import nn

from ebbtide.conditions import Condition
from ebbtide.corruptions import GaussianCorruption
from ebbtide.data import ValueRange
from ebbtide.denoisers import GaussianEstimate, NetworkDenoiser
from ebbtide.errors import EbbtideError
from ebbtide.levels import Level
from ebbtide.likelihood.pixels import LEAST_NOISE, TrainedPixels
from ebbtide.likelihood.terms import first_term
from ebbtide.networks import PixelDecoder
from ebbtide.objectives.pixels import PixelObjective
from parts import COSINE, noise, perturbed, seeded

RANGE = ValueRange(low=-0.8, high=2.1)
STEP = (2.1 + 0.8) / 255
LEVEL = Level.of_log_snr(torch.tensor([11.0, 6.0, 3.0], dtype=torch.float64))
BYTES = torch.randint(0, 256, (3, 2, 4, 5), generator=seeded(1), dtype=torch.uint8)
X0 = RANGE.encode(BYTES)


def decoder(channels=2):
    torch.manual_seed(0)
    return perturbed(PixelDecoder(channels, width=8))


def estimate():
    xt = LEVEL.mix(X0, noise(*X0.shape, seed=2, dtype=torch.float32))
    return GaussianEstimate(xt, LEVEL, "x0", X0 + 0.05 * noise(*X0.shape, seed=3, dtype=torch.float32))


def test_it_charges_the_log_probability_of_each_value():
    pixels = TrainedPixels(RANGE, decoder())
    table = pixels.log_probabilities(estimate()).double().detach()
    assert torch.allclose(table.exp().sum(-1), torch.ones(X0.shape, dtype=torch.float64), rtol=1e-5)
    for example, nats in enumerate(pixels(estimate(), X0).tolist()):
        charged = 0.0
        for place in torch.cartesian_prod(*map(torch.arange, X0.shape[1:])).tolist():
            charged -= float(table[example][tuple(place)][int(BYTES[example][tuple(place)])])
        assert nats == pytest.approx(charged, rel=1e-9)


def test_the_network_is_told_bytes():
    """Both pictures and the noise in bytes; noise that names the value is not told to be less than half of one."""
    told = []

    def network(noisy, belief, level):
        told.append((noisy, belief, level))
        return torch.zeros(*noisy.shape, 256).log_softmax(-1)

    some = estimate()
    nats = TrainedPixels(RANGE, network)(some, X0)
    (noisy, belief, level) = told[0]
    spread = (-LEVEL.log_snr / 2).exp() / STEP
    assert torch.allclose(level.double(), spread.clamp(min=LEAST_NOISE), rtol=1e-6)
    assert spread.min() < LEAST_NOISE < spread.max(), "the case that is looked at"
    seen = BYTES + spread.reshape(3, 1, 1, 1) * noise(*X0.shape, seed=2, dtype=torch.float32)
    assert torch.allclose(noisy.double(), seen, atol=1e-3)
    believed = BYTES + 0.05 / STEP * noise(*X0.shape, seed=3, dtype=torch.float32)
    assert torch.allclose(belief, believed, atol=1e-3)
    assert nats.tolist() == pytest.approx([40 * math.log(256)] * 3, rel=1e-6)


def test_with_bayes_rule_for_a_network_it_is_the_posterior_of_the_data():
    """-log p(x0 | z1) of independent uniform bytes, from densities of z1 in the data's own units."""

    def network(noisy, belief, level):
        away = (torch.arange(256.0) - noisy.unsqueeze(-1)) / level.reshape(-1, 1, 1, 1, 1)
        return (-0.5 * away.square()).log_softmax(-1)

    some = GaussianEstimate(estimate().xt[1:], Level(LEVEL.alpha[1:], LEVEL.sigma[1:]), "x0", X0[1:])
    values = RANGE.low + STEP * torch.arange(256, dtype=torch.float64)
    alpha, sigma = (c.reshape(-1, 1, 1, 1, 1) for c in (some.level.alpha, some.level.sigma))
    joint = -0.5 * ((some.xt.double().unsqueeze(-1) - alpha * values) / sigma).square()
    posterior = joint.log_softmax(-1).gather(-1, BYTES[1:].long().unsqueeze(-1))
    assert torch.allclose(TrainedPixels(RANGE, network)(some, X0[1:]), -posterior.flatten(1).sum(1), rtol=1e-4)


def test_real_numbers_are_refused():
    with pytest.raises(EbbtideError, match="8-bit images"):
        TrainedPixels(RANGE, decoder())(estimate(), X0 + 0.3 * STEP)


class Net(nn.Module):
    """A denoising network with one weight, which remembers what it was told."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.7))
        self.told = []

    def forward(self, x, t, condition):
        self.told.append((t, condition.label))
        return self.weight * x


LABELS = Condition(label=torch.tensor([2, 0, 1]))


def objective(network, first=0.1):
    denoiser = NetworkDenoiser(network, GaussianCorruption(COSINE))
    return PixelObjective(denoiser=denoiser, first=first, range=RANGE)


def test_the_loss_is_l_0_for_the_same_noise():
    network, pixels = Net(), decoder()
    losses = objective(network)(pixels, X0, LABELS, seeded(7))
    eps = noise(*X0.shape, seed=7, dtype=torch.float32)
    t = torch.full((3,), 0.1, dtype=torch.float64)
    bound = first_term(objective(network).denoiser, X0, eps, t, TrainedPixels(RANGE, pixels), LABELS)
    assert torch.allclose(losses.values.double(), bound.nats / 40, rtol=1e-6)
    assert torch.equal(losses.times, t)
    for time, label in network.told:
        assert torch.equal(time.double(), t.float().double())
        assert torch.equal(label, LABELS.label)


def test_only_the_decoder_learns():
    network, pixels = Net(), decoder()
    objective(network)(pixels, X0, LABELS, seeded(7)).values.mean().backward()
    assert network.weight.grad is None
    assert all(parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in pixels.parameters())
