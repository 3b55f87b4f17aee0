"""The average's memory is a half-life in images: of the batch size it knows nothing."""

import pytest
import torch
from torch import nn

from ebbtide.errors import EbbtideError
from ebbtide.training.average import RAMP, Average


def network_of(value: float) -> nn.Linear:
    """A network with one weight."""
    network = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    nn.init.constant_(network.weight, value)
    return network


def value_of(average: Average) -> float:
    return average.network.weight.item()


def follow(average: Average, network: nn.Module, *, batch: int, start: int, images: int) -> None:
    """Updates of unchanging weights, from `start` images on."""
    for seen in range(start + batch, start + images + 1, batch):
        average.update(network, batch=batch, images=seen)


@pytest.mark.parametrize("batch", [1, 10, 250, 1000])
def test_old_weights_keep_half_their_influence_after_a_half_life(batch):
    average = Average(network_of(1.0), half_life=1000)
    follow(average, network_of(0.0), batch=batch, start=int(1000 / RAMP), images=1000)
    assert value_of(average) == pytest.approx(0.5)


def test_a_batch_as_large_as_two_half_lives_leaves_a_quarter():
    average = Average(network_of(1.0), half_life=1000)
    average.update(network_of(0.0), batch=2000, images=10**6)
    assert value_of(average) == pytest.approx(0.25)


@pytest.mark.parametrize("batch", [1, 8])
def test_early_on_the_first_weights_are_forgotten_as_fast_as_the_ramp_says(batch):
    """From n images to 2 n the influence falls by 0.5 to the sum of batch / (RAMP images), which is ln 2 / RAMP."""
    average = Average(network_of(1.0), half_life=10**9)
    follow(average, network_of(0.0), batch=batch, start=4000, images=4000)
    assert value_of(average) == pytest.approx(0.5 ** (0.6931 / RAMP), rel=0.05)


@pytest.mark.parametrize("half_life", [0, 1, 1000, 10**9])
def test_weights_that_do_not_change_are_their_own_average(half_life):
    average, network = Average(network_of(-3.0), half_life=half_life), network_of(2.5)
    follow(average, network, batch=10, start=0, images=10_000)
    assert value_of(average) == pytest.approx(2.5)


def test_with_no_memory_the_average_is_the_last_weights():
    average = Average(network_of(1.0), half_life=0)
    average.update(network_of(7.0), batch=1, images=10**6)
    assert value_of(average) == 7.0


def test_it_is_a_copy_that_training_does_not_touch():
    network = network_of(1.0)
    average = Average(network, half_life=10)
    nn.init.constant_(network.weight, 9.0)
    assert value_of(average) == 1.0
    average.update(network, batch=10, images=10**6)
    assert network.weight.item() == 9.0


def test_it_drops_nothing_while_the_network_it_follows_does():
    network = nn.Sequential(nn.Linear(4, 64), nn.Dropout(0.5), nn.Linear(64, 1)).train()
    average, x = Average(network, half_life=10), torch.ones(3, 4)
    average.update(network, batch=10, images=10**6)
    assert torch.equal(average.network(x), average.network(x))
    assert network.training
    assert not torch.equal(network(x), network(x))


@pytest.mark.parametrize("half_life", [-1.0, float("nan"), float("inf")])
def test_a_half_life_that_is_none_is_refused(half_life):
    with pytest.raises(EbbtideError, match="half-life of"):
        Average(network_of(1.0), half_life)
