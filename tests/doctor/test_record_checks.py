"""What a run wrote down: losses that fall or do not, updates that were skipped."""

import numpy as np
import pytest

from ebbtide.doctor.records import HARDLY, check_records

TOO_HIGH = "a learning rate that is far too high"


def records(losses, skipped=None):
    """An update each tenth step; skipped: how many were until then."""
    skipped = [0] * len(losses) if skipped is None else skipped
    return [
        {"kind": "update", "step": 10 * (index + 1), "loss": loss, "skipped": count}
        for index, (loss, count) in enumerate(zip(losses, skipped, strict=True))
    ]


def noisy(curve, seed=0, noise=0.1):
    random = np.random.default_rng(seed)
    return (np.asarray(curve) * np.exp(noise * random.normal(size=len(curve)))).tolist()


FALLING = np.geomspace(1.0, 0.1, 200)
FLAT = np.full(200, 1.0)
DIVERGING = np.concatenate([np.geomspace(1.0, 0.1, 100), np.geomspace(0.1, 0.9, 100)])


def found(history, optimizer="muon", rate=1e-3, examples=1000):
    return {finding.check: finding for finding in check_records(history, optimizer, rate, examples)}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rate", [1e-3, 0.1])
def test_a_loss_that_falls_is_fine_at_any_rate(seed, rate):
    assert {finding.verdict for finding in found(records(noisy(FALLING, seed)), rate=rate).values()} == {"fine"}


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
@pytest.mark.parametrize("curve", [FLAT, DIVERGING], ids=["flat", "diverging"])
def test_a_loss_that_does_not_fall_is_wrong_and_the_rate_is_the_cause_only_if_it_is_high(curve, optimizer):
    for rate, cause in ((1e-3, None), (0.5, TOO_HIGH)):
        finding = found(records(noisy(curve, noise=0.02)), optimizer, rate)["training: loss"]
        assert (finding.verdict, finding.cause) == ("wrong", cause)
        assert (f"the learning rate {rate:g}" in finding.text) == (cause is not None)


def test_a_single_bad_update_says_nothing():
    losses = noisy(FALLING)
    losses[-1] = losses[0] = 1000.0
    assert found(records(losses))["training: loss"].verdict == "fine"


def test_of_a_few_updates_nothing_is_said():
    assert found(records(noisy(FLAT[:19])))["training: loss"].verdict == "note"
    assert found(records(noisy(FLAT[:20], noise=0)))["training: loss"].verdict == "wrong"


def test_a_run_without_records_is_told_to_train():
    (finding,) = check_records([{"kind": "event", "step": 0, "message": "hello"}], "muon", 1e-3, 9)
    assert (finding.verdict, finding.check) == ("note", "training: records")


@pytest.mark.parametrize("what", ["loss", "gradient"])
@pytest.mark.parametrize(
    ("every", "verdict", "cause"), [(20, "note", None), (1, "wrong", "losses that are not finite")]
)
def test_updates_that_were_skipped_are_counted_from_where_they_began(every, verdict, cause, what):
    losses, skipped = noisy(FALLING), [0] * 200
    for index in range(120, 200):
        skipped[index] = skipped[index - 1] + (index % every == 0)
    begin = next(index for index in range(200) if skipped[index])
    if what == "loss":
        losses[begin] = None
    finding = found(records(losses, skipped))["training: finite"]
    assert (finding.verdict, finding.cause) == (verdict, cause)
    assert f"{skipped[-1]} of 2,000 updates" in finding.text
    assert f"update {10 * (begin + 1):,} with the {what}" in finding.text


def learning(updates, settled=10**9):
    """A curve as of digits: it falls by some 35 percent as the run doubles, until it has settled."""
    return (1 + np.minimum(np.arange(updates), settled) / 40) ** -0.7


def of_each(losses, batch=64):
    """Every update on record."""
    return [
        {"kind": "update", "step": step, "loss": loss, "images": batch * step, "skipped": 0}
        for step, loss in enumerate(losses, 1)
    ]


@pytest.mark.parametrize(
    ("losses", "examples", "hardly"),
    [
        (learning(6), 100, True),
        (learning(54), 1500, True),
        (learning(190), 1500, True),
        (learning(1000), 1_000_000, True),
        (learning(1000), 1500, False),
        (learning(190, settled=60), 1500, False),
        (FLAT, 1500, False),
        (np.geomspace(1, 1e-6, 1000), 40, False),
    ],
    ids=["begun", "a minute", "short", "no round", "enough", "settled", "flat", "examples all the same"],
)
def test_a_run_that_was_hardly_trained_is_said_to_be_by_its_updates_its_rounds_and_its_falling_loss(
    losses, examples, hardly
):
    for seed in range(3):
        finding = found(of_each(noisy(losses, seed)), examples=examples)["training: length"]
        assert (finding.verdict, finding.cause) == (("wrong", HARDLY) if hardly else ("fine", None)), finding.text
        assert f"{len(losses):,} updates" in finding.text
        assert next(iter(found(of_each(losses)))) == "training: length"  # before what may follow from it


def test_without_skipped_updates_all_was_finite():
    history = [record | {"skipped": None} for record in records(noisy(FALLING))]
    assert found(history)["training: finite"].verdict == "fine"
