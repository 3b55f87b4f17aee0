"""Items C5 and C6: walking the chain and drawing a level at once are one law, and it is the one that is claimed."""

import itertools
from math import comb

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, hypergeom

from ebbtide.corruptions import Corruption, Stepwise
from ebbtide.corruptions.naive import CoinFlips, PixelByPixel, occupancy
from ebbtide.errors import EbbtideError
from ebbtide.randomness import SampleGenerators
from parts import SIGMAS, seeded

RANGE = {"low": -1.0, "high": 1.0}
GREY, COLOUR = (1, 3, 4), (3, 2, 3)
CHANCE = 1e-4
"""Of a test of a law to fail though the law holds; all seeds are fixed."""


def flips(shape=GREY, steps=8, share=0.15, **options):
    return CoinFlips(**{**RANGE, "shape": shape, "steps": steps, "share": share, **options})


def one_by_one(shape=GREY, **options):
    return PixelByPixel(**{**RANGE, "shape": shape, **options})


KINDS = {
    "flips": flips(),
    "flips colours": flips(COLOUR),
    "flips channels": flips(COLOUR, by="channel"),
    "flips one": flips(share=1e-9),
    "flips all": flips(share=1.0, steps=2),
    "pixels": one_by_one(),
    "colours": one_by_one(COLOUR),
    "channels": one_by_one(COLOUR, by="channel"),
}


@pytest.fixture(params=KINDS)
def corruption(request):
    return KINDS[request.param]


def between(corruption, count=1):
    """Pictures of a grey that no coin shows, so that every hit is seen."""
    return torch.full((count, *corruption.shape), 0.25)


def at(corruption, level, count):
    return torch.full((count,), level / corruption.steps, dtype=torch.float64)


def seen(z, corruption):
    """Which places differ from the grey, (batch, places); all channels of a pixel are hit together or none."""
    hit = z != 0.25
    if corruption.by == "channel":
        return hit.flatten(1)
    assert torch.equal(hit, hit[:, :1].expand_as(hit))
    return hit[:, 0].flatten(1)


def walked(corruption, level, count, seed=0):
    return next(itertools.islice(corruption.chain(between(corruption, count), seeded(seed)), level - 1, level))


def drawn(corruption, level, count, seed=0):
    return corruption.corrupt(between(corruption, count), at(corruption, level, count), seeded(seed)).xt


def two_of_a_path(corruption, level, count, seed=0):
    return corruption.successive(between(corruption, count), at(corruption, level, count), seeded(seed))


def earlier(corruption, level, count, seed=0):
    return two_of_a_path(corruption, level + 1, count, seed)[0]


def later(corruption, level, count, seed=0):
    return two_of_a_path(corruption, level, count, seed)[1]


WAYS = [walked, drawn, earlier, later]


def transition(places, hits):
    """P(M' = column | M = row), by scipy."""
    before, after = np.ogrid[: places + 1, : places + 1]
    return hypergeom.pmf(after - before, places, places - before, hits)


def exact(corruption, level):
    """The law of the number of places hit."""
    if isinstance(corruption, PixelByPixel):
        return np.eye(corruption.places + 1)[level]
    return np.linalg.matrix_power(transition(corruption.places, corruption.hits), level)[0]


def fits(observed, probabilities):
    """Pearson's test; outcomes expected fewer than five times are taken together."""
    observed = np.asarray(observed, float)
    expected = observed.sum() * np.asarray(probabilities)
    assert not observed[expected == 0].any()
    rare = expected < 5
    observed = np.append(observed[~rare], observed[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    sure = expected > 0
    assert observed[~sure].sum() == 0
    assert sure.sum() == 1 or chisquare(observed[sure], expected[sure], sum_check=False).pvalue > CHANCE


def test_they_are_corruptions_of_so_many_steps_and_places():
    assert all(isinstance(kind, Corruption) and isinstance(kind, Stepwise) for kind in KINDS.values())
    assert [kind.places for kind in KINDS.values()] == [12, 6, 18, 12, 12, 12, 6, 18]
    assert [kind.hits for kind in KINDS.values() if isinstance(kind, CoinFlips)] == [2, 1, 3, 1, 12]
    assert [kind.steps for kind in KINDS.values()] == [8, 8, 8, 8, 2, 12, 6, 18]
    assert flips((1, 28, 28), share=0.01).hits == 8


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("level", [1, 4])
def test_the_number_of_places_hit_has_its_exact_law_whichever_way_it_is_drawn(corruption, way, level):
    if level < corruption.steps:
        counts = seen(way(corruption, level, 4000, seed=level), corruption).sum(1)
        fits(torch.bincount(counts, minlength=corruption.places + 1), exact(corruption, level))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["flips colours", "colours"])
def test_every_set_of_as_many_places_is_equally_likely(way, name):
    corruption, level = KINDS[name], 3
    hit = seen(way(corruption, level, 20_000), corruption)
    sets = torch.bincount((hit.long() << torch.arange(6)).sum(1), minlength=64)
    law = exact(corruption, level)
    fits(sets, [law[number.bit_count()] / comb(6, number.bit_count()) for number in range(64)])


@pytest.mark.parametrize(("places", "hits", "steps"), [(784, 8, 500), (3072, 31, 400), (3072, 1, 100), (100, 60, 20)])
def test_the_law_of_many_places_has_its_exact_moments(places, hits, steps):
    """One place is left alone in a step with probability (N-h)/N, two of them with (N-h)(N-h-1) / N(N-1)."""
    one, two = (places - hits) / places, (places - hits) * (places - hits - 1) / (places * (places - 1))
    for level, (lowest, pmf) in enumerate(occupancy(places, hits, steps)):
        left = places - torch.arange(lowest, lowest + len(pmf), dtype=torch.float64)
        assert pmf.sum().item() == pytest.approx(1, rel=1e-12)
        assert (pmf * left).sum().item() == pytest.approx(places * one**level, rel=1e-9, abs=1e-12)
        both = places * (places - 1) * two**level
        assert (pmf * left * (left - 1)).sum().item() == pytest.approx(both, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("places", "hits"), [(1, 1), (7, 7), (30, 4)])
def test_the_law_of_few_places_is_the_transition_matrix_taken_to_the_level(places, hits):
    power = np.eye(places + 1)[0]
    for lowest, pmf in occupancy(places, hits, 12):
        full = np.zeros(places + 1)
        full[lowest : lowest + len(pmf)] = pmf
        assert np.allclose(full, power, rtol=1e-10, atol=1e-15)
        power = power @ transition(places, hits)


def test_the_share_of_untouched_places_is_the_survival(corruption):
    for level in range(corruption.steps + 1):
        told = corruption.survival(at(corruption, level, 1)).item()
        left = 1 - (exact(corruption, level) @ np.arange(corruption.places + 1)) / corruption.places
        assert told == pytest.approx(left, abs=1e-12)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["flips colours", "colours"])
def test_a_hit_pixel_is_any_of_the_eight_colours(way, name):
    corruption = KINDS[name]
    z = way(corruption, 3, 4000)
    hit = seen(z, corruption)
    assert ((z.abs() == 1) | (z == 0.25)).all()
    bits = ((z == 1).long() << torch.arange(3)[:, None, None]).sum(1).flatten(1)
    fits(torch.bincount(bits[hit], minlength=8), np.full(8, 1 / 8))


def test_coins_of_neighbouring_places_do_not_know_one_another():
    z = drawn(KINDS["flips"], 6, 8000).flatten(1)
    for a, b in itertools.combinations(range(12), 2):
        both = (z[:, [a, b]] != 0.25).all(1)
        assert (z[both, a] * z[both, b]).mean().abs() < SIGMAS / both.sum() ** 0.5


def test_two_of_a_path_are_one_step_apart(corruption):
    for level in {1, 2, corruption.steps}:
        before, after = two_of_a_path(corruption, level, 500)
        changed = seen(torch.where(before == after, 0.25, 0.5), KINDS["channels"])
        most = 1 if isinstance(corruption, PixelByPixel) else corruption.hits
        most *= 1 if corruption.by == "channel" else corruption.shape[0]
        assert changed.sum(1).max() <= most
        assert (seen(after, corruption) | ~seen(before, corruption)).all()


def test_two_of_a_path_move_as_the_chain_does():
    """The joint law of the numbers of places hit before and after a step."""
    corruption, level = KINDS["flips"], 4
    before, after = two_of_a_path(corruption, level, 20_000)
    number = 13 * seen(before, corruption).sum(1) + seen(after, corruption).sum(1)
    joint = exact(corruption, level - 1)[:, None] * transition(12, 2)
    fits(torch.bincount(number, minlength=169), joint.flatten())


def test_a_step_of_coins_hits_untouched_and_touched_places_alike():
    """A place hit before changes its coin in a step with probability hits / places / 2."""
    corruption = KINDS["flips"]
    before, after = two_of_a_path(corruption, 6, 8000)
    touched = before != 0.25
    changed = (before != after)[touched].float().mean()
    assert (changed - 1 / 12).abs() < SIGMAS * (1 / 12 / touched.sum()) ** 0.5


@pytest.mark.parametrize("name", ["pixels", "colours", "channels"])
def test_one_more_place_is_hit_at_each_step_until_none_is_left(name):
    corruption = KINDS[name]
    path = [between(corruption, 20), *corruption.chain(between(corruption, 20), seeded(0))]
    assert len(path) == corruption.places + 1
    for level, (before, after) in enumerate(itertools.pairwise(path)):
        assert (seen(after, corruption).sum(1) == level + 1).all()
        kept = before != 0.25
        assert torch.equal(before[kept], after[kept])


def test_the_state_of_a_step_is_what_has_been_hit(corruption):
    worn = corruption.worn(between(corruption, 30), at(corruption, 1, 30), seeded(0))
    for state in (worn, corruption.step(worn, seeded(1))):
        assert torch.equal(state.hit, seen(state.z, corruption))


def test_at_0_data_are_data_bit_for_bit(corruption):
    x0 = torch.randn(4, *corruption.shape, generator=seeded(0))
    x0[0, 0, 0, 0], x0[0, 0, 0, 1], x0[1, 0, 0, 0] = -0.0, 1e-42, torch.nan
    times = torch.tensor([0.0, 0.0, 1.0, 0.0])
    xt, noise = corruption.corrupt(x0, times, seeded(0))
    assert noise is None
    same = (xt.view(torch.int32) == x0.view(torch.int32)).flatten(1).all(1)
    assert torch.equal(same, times == 0)


def test_at_1_pixel_by_pixel_forgets_the_data():
    for corruption in (KINDS["pixels"], KINDS["colours"], KINDS["channels"]):
        pictures = between(corruption, 8), -3 * between(corruption, 8)
        one, other = (corruption.corrupt(x0, torch.ones(8), seeded(3)).xt for x0 in pictures)
        assert torch.equal(one, other)
        assert (one.abs() == 1).all()


def test_the_prior_is_a_fair_coin_for_each_number():
    for corruption in (flips(COLOUR, low=0.0, high=3.0), one_by_one(COLOUR, low=0.0, high=3.0)):
        z = corruption.prior((4000, *COLOUR), seeded(0))
        assert z.dtype == torch.float32
        assert z.unique().tolist() == [0, 3]
        coins = z.flatten(1) / 1.5 - 1
        assert coins.mean(0).abs().max() < SIGMAS / 4000**0.5
        assert (coins.mT.corrcoef() - torch.eye(18)).abs().max() < SIGMAS / 4000**0.5


def test_a_sample_is_the_same_in_any_batch(corruption):
    x0 = torch.randn(5, *corruption.shape, generator=seeded(0))
    t = ((torch.arange(5) % corruption.steps) + 1).double() / corruption.steps
    indices = [3, 8, 0, 4, 1]

    def answers(rows):
        given, x = SampleGenerators.of(9, [indices[row] for row in rows]), x0[rows]
        *_, end = corruption.chain(x, given)
        xt = corruption.corrupt(x, t[rows], given).xt
        return [end, xt, *corruption.successive(x, t[rows], given), corruption.prior(x.shape, given)]

    together = answers(list(range(5)))
    for rows in ([2], [4, 0], [1, 1]):
        for one, all_of_them in zip(answers(rows), together, strict=True):
            assert torch.equal(one, all_of_them[rows])


def test_doubles_stay_doubles_and_times_mean_the_nearest_level():
    corruption, t = KINDS["pixels"], torch.tensor([2.4, 1.6, 2.0]) / 12
    xt = corruption.corrupt(between(corruption, 3).double(), t, seeded(0)).xt
    assert xt.dtype == torch.float64
    assert seen(xt, corruption).sum(1).tolist() == [2, 2, 2]


def test_the_law_is_computed_once_for_a_value_and_no_wider_than_it_is_spread():
    corruption = flips((1, 28, 28), steps=300, share=0.01)
    assert corruption._law is corruption._law
    assert corruption == flips((1, 28, 28), steps=300, share=0.01)
    assert corruption._law[1].shape[1] < 300


@pytest.mark.parametrize(
    "wrong",
    [{"low": 1.0}, {"low": 2.0}, {"low": torch.nan}, {"shape": (0, 3, 3)}, {"shape": (1, 3, -3)}, {"by": "pixels"}],
)
@pytest.mark.parametrize("build", [flips, one_by_one])
def test_options_that_cannot_be_are_refused(build, wrong):
    with pytest.raises((EbbtideError, TypeError), match=r"came|by"):
        build(**wrong)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"share": 0.0}, {"share": 1.1}, {"share": torch.nan}])
def test_steps_that_hit_nothing_or_more_than_all_are_refused(wrong):
    with pytest.raises(EbbtideError, match="came"):
        flips(**wrong)


def test_times_and_pictures_of_another_kind_are_refused(corruption):
    x0 = between(corruption, 2)
    for t in (torch.tensor([0.5, 1.1]), torch.tensor([-0.2, 0.5]), torch.tensor([0.5, torch.nan])):
        with pytest.raises(EbbtideError, match="expected times from 0"):
            corruption.corrupt(x0, t, seeded(0))
    with pytest.raises(EbbtideError, match="expected at least 1/"):
        corruption.successive(x0, torch.tensor([1.0, 0.0]), seeded(0))
    other = torch.zeros(2, 1, 5, 5)
    with pytest.raises(EbbtideError, match="build it for theirs"):
        corruption.corrupt(other, torch.ones(2), seeded(0))
    with pytest.raises(EbbtideError, match="build it for theirs"):
        next(corruption.chain(other, seeded(0)))
    with pytest.raises(EbbtideError, match="build it for theirs"):
        corruption.prior(other.shape, seeded(0))


def test_there_is_no_step_beyond_the_last_place():
    corruption = KINDS["pixels"]
    with pytest.raises(EbbtideError, match="no place left"):
        corruption.step(corruption.worn(between(corruption, 2), torch.tensor([0.5, 1.0]), seeded(0)), seeded(0))


def test_any_number_of_steps_costs_no_more_than_those_that_find_something_to_hit():
    endless = CoinFlips(low=0.0, high=1.0, shape=(1, 4, 4), steps=10**9, share=0.2)
    x0 = torch.full((200, 1, 4, 4), 0.5)
    early = CoinFlips(low=0.0, high=1.0, shape=(1, 4, 4), steps=100, share=0.2)

    def hit(chain, level):
        return chain.worn(x0, torch.full((200,), level / chain.steps, dtype=torch.float64), seeded(0)).hit

    assert torch.equal(hit(endless, 7), hit(early, 7))
    assert hit(endless, 10**9).all()
    assert len(endless._law[0]) < 1000


def test_more_laws_than_can_be_worked_out_are_refused():
    for options in ({"steps": 10**9, "share": 1e-9}, {"steps": 2**60, "share": 0.5}):
        with pytest.raises(EbbtideError, match="steps="):
            CoinFlips(low=0.0, high=1.0, shape=(1, 64, 64), **options)
    CoinFlips(low=0.0, high=1.0, shape=(1, 64, 64), steps=10**9, share=0.05)
