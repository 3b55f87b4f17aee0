"""Every epoch holds every example once, and batch k depends on nothing but the seed and k."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from ebbtide.training import order
from ebbtide.training.order import batch_indices

SEEDS, EXAMPLES, SIZES = st.integers(0, 2**40), st.integers(1, 40), st.integers(1, 90)


@given(SEEDS, EXAMPLES, SIZES)
def test_each_epoch_holds_every_example_exactly_once(seed, examples, size):
    count = -(-3 * examples // size)
    stream = torch.cat([batch_indices(seed, examples, size, number) for number in range(count)])
    for epoch in stream[: 3 * examples].split(examples):
        assert sorted(epoch.tolist()) == list(range(examples))


@given(SEEDS, EXAMPLES, SIZES, st.integers(0, 1000))
def test_a_batch_can_be_asked_for_alone(seed, examples, size, number):
    for before in range(max(0, number - 3), number):
        batch_indices(seed, examples, size, before)
    in_turn = batch_indices(seed, examples, size, number)
    order._epoch.cache_clear()
    alone = batch_indices(seed, examples, size, number)
    assert torch.equal(in_turn, alone)
    assert len(alone) == size


@given(SEEDS, EXAMPLES, st.integers(1, 20), st.integers(1, 4))
def test_a_large_batch_is_its_parts_one_after_another(seed, examples, size, parts):
    whole = batch_indices(seed, examples, size * parts, 5)
    cut = [batch_indices(seed, examples, size, 5 * parts + part) for part in range(parts)]
    assert torch.equal(whole, torch.cat(cut))


def test_seeds_and_epochs_have_orders_of_their_own():
    orders = {tuple(batch_indices(seed, 50, 50, epoch).tolist()) for seed in range(4) for epoch in range(4)}
    assert len(orders) == 16


def test_any_example_may_come_first():
    firsts = torch.stack([batch_indices(seed, 4, 1, 0)[0] for seed in range(2000)])
    assert (firsts.bincount(minlength=4) - 500).abs().max() < 5 * (2000 * 0.25 * 0.75) ** 0.5
