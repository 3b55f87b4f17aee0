"""The inception score against its definition, at its ends, and against repeated draws."""

import numpy as np
import pytest

from draws import honesty
from ebbtide.errors import EbbtideError
from ebbtide.evaluation.metrics import ClassShares, Measured


def probabilities(count, classes, sharpness=1.5, seed=0):
    random = seed if isinstance(seed, np.random.Generator) else np.random.default_rng(seed)
    p = np.exp(sharpness * random.normal(size=(count, classes)))
    return p / p.sum(1, keepdims=True)


def scored(p, chunk=10**6) -> Measured:
    shares = ClassShares(p.shape[1])
    for start in range(0, len(p), chunk):
        shares.add(p[start : start + chunk])
    return shares.score()


def slow(p):
    """Score and error, row by row."""
    marginal = p.mean(0)
    each = np.array([sum(a * np.log(a / b) for a, b in zip(row, marginal, strict=True) if a > 0) for row in p])
    return np.exp(each.mean()), np.exp(each.mean()) * each.std(ddof=1) / len(p) ** 0.5


@pytest.mark.parametrize("chunk", [1, 7, 1000])
@pytest.mark.parametrize("zeros", [False, True])
def test_it_is_its_definition_in_chunks_of_any_size(chunk, zeros):
    p = probabilities(40, 5)
    if zeros:
        p[:10, 0], p[:, 3] = 0.0, 0.0
        p /= p.sum(1, keepdims=True)
    found = scored(p, chunk)
    assert (found.value, found.error) == pytest.approx(slow(p), rel=1e-10)


def test_it_lies_between_one_and_the_number_of_classes():
    sure = scored(np.eye(7)[np.arange(70) % 7])
    assert sure.value == pytest.approx(7, rel=1e-12)
    assert sure.error == pytest.approx(0, abs=1e-6)
    unsure = scored(np.tile(probabilities(1, 7), (30, 1)))
    assert unsure.value == pytest.approx(1, rel=1e-12)
    assert unsure.error == pytest.approx(0, abs=1e-6)
    assert scored(np.eye(7)[np.zeros(30, dtype=int)]).value == 1


@pytest.mark.parametrize("sharpness", [0.5, 2.0])
def test_the_error_is_the_spread_over_repeated_draws(sharpness):
    assert 0.85 < honesty(lambda random: scored(probabilities(200, 5, sharpness, random)), count=200) < 1.15


def test_half_precision_is_welcome():
    p = probabilities(50, 10)
    assert scored(p.astype(np.float16)).value == pytest.approx(scored(p).value, rel=1e-2)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.full((4, 3), 0.5), "rows with sums up to 0.5 from 1 and a least entry of 0 came, expected probabilities"),
        (np.array([[1.5, -0.5, 0.0]]), "a least entry of -0.5 came, expected probabilities: apply a softmax"),
        (np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]), "sums up to 1 from 1"),
        (np.full((4, 2), 0.5), "probabilities of 2 numbers came, expected 3"),
        (np.array([1.0, 0.0, 0.0]), r"probabilities of shape \(3,\) came"),
        (np.array([[np.nan, 0.5, 0.5]]), "probabilities: numbers that are not finite came"),
    ],
)
def test_what_are_no_probabilities_is_refused_and_not_counted(wrong, message):
    shares = ClassShares(3)
    with pytest.raises(EbbtideError, match=message):
        shares.add(wrong)
    with pytest.raises(EbbtideError, match="0 rows were asked for, expected at least 2"):
        shares.score()


def test_a_score_needs_two_rows_and_two_classes():
    shares = ClassShares(3)
    shares.add(np.full((1, 3), 1 / 3))
    with pytest.raises(EbbtideError, match="1 rows were asked for, expected at least 2"):
        shares.score()
    with pytest.raises(EbbtideError, match="1 classes came, expected at least 2"):
        ClassShares(1)
