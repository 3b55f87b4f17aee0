"""Cross-entropy by hand, in plain loops: of the data's labels, and of which way up a picture is."""

import math

import numpy as np
import pytest
import torch

from ebbtide.conditions import NO_LABEL, Condition
from ebbtide.errors import EbbtideError
from ebbtide.objectives.classes import TURNS, LabelObjective, TurnObjective, turned
from parts import SIGMAS, noise, seeded

COUNT, CLASSES = 7, 4


class Fixed(torch.nn.Module):
    """Gives these logits and remembers what it was shown."""

    def __init__(self, logits):
        super().__init__()
        self.logits = torch.nn.Parameter(logits.clone())

    def forward(self, x):
        self.seen = x
        return self.logits


def network(count=COUNT, classes=CLASSES):
    return Fixed(3 * noise(count, classes, seed=1))


def surprise(logits, label):
    """-log of the softmax, in plain numbers."""
    return -math.log(math.exp(logits[label]) / sum(math.exp(value) for value in logits))


def pictures(count=COUNT, size=5):
    return noise(count, 2, size, size, dtype=torch.float32)


def test_the_loss_of_labels_is_their_cross_entropy():
    labels, told = torch.tensor([0, 3, 1, 1, 2, 0, 3]), network()
    losses = LabelObjective()(told, pictures(), Condition(label=labels), seeded(0))
    rows = told.logits.detach().tolist()
    expected = [surprise(row, label) for row, label in zip(rows, labels.tolist(), strict=True)]
    assert losses.values.tolist() == pytest.approx(expected, rel=1e-5)
    assert torch.equal(told.seen, pictures())
    assert losses.times.shape == (COUNT,)
    assert losses.values.dtype == torch.float32


def test_examples_without_a_label_weigh_nothing():
    labels, told = torch.tensor([0, NO_LABEL, 1, NO_LABEL, 2, 0, 3]), network()
    losses = LabelObjective()(told, pictures(), Condition(label=labels), seeded(0)).values
    losses.sum().backward()
    unlabelled = labels == NO_LABEL
    assert (losses[unlabelled] == 0).all()
    assert (told.logits.grad[unlabelled] == 0).all()
    assert (losses[~unlabelled] > 0).all()
    assert (told.logits.grad[~unlabelled] != 0).any(1).all()


def test_data_without_labels_are_refused_by_the_loss_of_labels():
    with pytest.raises(EbbtideError, match="without labels"):
        LabelObjective()(network(), pictures(), Condition(), seeded(0))


@pytest.mark.parametrize("seed", range(3))
def test_the_loss_of_turns_is_the_cross_entropy_of_the_turn_that_was_shown(seed):
    told, x0 = network(), pictures()
    losses = TurnObjective()(told, x0, Condition(), seeded(seed))
    expected = []
    for row, original, shown in zip(told.logits.detach().tolist(), x0, told.seen, strict=True):
        (turn,) = [k for k in range(TURNS) if np.array_equal(np.rot90(original.numpy(), k, (1, 2)), shown.numpy())]
        expected.append(surprise(row, turn))
    assert losses.values.tolist() == pytest.approx(expected, rel=1e-5)
    assert losses.times.shape == (COUNT,)


def test_turns_are_drawn_from_the_generator_and_all_alike():
    count = 4000
    x0 = torch.arange(4.0).reshape(1, 1, 2, 2).expand(count, 1, 2, 2)
    corners = []
    for seed in (0, 0, 1):
        told = network(count)
        TurnObjective()(told, x0, Condition(), seeded(seed))
        corners.append(told.seen[:, 0, 0, 0])
    assert torch.equal(corners[0], corners[1])
    assert not torch.equal(corners[0], corners[2])
    shares = torch.bincount(corners[0].long(), minlength=4) / count
    assert (shares - 1 / 4).abs().max() < SIGMAS * math.sqrt(1 / 4 * 3 / 4 / count)


def test_each_picture_is_turned_by_its_own_number_of_quarters():
    x, turn = pictures(9), torch.tensor([0, 1, 2, 3, 3, 2, 1, 0, 2])
    before = x.clone()
    for original, found, quarters in zip(x, turned(x, turn), turn.tolist(), strict=True):
        assert np.array_equal(found.numpy(), np.rot90(original.numpy(), quarters, (1, 2)))
    assert torch.equal(x, before)


def test_turns_add_up_and_four_quarters_are_none():
    x = pictures(40)
    one, other = (torch.randint(TURNS, (40,), generator=seeded(seed)) for seed in (1, 2))
    assert torch.equal(turned(turned(x, one), other), turned(x, (one + other) % TURNS))
    assert torch.equal(turned(turned(x, one), (TURNS - one) % TURNS), x)
    quarter, found = torch.ones(40, dtype=torch.int64), x
    for _ in range(TURNS):
        found = turned(found, quarter)
    assert torch.equal(found, x)
