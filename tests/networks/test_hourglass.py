"""The hourglass: any size of image, zero at first, one example at a time, told time, label and place."""

import math

import pytest
import torch

from ebbtide.conditions import Condition
from ebbtide.errors import EbbtideError
from ebbtide.networks.hourglass import OCTAVES, Hourglass, waves
from parts import noise, perturbed


def small(image_channels=2, **changes):
    torch.manual_seed(0)
    return Hourglass(image_channels, **{"channels": 8, "multipliers": (1, 2), **changes})


def images(*shape, seed=0):
    return noise(*shape, seed=seed, dtype=torch.float32)


def times(count):
    return torch.linspace(0.1, 1, count)


def told(*labels):
    return Condition(label=torch.tensor(labels))


def layers(network):
    """Every layer, from the first to the last that is applied."""
    down = [layer for level in network.down for layer in level.layers]
    return down + [layer for rise in network.up for layer in (rise.grow, *rise.level.layers)]


@pytest.mark.parametrize("size", [(7, 5), (28, 28), (9, 9), (1, 1), (2, 13)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_images_of_any_size_and_channels_come_back_in_theirs(size, channels):
    network = perturbed(small(channels, multipliers=(1, 1, 2)))
    x = images(2, channels, *size)
    out = network(x, times(2), Condition())
    assert out.shape == x.shape
    assert torch.isfinite(out).all()
    assert out.abs().max() > 0


@pytest.mark.parametrize("multipliers", [(1,), (2, 1), (1, 2, 3, 4)])
@pytest.mark.parametrize("blocks", [1, 3])
def test_any_number_of_levels_and_blocks_is_built(multipliers, blocks):
    network = perturbed(small(multipliers=multipliers, blocks=blocks))
    assert len(layers(network)) == blocks * len(multipliers) + (blocks + 1) * (len(multipliers) - 1)
    out = network(images(1, 2, 6, 7), times(1), Condition())
    assert torch.isfinite(out).all()
    assert out.is_contiguous(memory_format=torch.channels_last)


def test_sides_are_halved_down_and_doubled_up_and_only_the_way_up_is_transposed():
    network, sides = perturbed(small(multipliers=(1, 2, 2))), []
    for layer in layers(network):
        layer.conv.register_forward_hook(lambda conv, _, out: sides.append((conv.transposed, *out.shape[-2:])))
    network(images(1, 2, 11, 6), times(1), Condition())
    down, up = [(11, 6), (6, 3), (3, 2)], [(6, 4), (6, 3), (12, 6), (11, 6)]
    assert sides == [(False, *side) for side in down] + [(True, *side) for side in up]


def test_at_first_the_answer_is_zero():
    assert (small(classes=3)(images(2, 2, 8, 8), times(2), told(1, -1)) == 0).all()


def test_examples_of_a_batch_do_not_meet():
    network = perturbed(small(classes=3))
    x, t = images(3, 2, 7, 6), times(3)
    together = network(x, t, told(0, 2, -1))
    alone = torch.cat([network(x[i : i + 1], t[i : i + 1], told(label)) for i, label in enumerate((0, 2, -1))])
    assert torch.allclose(together, alone, atol=1e-5)


def test_no_label_is_the_label_that_is_withheld_and_labels_differ():
    network = perturbed(small(classes=3))
    x, t = images(1, 2, 6, 6).expand(4, 2, 6, 6), torch.full((4,), 0.5)
    answers = network(x, t, told(-1, 0, 1, 2))
    assert torch.allclose(network(x, t, Condition()), answers[:1].expand_as(answers), atol=1e-5)
    assert torch.pdist(answers.flatten(1)).min() > 1e-3


def hearing(network, *, time=None, down=None, across=None):
    """Each thing is told only to the layer of this number (None: to no layer)."""
    with torch.no_grad():
        for number, layer in enumerate(layers(network)):
            layer.time.weight *= number == time
            layer.down.weight *= number == down
            layer.across.weight *= number == across
    return network


@pytest.mark.parametrize("number", range(4))
def test_every_layer_is_told_time_and_label(number):
    network = hearing(perturbed(small(classes=3), scale=0.2), time=number)
    x = images(1, 2, 6, 6).expand(3, 2, 6, 6)
    assert torch.pdist(network(x, torch.tensor([0.001, 0.002, 1.0]), Condition()).flatten(1)).min() > 1e-3
    assert torch.pdist(network(x, torch.full((3,), 0.5), told(-1, 0, 2)).flatten(1)).min() > 1e-3


def around_a_spot(network, row, column):
    """The answer to one bright pixel, as far around it as the pixel reaches."""
    x = torch.zeros(1, 1, 48, 48)
    x[0, 0, row, column] = 3.0
    return network(x, times(1), Condition())[..., row - 10 : row + 10, column - 10 : column + 10]


def test_what_is_deaf_to_places_moves_with_the_picture():
    network = hearing(perturbed(small(1), scale=0.2))
    assert torch.allclose(around_a_spot(network, 18, 18), around_a_spot(network, 28, 22), atol=1e-4)


@pytest.mark.parametrize("number", range(4))
def test_every_layer_is_told_both_coordinates_of_its_places(number):
    """With one layer alone told one coordinate, the answer does not move along with the picture in that direction."""
    for down, across in ((number, None), (None, number)):
        network = hearing(perturbed(small(1), scale=0.2), down=down, across=across)
        here = around_a_spot(network, 18, 18)
        for there, changes in (((28, 18), down is not None), ((18, 28), across is not None)):
            difference = (around_a_spot(network, *there) - here).abs().max()
            assert difference > 1e-2 if changes else difference < 1e-4


def test_places_are_told_by_waves_of_doubling_number_along_a_side():
    told_of = waves(6, torch.zeros(1))
    assert told_of.shape == (6, 2 * OCTAVES)
    for place in range(6):
        for octave in range(OCTAVES):
            angle = 2**octave * math.pi * (place + 0.5) / 6
            assert told_of[place, octave].item() == pytest.approx(math.cos(angle), abs=1e-5)
            assert told_of[place, OCTAVES + octave].item() == pytest.approx(math.sin(angle), abs=1e-5)


def test_places_are_parts_of_the_side_whatever_its_length_and_no_two_look_alike():
    like = torch.zeros(1)
    assert torch.allclose(waves(9, like)[1::3], waves(3, like), atol=1e-5)
    for places in (2, 28, 64, 256):
        assert torch.pdist(waves(places, like)).min() > 0.1


def test_the_input_itself_reaches_the_last_mix():
    """Two numbers of one layer make the network the identity; all others are noise."""
    network = perturbed(small())
    with torch.no_grad():
        network.last.weight.zero_()
        network.last.bias.zero_()
        network.last.weight[:, :2, 0, 0] = torch.eye(2)
    x = images(2, 2, 7, 5)
    assert torch.equal(network(x, times(2), Condition()), x)


def test_the_identity_is_learned_at_once():
    network, generator = small(), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.03)
    for _ in range(60):
        x = torch.randn(8, 2, 6, 6, generator=generator)
        loss = (network(x, torch.rand(8, generator=generator), Condition()) - x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.01


def test_without_dropout_training_and_evaluation_are_the_same():
    network = perturbed(small())
    x, t = images(2, 2, 6, 6), times(2)
    assert torch.equal(network.train()(x, t, Condition()), network.eval()(x, t, Condition()))


def test_dropout_acts_in_training_only():
    network, plain = perturbed(small(dropout=0.5)), perturbed(small())
    x, t = images(2, 2, 6, 6), times(2)
    evaluated = network(x, t, Condition())
    assert torch.equal(evaluated, plain(x, t, Condition()))
    network.train()
    first, second = network(x, t, Condition()), network(x, t, Condition())
    assert not torch.allclose(first, evaluated, atol=1e-3)
    assert not torch.allclose(first, second, atol=1e-3)


@pytest.mark.parametrize("blocks", [1, 2])
def test_every_weight_takes_part(blocks):
    network = perturbed(small(classes=2, blocks=blocks))
    network(images(3, 2, 8, 8), times(3), told(-1, 0, 1)).square().mean().backward()
    unused = [name for name, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert unused == []


def test_half_precision_gives_nearly_the_same():
    network, x = perturbed(small()), images(2, 2, 9, 8)
    full = network(x, times(2), Condition())
    with torch.autocast("cpu", torch.bfloat16):
        half = network(x, times(2), Condition())
    assert half.dtype == torch.bfloat16
    assert (half - full).square().mean() < 1e-3 * full.square().mean()


def fold(x, patch):
    """Each square of pixels as channels, in the order channel, row, column."""
    batch, channels, height, width = x.shape
    squares = x.reshape(batch, channels, height // patch, patch, width // patch, patch)
    return squares.permute(0, 1, 3, 5, 2, 4).reshape(batch, channels * patch**2, height // patch, width // patch)


@pytest.mark.parametrize("patch", [2, 3])
def test_patches_fold_and_unfold_without_mixing_images_up(patch):
    network, inner = perturbed(small(patch=patch)), perturbed(small(2 * patch**2))
    x, t = images(2, 2, 6, 12), times(2)
    out = network(x, t, Condition())
    assert out.shape == x.shape
    assert torch.allclose(fold(out, patch), inner(fold(x, patch), t, Condition()), atol=1e-5)


@pytest.mark.parametrize("patch", [1, 2])
def test_several_outputs_are_groups_of_channels_one_after_another(patch):
    """The last mix alone is larger; with a third of it, the network is the one with a single output."""
    several, single = perturbed(small(patch=patch, outputs=3)), small(patch=patch).eval()
    x, t = images(2, 2, 6, 4), times(2)
    out = several(x, t, Condition())
    assert out.shape == (2, 6, 6, 4)
    weights = single.state_dict()
    for third in range(3):
        rows = slice(third * 2 * patch**2, (third + 1) * 2 * patch**2)
        single.load_state_dict(
            {name: w if w.shape == weights[name].shape else w[rows] for name, w in several.state_dict().items()}
        )
        assert torch.allclose(out[:, 2 * third : 2 * third + 2], single(x, t, Condition()), atol=1e-5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"image_channels": 0},
        {"channels": 3},
        {"blocks": 0},
        {"multipliers": ()},
        {"multipliers": (0, 1)},
        {"dropout": 1.0},
        {"dropout": -0.1},
        {"classes": -1},
        {"patch": 0},
        {"outputs": 0},
    ],
)
def test_networks_that_cannot_be_are_refused(wrong):
    with pytest.raises(EbbtideError, match="came"):
        small(**wrong)
