"""The small decoder of pixels: probabilities, Bayes' rule where it has learned nothing, and how far it sees."""

import math

import pytest
import torch

from ebbtide.networks import PixelDecoder
from parts import noise, perturbed, seeded

NOISE = torch.tensor([0.5, 3.0, 40.0], dtype=torch.float64)


def decoder(channels=1, bells=3, scale=0.3):
    torch.manual_seed(0)
    return perturbed(PixelDecoder(channels, bells=bells, width=8).double(), scale=scale)


def fresh(bells=1):
    torch.manual_seed(0)
    network = PixelDecoder(1, bells=bells, width=8).double()
    with torch.no_grad():
        network.offsets.zero_()
    return network


def pictures(channels=1, size=(5, 4), seed=0):
    """A noisy one and what is believed, in bytes."""
    belief = 255 * torch.rand(3, channels, *size, generator=seeded(seed), dtype=torch.float64)
    return belief + NOISE.reshape(3, 1, 1, 1) * noise(3, channels, *size, seed=seed), belief


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("bells", [1, 3])
def test_the_256_probabilities_sum_to_one(channels, bells):
    found = decoder(channels, bells)(*pictures(channels), NOISE)
    assert found.shape == (3, channels, 5, 4, 256)
    assert torch.allclose(found.exp().sum(-1), torch.ones(3, channels, 5, 4, dtype=torch.float64), rtol=1e-12)


def bayes(belief, noise_, prior):
    """P(k) ∝ prior_k N(k; belief, noise²), one pixel."""
    weights = [p * math.exp(-((k - belief) ** 2) / (2 * noise_**2)) for k, p in enumerate(prior)]
    return torch.tensor([w / sum(weights) for w in weights], dtype=torch.float64)


@pytest.mark.parametrize("bells", [1, 4])
@pytest.mark.parametrize("flat", [True, False])
def test_before_it_has_learned_it_is_bayes_rule_for_pixels_on_their_own(bells, flat):
    """Bells of one width at one place are one bell."""
    network, (noisy, belief) = fresh(bells), pictures()
    prior = torch.full((256,), 1 / 256) if flat else torch.rand(256, generator=seeded(1)) ** 3
    with torch.no_grad():
        network.frequencies.copy_(torch.zeros(256) if flat else prior.log())
    found = network(noisy, belief, NOISE).exp()
    for example, level in enumerate(NOISE.tolist()):
        for place in ((0, 0), (2, 3), (4, 1)):
            expected = bayes(float(belief[example, 0][place]), level, prior.double().tolist())
            assert torch.allclose(found[example, 0][place], expected, rtol=1e-6, atol=1e-12)


def test_bells_are_mixed_as_densities():
    """P(k) ∝ f_k sum_j π_j N(k; m_j, s_j²), whose narrow bells are the higher ones, in plain loops."""
    network, bells = fresh(3), [(0.2, -0.5, -1.2), (-0.7, 0.9, 0.8), (1.0, 0.1, 0.0)]
    with torch.no_grad():
        network.last.bias.copy_(torch.tensor(bells).T.flatten())
        network.frequencies.copy_(noise(256, seed=4))
        network.offsets.copy_(torch.tensor([0.3, -0.1, 0.2]))
    belief, level = 100.0, 5.0
    pi = [math.exp(logit) for logit, _, _ in bells]
    table = []
    for k in range(256):
        density = 0.0
        for share, (_, offset, log_width), own in zip(pi, bells, (0.3, -0.1, 0.2), strict=True):
            m, s = belief + (offset + own) * level, math.exp(log_width) * level
            density += share / sum(pi) * math.exp(-((k - m) ** 2) / (2 * s**2)) / s
        table.append(math.exp(float(network.frequencies[k].detach())) * density)
    x = torch.full((1, 1, 1, 1), belief, dtype=torch.float64)
    found = network(x, x, torch.tensor([level], dtype=torch.float64)).exp().flatten().tolist()
    assert found == pytest.approx([value / sum(table) for value in table], rel=1e-5, abs=1e-12)


def test_places_and_widths_of_bells_are_told_in_units_of_the_noise():
    """Belief, value and noise scaled alike about the middle: the same law, read off on another grid."""
    network = fresh()
    with torch.no_grad():
        network.last.bias.copy_(torch.tensor([0.0, 0.7, -0.4]))
    belief = torch.full((2, 1, 1, 1), 128.0, dtype=torch.float64)
    level = torch.tensor([8.0, 16.0], dtype=torch.float64)
    one, two = network(belief, belief, level).exp().detach()[:, 0, 0, 0]
    values = torch.arange(256, dtype=torch.float64)
    for law, scale in ((one, 8.0), (two, 16.0)):
        mean = float(law @ values)
        deviation = float((law @ (values - mean).square()).sqrt())
        assert mean == pytest.approx(128 + 0.7 * scale, rel=1e-6)
        assert deviation == pytest.approx(math.exp(-0.4) * scale, rel=1e-4)


@pytest.mark.parametrize("place", [(5, 5), (0, 0), (10, 2)])
def test_a_pixel_is_told_from_a_square_of_seven_around_it(place):
    network = decoder(channels=2)
    inputs = [255 * torch.rand(1, 2, 11, 11, generator=seeded(s), dtype=torch.float64) for s in (1, 2)]
    inputs = [x.requires_grad_() for x in inputs]
    weights = noise(2, 256, seed=3)
    found = network(*inputs, NOISE[1:2])[0, :, place[0], place[1]]
    grads = torch.autograd.grad((weights * found).sum(), inputs)
    rows, columns = torch.meshgrid(torch.arange(11), torch.arange(11), indexing="ij")
    near = ((rows - place[0]).abs() <= 3) & ((columns - place[1]).abs() <= 3)
    for grad in grads:
        assert torch.equal((grad[0] != 0).all(0), near)
        assert torch.equal((grad[0] != 0).any(0), near)


def test_every_parameter_is_learned():
    network = decoder()
    found = network(*pictures(), NOISE)
    found[..., 100].sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 1e-6, name


@pytest.mark.parametrize("make", [fresh, decoder])
def test_values_that_never_occur_get_nothing(make):
    network = make()
    with torch.no_grad():
        network.frequencies.fill_(-math.inf)[[0, 255]] = 0.0
    found = network(*pictures(), NOISE).exp()
    assert (found[..., 1:255] == 0).all()
    assert torch.allclose(found[..., [0, 255]].sum(-1), torch.ones(3, 1, 5, 4, dtype=torch.float64), rtol=1e-12)


def test_no_value_is_impossible_however_far_the_belief():
    network = decoder(scale=2.0).float()
    noisy, belief = (x.float() for x in pictures())
    assert torch.isfinite(network(noisy, belief + 3000, NOISE.float())).all()
