"""The small classifier whose features sets are compared in: any size, halved until small, an example at a time."""

import math

import pytest
import torch

from ebbtide.networks.classifier import COARSEST, FEATURES, Classifier
from parts import noise, perturbed


def classifier(channels, size, classes=5):
    torch.manual_seed(0)
    return perturbed(Classifier(channels, size, classes), scale=0.05)


def halvings(size):
    """How often a side is halved, rounding up, until it is no longer than `COARSEST`."""
    return next(times for times in range(10) if math.ceil(size / 2**times) <= COARSEST)


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_of_any_size_become_as_many_features_and_are_halved_no_further_than_needed(channels):
    for size in range(3, 65):
        network, x = classifier(channels, size), noise(2, channels, size, size, dtype=torch.float32)
        with torch.inference_mode():
            assert network.features(x).shape == (2, FEATURES)
            side = math.ceil(size / 2 ** halvings(size))
            assert network.body(x).shape == (2, FEATURES, side, side), size
            assert network(x).shape == (2, 5)


@pytest.mark.parametrize("sides", [(8, 31), (40, 3)])
def test_pictures_need_not_be_square(sides):
    network, x = classifier(1, max(sides)), noise(2, 1, *sides, dtype=torch.float32)
    with torch.inference_mode():
        assert network.body(x).shape[2:] == tuple(math.ceil(side / 2 ** halvings(max(sides))) for side in sides)
        assert network.features(x).shape == (2, FEATURES)


def test_large_pictures_are_halved_at_once():
    """Full resolution costs most: from three halvings on no layer works at it."""
    for size, first in ((28, 28), (29, 15), (64, 32)):
        with torch.inference_mode():
            assert classifier(1, size).body[0](noise(1, 1, size, size, dtype=torch.float32)).shape[2] == first


def test_logits_are_the_last_layer_of_the_features():
    network, x = classifier(3, 16), noise(4, 3, 16, 16, dtype=torch.float32)
    with torch.inference_mode():
        assert torch.allclose(network(x), network.features(x) @ network.head.weight.T + network.head.bias, atol=1e-5)


def test_an_example_is_told_the_same_whatever_is_beside_it():
    network, x = classifier(1, 9).double(), noise(6, 1, 9, 9)
    with torch.inference_mode():
        one_by_one = torch.cat([network.features(x[i : i + 1]) for i in range(6)])
        assert torch.allclose(network.features(x), one_by_one, rtol=1e-9, atol=1e-12)


def test_features_do_not_ask_where_in_the_picture_something_is():
    """A spot is the same spot elsewhere, as long as it keeps away from the edges and moves by whole halvings."""
    network, x = classifier(1, 56).double(), torch.zeros(2, 1, 96, 96, dtype=torch.float64)
    x[0, 0, 40, 40] = x[1, 0, 56, 32] = 1.0  # three halvings: 8 pixels
    with torch.inference_mode():
        features = network.features(x)
        assert torch.allclose(features[0], features[1], rtol=1e-9, atol=1e-12)
        assert not torch.allclose(features[0], network.features(torch.zeros_like(x))[0], rtol=1e-6)


def test_every_parameter_is_learned():
    network = classifier(3, 12).train()
    torch.nn.functional.cross_entropy(network(noise(6, 3, 12, 12, dtype=torch.float32)), torch.arange(6) % 5).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 1e-8, name
