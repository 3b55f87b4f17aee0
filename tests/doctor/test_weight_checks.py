"""How far weights and their average have come, and what is wrong with them."""

import pytest
import torch

from ebbtide.doctor.weights import BLOWN_UP, check_weights, standing
from parts import seeded

NEVER = "a moving average that was never updated"


def weights(seed):
    generator = seeded(seed)
    return {
        "in.weight": torch.randn(4, 3, generator=generator),
        "out.bias": torch.randn(5, generator=generator),
        "steps": torch.tensor(seed),
    }


def between(first, last, share):
    """Of whole numbers, as counters are, there is nothing between: those of the first."""
    return {
        name: value + share * (last[name] - value) if value.is_floating_point() else value
        for name, value in first.items()
    }


FIRST, LAST = weights(1), weights(2)


def found(first, network, average):
    return {finding.check: finding for finding in check_weights(first, network, average)}


@pytest.mark.parametrize("share", [0.0, 0.5, 0.8, 1.0, 1.2, -0.3])
def test_the_share_is_how_far_the_average_came(share):
    assert standing(FIRST, LAST, between(FIRST, LAST, share)).share == pytest.approx(share, abs=1e-5)


def test_what_the_average_moved_aside_does_not_count():
    average = between(FIRST, LAST, 0.4)
    way = torch.cat([(LAST[name] - FIRST[name]).flatten() for name in ("in.weight", "out.bias")])
    aside = torch.randn(17, generator=seeded(3))
    aside -= (aside @ way) / (way @ way) * way
    average["in.weight"] = average["in.weight"] + aside[:12].reshape(4, 3)
    average["out.bias"] = average["out.bias"] + aside[12:]
    assert standing(FIRST, LAST, average).share == pytest.approx(0.4, abs=1e-5)


def test_growth_is_that_of_all_weights_together():
    size = sum(float(FIRST[name].square().sum()) for name in ("in.weight", "out.bias")) ** 0.5
    grown = {name: 3 * value if value.is_floating_point() else value for name, value in FIRST.items()}
    assert standing(FIRST, grown, FIRST).grown == pytest.approx(3)
    one = FIRST | {"out.bias": FIRST["out.bias"] + 2 * size}
    expected = (float(one["out.bias"].square().sum() + FIRST["in.weight"].square().sum()) ** 0.5) / size
    assert standing(FIRST, one, FIRST).grown == pytest.approx(expected)


def test_a_network_that_has_not_moved_has_an_average_that_is_where_it_should_be():
    assert standing(FIRST, FIRST, FIRST).share == 1.0
    assert {finding.verdict for finding in check_weights(FIRST, FIRST, FIRST)} == {"fine"}


@pytest.mark.parametrize("share", [0.01, 0.5, 1.0])
def test_weights_of_a_run_that_went_well_are_fine(share):
    assert {finding.verdict for finding in found(FIRST, LAST, between(FIRST, LAST, share)).values()} == {"fine"}


def test_an_average_that_never_moved_is_named():
    checks = found(FIRST, LAST, FIRST)
    assert (checks["weights: average"].verdict, checks["weights: average"].cause) == ("wrong", NEVER)
    assert [check for check, finding in checks.items() if finding.verdict == "wrong"] == ["weights: average"]


@pytest.mark.parametrize(("times", "verdict"), [(0.5 * BLOWN_UP, "fine"), (2 * BLOWN_UP, "wrong")])
def test_weights_that_blew_up_are_named(times, verdict):
    large = {name: times * value if value.is_floating_point() else value for name, value in FIRST.items()}
    checks = found(FIRST, large, large)
    assert checks["weights: size"].verdict == verdict
    assert checks["weights: size"].cause == ("a learning rate that is far too high" if verdict == "wrong" else None)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("group", ["network", "average"])
def test_a_weight_that_is_no_number_is_named_and_all_else_left_out(group, bad):
    broken = {name: value.clone() for name, value in LAST.items()}
    broken["out.bias"][3] = bad
    network, average = (broken, LAST) if group == "network" else (LAST, broken)
    (finding,) = found(FIRST, network, average).values()
    assert (finding.verdict, finding.cause) == ("wrong", "weights that are NaN")
    assert finding.text.endswith(f"{group}: out.bias")
