"""A seed names a sample, whatever else is in its batch."""

import pytest
import torch
from scipy.stats import kstest

from ebbtide.errors import EbbtideError
from ebbtide.randomness import SampleGenerators, generator_of, normal, seed_of, uniform
from parts import SIGMAS, seeded


@pytest.mark.parametrize("draw", [normal, uniform])
@pytest.mark.parametrize("indices", [[4], [4, 0], [9, 8, 4, 2], [4, 4]])
def test_sample_4_is_the_same_in_any_batch_and_any_order(draw, indices):
    alone = draw((1, 2, 3), SampleGenerators.of(7, [4]))[0]
    batch = draw((len(indices), 2, 3), SampleGenerators.of(7, indices))
    assert torch.equal(batch[indices.index(4)], alone)


@pytest.mark.parametrize("draw", [normal, uniform])
def test_later_draws_are_the_samples_own_too(draw):
    def third(indices):
        generators = SampleGenerators.of(7, indices)
        return [draw((len(indices), 5), generators) for _ in range(3)][2]

    assert torch.equal(third([3, 5, 1])[1], third([5])[0])
    assert not torch.equal(third([5]), draw((1, 5), SampleGenerators.of(7, [5])))


def test_neighbouring_seeds_and_indices_give_unrelated_samples():
    draws = torch.cat([normal((3, 4000), SampleGenerators.of(seed, [0, 1, 2])) for seed in (0, 1, 2)])
    correlations = draws.corrcoef() - torch.eye(9)
    assert correlations.abs().max() < SIGMAS / 4000**0.5


def test_noise_is_standard_normal_and_uniform_numbers_are_uniform():
    for generator in (SampleGenerators.of(0, range(100)), seeded(0)):
        assert kstest(normal((100, 50), generator).flatten().numpy(), "norm").pvalue > 1e-6
        assert kstest(uniform((100, 50), generator).flatten().numpy(), "uniform").pvalue > 1e-6


def test_seeds_depend_on_every_part_and_on_their_order():
    paths = [(1, "a", 2), (2, "a", 1), (1, "b", 2), (1, "a"), (12,), (1, 2), ("1a2",), (-1,), (0,), ()]
    seeds = [seed_of(*path) for path in paths]
    assert len(set(seeds)) == len(paths)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_path_of_names_always_gives_the_same_generator():
    assert torch.equal(normal((3, 2), generator_of(7, "train", 1)), normal((3, 2), generator_of(7, "train", 1)))
    assert not torch.equal(normal((3, 2), generator_of(7, "train", 1)), normal((3, 2), generator_of(7, "train", 2)))


def test_global_seeds_are_neither_used_nor_changed():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = normal((2, 3), SampleGenerators.of(0, [0, 1]))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(normal((2, 3), SampleGenerators.of(0, [0, 1])), first)


def test_a_batch_needs_a_generator_for_each_sample():
    with pytest.raises(EbbtideError, match="generators"):
        normal((3, 2), SampleGenerators.of(0, [0, 1]))


@pytest.mark.parametrize("generator", [SampleGenerators.of(0, [0]), seeded(0)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_noise_comes_in_the_type_that_was_asked_for(generator, dtype):
    assert normal((1, 2), generator, dtype=dtype).dtype == dtype
