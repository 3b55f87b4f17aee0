"""A condition is one record for a batch, dropped and joined example by example."""

import pytest
import torch

from ebbtide.conditions import NO_LABEL, Condition, concatenate
from ebbtide.errors import EbbtideError

LABELS = torch.tensor([3, 1, 4, 1, 5])


def test_only_the_marked_examples_lose_their_label():
    drop = torch.tensor([True, False, False, True, False])
    assert Condition(label=LABELS).dropped(drop).label.tolist() == [NO_LABEL, 1, 4, NO_LABEL, 5]
    assert LABELS.tolist() == [3, 1, 4, 1, 5]


def test_what_was_not_given_cannot_be_dropped():
    assert Condition().dropped(torch.tensor([True, False])).label is None


@pytest.mark.parametrize("cut", [0, 2, 5])
def test_a_batch_cut_in_two_and_joined_is_the_batch(cut):
    whole = Condition(label=LABELS)
    assert torch.equal(concatenate([whole[:cut], whole[cut:]]).label, LABELS)


def test_examples_are_picked_by_index_and_by_mask():
    whole = Condition(label=LABELS)
    assert whole[torch.tensor([4, 0])].label.tolist() == [5, 3]
    assert whole[LABELS == 1].label.tolist() == [1, 1]
    assert Condition()[:2].label is None


def test_conditions_that_were_never_given_join_to_none():
    assert concatenate([Condition(), Condition()]).label is None


def test_labels_given_for_half_of_a_batch_are_refused():
    with pytest.raises(EbbtideError, match="label"):
        concatenate([Condition(label=LABELS), Condition()])


def test_moving_a_condition_keeps_it():
    assert torch.equal(Condition(label=LABELS).to("cpu").label, LABELS)
    assert Condition().to("cpu") == Condition()
