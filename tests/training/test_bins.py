"""The loss in bins of t is a running mean with a memory of its own."""

import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ebbtide.training.bins import BINS, LevelBins


def middle(bin_: int) -> float:
    return (bin_ + 0.5) / BINS


@given(st.lists(st.tuples(st.integers(0, BINS - 1), st.floats(0, 100)), min_size=1, max_size=60), st.integers(1, 60))
def test_until_the_memory_is_full_it_is_the_mean_however_the_batches_are_cut(seen, size):
    bins = LevelBins(memory=60)
    values = torch.tensor([value for _, value in seen], dtype=torch.float64)
    times = torch.tensor([middle(bin_) for bin_, _ in seen], dtype=torch.float64)
    for part in range(0, len(seen), size):
        bins.add(values[part : part + size], times[part : part + size])
    record = bins.record()
    for bin_ in range(BINS):
        mine = [value for where, value in seen if where == bin_]
        assert record["count"][bin_] == len(mine)
        assert record["loss"][bin_] == (pytest.approx(sum(mine) / len(mine), abs=1e-9) if mine else None)


@pytest.mark.parametrize(
    ("t", "bin_"), [(1e-6, 0), (0.05, 0), (0.0501, 1), (0.5, 9), (0.951, 19), (1.0, 19), (1 / 1000, 0)]
)
def test_a_bin_holds_its_upper_edge_and_not_its_lower(t, bin_):
    bins = LevelBins()
    bins.add(torch.tensor([2.0]), torch.tensor([t], dtype=torch.float64))
    record = bins.record()
    assert record["loss"] == [2.0 if place == bin_ else None for place in range(BINS)]
    assert record["edges"][bin_] <= t <= record["edges"][bin_ + 1]


@pytest.mark.parametrize("batch", [1, 10])
def test_after_its_memory_in_new_losses_old_ones_count_for_one_part_in_e(batch):
    bins = LevelBins(memory=200)
    for value, count in ((1.0, 2000), (0.0, 200)):
        for _ in range(count // batch):
            bins.add(torch.full((batch,), value), torch.full((batch,), 0.29))
    assert bins.record()["loss"][5] == pytest.approx(math.exp(-1), abs=0.01)


def test_a_batch_larger_than_the_memory_is_all_that_is_remembered():
    bins = LevelBins(memory=10)
    bins.add(torch.full((5,), 100.0), torch.full((5,), 0.29))
    bins.add(torch.full((50,), 3.0), torch.full((50,), 0.29))
    assert bins.record()["loss"][5] == pytest.approx(3.0)


def test_a_checkpoint_in_between_changes_nothing():
    generator = torch.Generator().manual_seed(0)
    one, other = LevelBins(memory=20), LevelBins(memory=20)
    for _ in range(10):
        values, times = torch.rand(9, generator=generator), torch.rand(9, generator=generator)
        one.add(values, times)
        other.add(values, times)
        state = json.loads(json.dumps(other.state()))
        other = LevelBins(memory=20)
        other.restore(state)
    assert one.record() == other.record()
