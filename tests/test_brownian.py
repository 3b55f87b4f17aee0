"""Brownian paths: one path for one (seed, sample), whatever the steps; and the law is Brownian motion's."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest

from ebbtide.brownian import BrownianPath, noise_between
from ebbtide.errors import EbbtideError
from ebbtide.randomness import SampleGenerators, normal
from parts import SIGMAS, seeded

COUNT, SIZE = 200, 50
LIKE = torch.zeros(COUNT, SIZE, dtype=torch.float64)
PATH = BrownianPath.of(3, range(COUNT))
KNOWN = 5 / (COUNT * SIZE) ** 0.5
"""Five standard errors of a correlation, or of a mean over its standard deviation."""

SPANS = [
    (0.0, 1.0),
    (0.3, 0.7),
    (1.0, 1.0 + 1e-9),
    (3.0, 3.125),
    (1e-20, 1e-3),
    (5.0, 4e6),
    (0.0, 1e-30),
    (1 / 3, 2 / 3),
]


@pytest.mark.parametrize(("start", "end"), SPANS)
def test_an_increment_is_normal_with_the_variance_of_its_length(start, end):
    z = PATH.increment(start, end, LIKE) / math.sqrt(end - start)
    assert kstest(z.flatten().numpy(), "norm").pvalue > 1e-6
    assert abs(float(z.mean())) < KNOWN
    assert abs(float(z.square().mean()) - 1) < 2**0.5 * KNOWN


NEIGHBOURS = [
    (0.0, 0.3, 1.0),
    (0.2, 0.21, 0.22),
    (0.9, 1.1, 1.9),
    (1.0, 2.0, 4.0),
    (1e-5, 7.0, 7.5),
    (1 / 3, 0.5, 100.0),
]


@pytest.mark.parametrize(("a", "b", "c"), NEIGHBOURS)
def test_increments_that_do_not_overlap_are_independent(a, b, c):
    first, second = PATH.increment(a, b, LIKE) / (b - a) ** 0.5, PATH.increment(b, c, LIKE) / (c - b) ** 0.5
    assert abs(float((first * second).mean())) < KNOWN
    assert abs(float((first.square() * second.square()).mean()) - 1) < 3 * KNOWN


def test_increments_over_a_whole_grid_are_as_many_independent_numbers():
    edges = torch.tensor([0.0, 0.1, 0.11, 0.5, 0.75, 1.0, 1.3, 2.9, 3.0, 64.0, 65.5], dtype=torch.float64).tolist()
    spans = list(zip(edges[:-1], edges[1:], strict=True))
    rows = torch.stack([PATH.increment(a, b, LIKE).flatten() / (b - a) ** 0.5 for a, b in spans])
    assert ((rows @ rows.mT) / rows.shape[1] - torch.eye(len(spans))).abs().max() < 1.6 * KNOWN


@given(st.lists(st.floats(0, 1e6), min_size=3, max_size=3), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_increments_add_up(times, index):
    a, b, c = times
    path, like = BrownianPath.of(1, [index]), torch.zeros(1, 3, dtype=torch.float64)
    whole, parts = path.increment(a, c, like), path.increment(a, b, like) + path.increment(b, c, like)
    assert torch.allclose(whole, parts, rtol=0, atol=1e-13 * (1 + max(times) ** 0.5))


@pytest.mark.parametrize("steps", [2, 3, 8, 10, 64])
def test_a_finer_grid_refines_the_same_path(steps):
    edges, few = torch.linspace(0.2, 5.0, steps + 1, dtype=torch.float64).tolist(), LIKE[:, :2]
    total = sum(PATH.increment(a, b, few) for a, b in zip(edges[:-1], edges[1:], strict=True))
    assert torch.allclose(total, PATH.increment(0.2, 5.0, few), rtol=0, atol=1e-12)


def test_time_turned_around_turns_the_sign():
    assert torch.allclose(PATH.increment(0.3, 0.8, LIKE), -PATH.increment(0.8, 0.3, LIKE), rtol=0, atol=1e-12)
    assert torch.equal(PATH.increment(0.4, 0.4, LIKE), LIKE)


def test_a_path_has_finer_detail_than_any_line_between_its_points():
    """Between two times W is a bridge: its middle lies N(0, length/4) beside the mean of its ends."""
    beside = PATH.increment(0.3, 0.4, LIKE) - 0.5 * PATH.increment(0.3, 0.5, LIKE)
    assert kstest((beside / 0.05**0.5).flatten().numpy(), "norm").pvalue > 1e-6


@pytest.mark.parametrize("indices", [[4], [4, 0], [9, 8, 4, 2], [4, 4]])
def test_sample_4_has_the_same_path_in_any_batch(indices):
    alone = BrownianPath.of(7, [4]).increment(0.1, 0.9, torch.zeros(1, 2, 3))
    batch = BrownianPath.of(7, indices).increment(0.1, 0.9, torch.zeros(len(indices), 2, 3))
    assert torch.equal(batch[indices.index(4)], alone[0])


def test_a_path_does_not_change_by_being_asked():
    path = BrownianPath.of(7, [0, 1])
    first = path.increment(0.1, 0.9, torch.zeros(2, 3))
    path.increment(0.3, 0.4, torch.zeros(2, 3))
    normal((2, 3), path)
    assert torch.equal(path.increment(0.1, 0.9, torch.zeros(2, 3)), first)


def test_other_seeds_samples_and_coordinates_have_unrelated_paths():
    like = torch.zeros(2, 4000, dtype=torch.float64)
    rows = torch.cat([BrownianPath.of(seed, [0, 1]).increment(0.0, 1.0, like) for seed in (0, 1)])
    assert (rows.corrcoef() - torch.eye(4)).abs().max() < SIGMAS / 4000**0.5
    assert rows.unique().numel() == rows.numel()


def test_it_is_one_generator_for_each_sample_too():
    assert torch.equal(normal((2, 3), BrownianPath.of(7, [3, 1])), normal((2, 3), SampleGenerators.of(7, [3, 1])))


def test_noise_for_a_stretch_is_the_paths_own_or_fresh():
    like = LIKE.float()
    own = noise_between(like, PATH, 2.0, 6.0)
    assert own.dtype == torch.float32
    assert torch.allclose(own.double(), PATH.increment(2.0, 6.0, LIKE) / 2, atol=1e-6)
    assert torch.equal(noise_between(like, seeded(3), 2.0, 6.0), normal(like.shape, seeded(3)))


@pytest.mark.parametrize("t", [-1e-9, 2.0**64, math.inf, math.nan])
def test_times_outside_of_a_path_are_refused(t):
    with pytest.raises(EbbtideError, match="time"):
        PATH.increment(0.5, t, LIKE)


def test_a_batch_of_another_size_is_refused():
    with pytest.raises(EbbtideError, match="batch of 3"):
        PATH.increment(0.0, 1.0, torch.zeros(3, 2))
    with pytest.raises(EbbtideError, match=r"BrownianPath\.of"):
        BrownianPath(SampleGenerators.of(0, [0, 1]).generators)
