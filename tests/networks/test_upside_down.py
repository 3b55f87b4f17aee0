"""The upside-down U-Net: any shape of event, zero at first, wide in the middle, each level told time and label."""

import pytest
import torch
from torch.func import jacrev

from ebbtide.conditions import Condition
from ebbtide.errors import EbbtideError
from ebbtide.networks import UpsideDown
from parts import noise, perturbed

SHAPE = (2, 2, 1)
X, T = noise(4, *SHAPE, dtype=torch.float32), torch.tensor([0.001, 0.3, 0.7, 1.0])
LABELS = torch.tensor([0, 2, -1, 1])
TOLD = Condition(label=LABELS)


def small(**changes):
    torch.manual_seed(0)
    return UpsideDown(SHAPE, **{"width": 32, "depth": 3, **changes})


@pytest.mark.parametrize("shape", [(1,), (7,), (1, 3, 3), (3, 2, 5), (2, 2, 2, 2)])
@pytest.mark.parametrize("depth", [1, 2, 5])
def test_events_of_any_shape_come_back_in_theirs(shape, depth):
    network = perturbed(UpsideDown(shape, width=40, depth=depth))
    out = network(noise(5, *shape, dtype=torch.float32), torch.ones(5), Condition())
    assert out.shape == (5, *shape)
    assert out.abs().max() > 0


def test_at_first_the_answer_is_zero():
    assert (small(classes=3)(X, T, TOLD) == 0).all()


def test_levels_widen_by_one_factor_and_narrow_as_they_came():
    """4 numbers to 32 in three levels: twice as wide each time; a skip of equal width joins each way back."""
    network = small()
    assert [level.linear.weight.shape for level in network.widen] == [(8, 4), (16, 8), (32, 16)]
    assert [level.linear.weight.shape for level in network.narrow] == [(16, 32), (8, 2 * 16)]
    assert network.last.weight.shape == (4, 2 * 8 + 4)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_every_number_reaches_every_other(depth):
    network = perturbed(small(depth=depth))
    reach = jacrev(lambda x: network(x[None], T[:1], Condition())[0].flatten())(X[0]).reshape(4, 4)
    assert reach.abs().min() > 1e-5


@pytest.mark.parametrize("way", ["widen", "narrow"])
@pytest.mark.parametrize("level", [0, 1])
def test_every_level_is_told_time_and_label(way, level):
    """With all other levels deaf, the answer still changes with the time and with the label."""
    network = perturbed(small(classes=3))
    with torch.no_grad():
        for other in [*network.widen, *network.narrow]:
            if other is not getattr(network, way)[level]:
                other.embed.weight.zero_()
    same, half = X[:1].expand(4, *SHAPE), torch.full((4,), 0.5)
    assert torch.pdist(network(same, T, Condition()).flatten(1)).min() > 1e-4
    assert torch.pdist(network(same, half, TOLD).flatten(1)).min() > 1e-4


@pytest.mark.parametrize("cut", range(3))
def test_skips_lead_past_the_middle(cut):
    """With the widest activations at zero, what the levels before them left still reaches the answer, each alone."""
    network = perturbed(small())
    with torch.no_grad():
        network.narrow[0].linear.weight.zero_()
        network.narrow[1].linear.weight[:, :16] = 0
        skips = [network.last.weight[:, 16:], network.last.weight[:, 8:16], network.narrow[1].linear.weight[:, 16:]]
        network.last.weight[:, :8] *= cut == 2
        for number, skip in enumerate(skips):
            skip *= number == cut
    reach = jacrev(lambda x: network(x[None], T[:1], Condition())[0].flatten())(X[0]).reshape(4, 4)
    assert reach.abs().min() > 1e-5


def test_examples_of_a_batch_do_not_meet():
    network = perturbed(small(classes=3))
    alone = [network(X[i : i + 1], T[i : i + 1], Condition(label=LABELS[i : i + 1])) for i in range(4)]
    assert torch.allclose(network(X, T, TOLD), torch.cat(alone), atol=1e-5)


def test_no_label_is_the_label_that_is_withheld():
    network = perturbed(small(classes=3))
    withheld = Condition(label=torch.full((4,), -1))
    assert torch.allclose(network(X, T, Condition()), network(X, T, withheld), atol=1e-6)


def test_several_outputs_are_groups_of_channels_one_after_another():
    """With one half of the last layer, the network is the one with a single output."""
    several, single = perturbed(small(outputs=2)), small().eval()
    out = several(X, T, Condition())
    assert out.shape == (4, 4, 2, 1)
    for half in range(2):
        weights = dict(several.state_dict())
        for name in ("last.weight", "last.bias"):
            weights[name] = weights[name][4 * half : 4 * half + 4]
        single.load_state_dict(weights)
        assert torch.allclose(out[:, 2 * half : 2 * half + 2], single(X, T, Condition()), atol=1e-6)


def test_dropout_acts_in_training_only():
    network, plain = perturbed(small(dropout=0.5)), perturbed(small())
    assert torch.equal(network(X, T, Condition()), plain(X, T, Condition()))
    assert torch.equal(plain.train()(X, T, Condition()), plain.eval()(X, T, Condition()))
    network.train()
    assert not torch.allclose(network(X, T, Condition()), network(X, T, Condition()), atol=1e-4)


def test_every_weight_takes_part():
    network = perturbed(small(classes=3))
    network(X, T, TOLD).square().mean().backward()
    assert [name for name, weight in network.named_parameters() if not weight.grad.any()] == []


@pytest.mark.parametrize(
    "wrong", [{"width": 4}, {"depth": 0}, {"dropout": 1.0}, {"dropout": -0.1}, {"classes": -1}, {"outputs": 0}]
)
def test_networks_that_cannot_be_are_refused(wrong):
    with pytest.raises(EbbtideError, match="came"):
        small(**wrong)
