"""Precision and recall of sets made by hand, against loops, and their errors against repeated draws."""

import math

import numpy as np
import pytest

from draws import honesty
from ebbtide.errors import EbbtideError
from ebbtide.evaluation.metrics import precision_recall


def on_a_line(*places):
    return np.array(places, dtype=float)[:, None]


def slow(points, centres, neighbours):
    """The share of points in any ball around a centre, pair by pair."""
    radii = []
    for i, centre in enumerate(centres):
        radii.append(sorted(math.dist(centre, other) for j, other in enumerate(centres) if j != i)[neighbours - 1])
    inside = [any(math.dist(point, c) < r for c, r in zip(centres, radii, strict=True)) for point in points]
    return sum(inside) / len(points)


def test_sets_made_by_hand():
    """One neighbour. Radii: 1 around 0, 1 and 2, 8 around 10; 0.25 around 0.5 and 0.75, 12.5 around 17.5 and 30."""
    real, made = on_a_line(0, 1, 2, 10), on_a_line(0.5, 0.75, 17.5, 30)
    found = precision_recall(real, made, neighbours=1)
    assert type(found.precision.value) is type(found.precision.error) is float
    assert found.precision.value == 3 / 4  # all but 30
    assert found.recall.value == 1 / 4  # 10, that lies 7.5 from 17.5; 1 lies on a rim


def test_the_rim_of_a_ball_is_outside():
    """Whole numbers, whose distances are exact: balls of radius 1."""
    real, made = on_a_line(0, 1, 2), on_a_line(3, 4, 5)
    assert precision_recall(real, made, neighbours=1).precision.value == 0
    assert precision_recall(real, made + 0.5, neighbours=1).precision.value == 0
    assert precision_recall(real, made - 0.5, neighbours=1).precision.value == 1 / 3


def test_a_twin_counts_as_a_neighbour():
    """Each row has a twin, so the first neighbour is at distance 0, and the ball is empty."""
    real = np.repeat(on_a_line(0, 1, 2), 2, axis=0)
    made = on_a_line(0, 1, 1.5)
    assert precision_recall(real, made, neighbours=1).precision.value == 0
    assert precision_recall(real, made, neighbours=2).precision.value == 1


@pytest.mark.parametrize("neighbours", [1, 3])
@pytest.mark.parametrize("block", [4, 256])
@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_it_is_its_definition_in_blocks_of_any_size(monkeypatch, neighbours, block, shift):
    monkeypatch.setattr("ebbtide.evaluation.metrics.rows.BLOCK", block)
    random = np.random.default_rng(0)
    real, made = random.normal(size=(23, 3)), shift + 0.8 * random.normal(size=(17, 3))
    found = precision_recall(real, made, neighbours)
    assert found.precision.value == pytest.approx(slow(made, real, neighbours), rel=1e-12)
    assert found.recall.value == pytest.approx(slow(real, made, neighbours), rel=1e-12)
    back = precision_recall(made, real, neighbours)
    assert (back.precision, back.recall) == (found.recall, found.precision)


def test_what_is_the_same_what_is_far_and_what_has_collapsed():
    random = np.random.default_rng(1)
    real = random.normal(size=(50, 4))
    same, far = precision_recall(real, real.copy()), precision_recall(real, real + 100)
    assert (same.precision.value, same.recall.value) == (1, 1)
    assert (far.precision.value, far.recall.value) == (0, 0)
    assert far.precision.error == far.recall.error == 0
    collapsed = precision_recall(real, real[:1] + 1e-3 * random.normal(size=(50, 4)))
    assert collapsed.precision.value == 1
    assert collapsed.recall.value <= 1 / 50


SETTINGS = [
    (200, 200, 2, 0.0, 1.0, 3),
    (200, 200, 2, 1.0, 1.0, 3),
    (200, 200, 8, 0.5, 1.0, 3),
    (200, 200, 8, 0.0, 1.3, 3),
    (150, 150, 32, 0.0, 1.0, 3),
    (300, 100, 4, 0.7, 1.0, 3),
    (200, 200, 4, 0.0, 1.0, 1),
]


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_the_error_is_the_spread_over_repeated_draws(setting):
    m, n, width, shift, scale, neighbours = setting

    def both(random):
        made = scale * random.normal(size=(n, width)) + shift
        return precision_recall(random.normal(size=(m, width)), made, neighbours)

    assert 0.7 < honesty(lambda random: both(random).precision, count=100) < 1.6
    assert 0.7 < honesty(lambda random: both(random).recall, count=100, seed=1) < 1.6


def test_what_does_not_fit_is_refused():
    fine = np.random.default_rng(0).normal(size=(6, 2))
    with pytest.raises(EbbtideError, match="real features: 3 rows came, expected at least 4"):
        precision_recall(fine[:3], fine)
    with pytest.raises(EbbtideError, match="made features: 5 rows came, expected at least 6"):
        precision_recall(fine, fine[:5], neighbours=5)
    with pytest.raises(EbbtideError, match="made features of 1 numbers came, expected 2 as in the other set"):
        precision_recall(fine, fine[:, :1])
    with pytest.raises(EbbtideError, match=r"real features of shape \(6, 2, 1\) came"):
        precision_recall(fine[..., None], fine)
    with pytest.raises(EbbtideError, match="0 neighbours came, expected at least 1"):
        precision_recall(fine, fine, neighbours=0)
    with pytest.raises(EbbtideError, match=r"made features: numbers that are not finite came \(row 0\)"):
        precision_recall(fine, fine * np.inf)
