"""The U-Net: any size of image, zero at first, one example at a time, told time and label."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ebbtide.conditions import Condition
from ebbtide.errors import EbbtideError
from ebbtide.networks import UNet
from parts import noise, perturbed

SMALL = {"channels": 8, "multipliers": (1, 2), "blocks": 1, "attention": (False, True), "heads": 2}


def small(image_channels=2, **changes):
    torch.manual_seed(0)
    return UNet(image_channels, **{**SMALL, **changes})


def images(*shape, seed=0):
    return noise(*shape, seed=seed, dtype=torch.float32)


def times(count):
    return torch.linspace(0.1, 1, count)


def told(*labels):
    return Condition(label=torch.tensor(labels))


@pytest.mark.parametrize("size", [(7, 5), (28, 28), (9, 9), (1, 1), (2, 13)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_images_of_any_size_and_channels_come_back_in_theirs(size, channels):
    network = perturbed(small(channels, multipliers=(1, 1, 2), attention=(False, True, True)))
    x = images(2, channels, *size)
    out = network(x, times(2), Condition())
    assert out.shape == x.shape
    assert out.abs().max() > 0


@pytest.mark.parametrize("channels", [4, 5, 9, 12])
def test_any_width_that_the_heads_divide_is_built(channels):
    network = perturbed(small(channels=channels, heads=channels))
    assert torch.isfinite(network(images(1, 2, 6, 6), times(1), Condition())).all()


def test_at_first_the_answer_is_zero():
    network = small(classes=3)
    assert (network(images(2, 2, 8, 8), times(2), told(1, -1)) == 0).all()


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


def test_time_changes_the_answer():
    network = perturbed(small())
    answers = network(images(1, 2, 6, 6).expand(3, 2, 6, 6), torch.tensor([0.001, 0.002, 1.0]), Condition())
    assert torch.pdist(answers.flatten(1)).min() > 1e-3


def test_without_dropout_training_and_evaluation_are_the_same():
    network = perturbed(small())
    x, t = images(2, 2, 6, 6), times(2)
    assert torch.equal(network.train()(x, t, Condition()), network.eval()(x, t, Condition()))


def test_dropout_acts_in_training_only():
    network = perturbed(small(dropout=0.5))
    plain = perturbed(small())
    x, t = images(2, 2, 6, 6), times(2)
    evaluated = network(x, t, Condition())
    assert torch.equal(evaluated, plain(x, t, Condition()))
    network.train()
    first, second = network(x, t, Condition()), network(x, t, Condition())
    assert not torch.allclose(first, evaluated, atol=1e-4)
    assert not torch.allclose(first, second, atol=1e-4)


def test_every_weight_takes_part():
    network = perturbed(small(classes=2))
    network(images(3, 2, 8, 8), times(3), told(-1, 0, 1)).square().mean().backward()
    unused = [name for name, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert unused == []


def test_gradients_flow_after_the_first_update_though_the_answer_begins_at_zero():
    network = small()
    x, t = images(4, 2, 8, 8), times(4)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    losses = []
    for _ in range(8):
        loss = (network(x, t, Condition()) - x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


def fold(x, patch):
    """Each square of pixels as channels, in the order channel, row, column."""
    batch, channels, height, width = x.shape
    squares = x.reshape(batch, channels, height // patch, patch, width // patch, patch)
    return squares.permute(0, 1, 3, 5, 2, 4).reshape(batch, channels * patch**2, height // patch, width // patch)


@pytest.mark.parametrize("patch", [2, 3])
def test_patches_fold_and_unfold_without_mixing_images_up(patch):
    network = perturbed(small(patch=patch))
    x, t = images(2, 2, 6, 12), times(2)
    out = network(x, t, Condition())
    assert out.shape == x.shape
    assert torch.allclose(out[:1], network(x[:1], t[:1], Condition()), atol=1e-5)
    inner = perturbed(small(2 * patch**2))
    assert torch.allclose(fold(out, patch), inner(fold(x, patch), t, Condition()), atol=1e-5)


@pytest.mark.parametrize("patch", [1, 2])
def test_several_outputs_are_groups_of_channels_one_after_another(patch):
    """The last layer alone is larger; with the first third of it, the network is the one with a single output."""
    several, single = perturbed(small(patch=patch, outputs=3)), small(patch=patch).eval()
    assert (small(patch=patch, outputs=3)(images(1, 2, 4, 4), times(1), Condition()) == 0).all()
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
        {"channels": 3},
        {"blocks": 0},
        {"attention": (True,)},
        {"multipliers": (), "attention": ()},
        {"multipliers": (0, 1)},
        {"heads": 3},
        {"heads": 0},
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


@pytest.mark.parametrize("attention", [(False, False, False), (False, True, True)])
def test_a_lean_network_does_a_fifth_less_work_on_the_same_pictures(attention):
    sizes = {}
    for lean in (False, True):
        unet = UNet(2, channels=8, multipliers=(1, 2, 2), blocks=1, attention=attention, heads=2, lean=lean)
        x = torch.zeros(2, 2, 9, 12)
        with FlopCounterMode(display=False) as counter:
            assert unet(x, torch.rand(2), Condition()).shape == x.shape
        sizes[lean] = counter.get_total_flops(), sum(isinstance(m, nn.GroupNorm) for m in unet.modules())
    assert sizes[True][0] < 0.9 * sizes[False][0]
    assert sizes[True][1] < sizes[False][1]


def test_a_lean_network_learns_with_all_its_parameters():
    unet = UNet(1, channels=8, multipliers=(1, 2), blocks=1, attention=(False, False), classes=2, lean=True)
    for parameter in unet.parameters():  # what is zero at first hides what lies before it
        nn.init.normal_(parameter, std=0.1)
    unet(torch.randn(3, 1, 8, 8), torch.rand(3), Condition(label=torch.tensor([-1, 0, 1]))).square().sum().backward()
    assert all(parameter.grad is not None and bool((parameter.grad != 0).any()) for parameter in unet.parameters())
