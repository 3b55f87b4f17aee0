"""What a recipe is said to cost, against counts by hand and against what really happens."""

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ebbtide.conditions import Condition
from ebbtide.recipes.build import build_network
from ebbtide.recipes.cost import cost_of, duration, expectation, in_words
from ebbtide.recipes.presets import PRESETS
from ebbtide.recipes.recipe import TrainingRecipe

SMALL = ("digits", "images", "fashion", "cifar10", "faces64", "moons", "dots")


@pytest.mark.parametrize("name", SMALL)
def test_the_parameters_are_the_networks(name):
    preset = PRESETS[name]
    network = build_network(preset.recipe.network, preset.shape, preset.classes, 0)
    cost = cost_of(preset.recipe, preset.shape, preset.classes)
    assert cost.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert cost.state == 20 * cost.parameters


@pytest.mark.parametrize("name", SMALL)
def test_the_flops_are_those_of_a_real_update(name):
    preset = PRESETS[name]
    network = build_network(preset.recipe.network, preset.shape, preset.classes, 0)
    label = torch.zeros(2, dtype=torch.int64)
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(2, *preset.shape), torch.zeros(2), Condition(label=label)).sum().backward()
    assert cost_of(preset.recipe, preset.shape, preset.classes).flops == counter.get_total_flops() / 2


def test_the_flops_of_a_single_layer_are_those_counted_by_hand():
    """Of the MLP at depth 1: each weight of a linear layer is two FLOPs forward and four backward; inputs need none."""
    preset = PRESETS["moons"]
    recipe = replace(preset.recipe, network=replace(preset.recipe.network, width=16, depth=1))
    network = build_network(recipe.network, (2,), 0, 0)
    layers = [layer for layer in network.modules() if isinstance(layer, torch.nn.Linear)]
    every = sum(6 * layer.weight.numel() for layer in layers)
    found = cost_of(recipe, (2,), 0).flops
    # the first layers of data and of time need no gradient of their inputs
    assert every - 4 * 16 * 16 <= found <= every


def test_memory_is_that_of_one_part_of_a_batch():
    preset = PRESETS["fashion"]

    def kept(**training):
        cost = cost_of(replace(preset.recipe, training=TrainingRecipe(minutes=1, **training)), preset.shape, 10)
        return cost.memory - cost.state

    assert kept(batch=64) == pytest.approx(2 * kept(batch=32), rel=0.1)
    assert kept(batch=64, accumulate=2) == kept(batch=32)
    assert kept(batch=64, precision="fp32") == pytest.approx(2 * kept(batch=64, precision="bf16"), rel=0.01)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(5.0, "5 seconds"), (119.0, "119 seconds"), (600.0, "10 minutes"), (9000.0, "2.5 hours"), (864000.0, "10 days")],
)
def test_durations_come_in_the_unit_that_fits(seconds, words):
    assert duration(seconds) == words


def test_a_budget_is_put_into_words():
    assert (
        expectation(640.0, TrainingRecipe(minutes=2.0, batch=64)) == "about 640 images/s, 1.2e+03 updates in 2 minutes"
    )
    assert (
        expectation(640.0, TrainingRecipe(updates=6000, batch=64)) == "about 640 images/s, 10 minutes for 6,000 updates"
    )


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_a_stated_cost(name):
    preset = PRESETS[name]
    words = in_words(cost_of(preset.recipe, preset.shape, preset.classes), preset.recipe.training, 10.0)
    assert set(words) == {"parameters", "compute", "memory", "to expect here"}
