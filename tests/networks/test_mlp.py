"""The multilayer perceptron: zero at first, one example at a time, told time and label."""

import pytest
import torch

from ebbtide.conditions import Condition
from ebbtide.errors import EbbtideError
from ebbtide.networks import Mlp
from parts import noise, perturbed

X, T = noise(4, 3, dtype=torch.float32), torch.tensor([0.001, 0.3, 0.7, 1.0])
LABELS = torch.tensor([0, 2, -1, 1])


def small(**changes):
    torch.manual_seed(0)
    return Mlp(3, **{"width": 16, "depth": 2, **changes})


@pytest.mark.parametrize("size", [1, 2, 50])
@pytest.mark.parametrize("width", [2, 3, 17])
def test_vectors_of_any_length_come_back_in_theirs(size, width):
    network = perturbed(Mlp(size, width=width, depth=1))
    assert network(noise(5, size, dtype=torch.float32), torch.ones(5), Condition()).shape == (5, size)


def test_at_first_the_answer_is_zero():
    assert (small(classes=3)(X, T, Condition(label=LABELS)) == 0).all()


def test_examples_of_a_batch_do_not_meet():
    network = perturbed(small(classes=3))
    together = network(X, T, Condition(label=LABELS))
    alone = [network(X[i : i + 1], T[i : i + 1], Condition(label=LABELS[i : i + 1])) for i in range(4)]
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)


def test_no_label_is_the_label_that_is_withheld_and_labels_and_times_differ():
    network = perturbed(small(classes=3))
    same, half = X[:1].expand(4, 3), torch.full((4,), 0.5)
    by_label = network(same, half, Condition(label=torch.tensor([-1, 0, 1, 2])))
    assert torch.allclose(network(same, half, Condition()), by_label[:1].expand(4, 3), atol=1e-6)
    assert torch.pdist(by_label).min() > 1e-3
    assert torch.pdist(network(same, T, Condition())).min() > 1e-3


def test_dropout_acts_in_training_only():
    network, plain = perturbed(small(dropout=0.5)), perturbed(small())
    assert torch.equal(network(X, T, Condition()), plain(X, T, Condition()))
    assert torch.equal(plain.train()(X, T, Condition()), plain.eval()(X, T, Condition()))
    network.train()
    assert not torch.allclose(network(X, T, Condition()), network(X, T, Condition()), atol=1e-4)


def test_every_weight_takes_part():
    network = perturbed(small(classes=3))
    network(X, T, Condition(label=LABELS)).square().mean().backward()
    assert [name for name, weight in network.named_parameters() if not weight.grad.any()] == []


def test_several_outputs_follow_one_another():
    """The last layer alone is larger; with the first half of it, the network is the one with a single output."""
    several, single = perturbed(small(outputs=2)), small().eval()
    assert (small(outputs=2)(X, T, Condition()) == 0).all()
    out = several(X, T, Condition())
    assert out.shape == (4, 6)
    for half in range(2):
        weights = dict(several.state_dict())
        for name in ("last.weight", "last.bias"):
            weights[name] = weights[name][3 * half : 3 * half + 3]
        single.load_state_dict(weights)
        assert torch.allclose(out[:, 3 * half : 3 * half + 3], single(X, T, Condition()), atol=1e-6)


@pytest.mark.parametrize("wrong", [{"width": 1}, {"depth": 0}, {"dropout": 1.0}, {"classes": -1}, {"outputs": 0}])
def test_networks_that_cannot_be_are_refused(wrong):
    with pytest.raises(EbbtideError, match="came"):
        small(**wrong)
