"""What the run wrote down: how far training went, whether the loss fell, and where it was not finite."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ebbtide.doctor.finding import Finding, fine, note, wrong
from ebbtide.evaluation.figures import series

SAFE_RATE = {"muon": 0.03, "adamw": 0.02}
"""Peak learning rates from which networks of any size are known to diverge."""
MOST_SKIPPED = 0.01
"""Share of updates."""
BEGUN, FEW, SOME = 50, 200, 2000
"""Updates: with less a run has only begun; with less than these, or before it has met every example once, it is short
where its loss still falls."""
FALLING, STEEP = 0.1, 0.15
"""Share by which the loss fell as the run doubled, from which it still falls, and falls steeply."""
HARDLY = "a run that was hardly trained"
FOLLOW: frozenset[str | None] = frozenset(
    {"shuffled labels", "a network that ignores t", "a moving average that is too slow for the run"}
)
"""Causes that a look at the network may name, not to be blamed where it was hardly trained: any network that has only
begun to learn looks so."""


def check_records(
    records: Sequence[Mapping[str, Any]], optimizer: str, rate: float, examples: int
) -> Iterator[Finding]:
    """optimizer, rate: the recipe's. examples: how many there were to learn from."""
    updates = [record for record in records if record["kind"] == "update"]
    if not updates:
        yield note("training: records", "nothing is on record yet: train first")
        return
    yield _length(updates, examples)
    yield _finite(updates)
    yield _fall(records, optimizer, rate)


def _length(updates: Sequence[Mapping[str, Any]], examples: int) -> Finding:
    """How far training went: updates, images against the set, and whether the loss still fell.

    The middle loss of the last quarter is held against that of the second: between them the run doubled.
    """
    steps, loss = series(updates, "loss")
    count, images = int(updates[-1]["step"]), series(updates, "images")[1]
    rounds = float(images[-1]) / examples if len(images) else float("inf")
    said = f"{count:,} updates" + (f", {images[-1]:,.0f} images, {rounds:.2g} for each example" if len(images) else "")
    before, now = loss[(steps > count / 4) & (steps <= count / 2)], loss[steps > 0.75 * count]
    fell = 1 - float(np.median(now)) / float(np.median(before)) if len(before) and len(now) else 0.0
    short = count < FEW or (rounds < 1 and count < SOME)
    little = fell >= STEEP and float(np.median(now)) > 0.5 * float(np.median(loss[:5]))
    if count < BEGUN or (short and fell >= FALLING) or little:
        still = f", and the loss was still falling, by {fell:.0%} as the run doubled" if fell >= FALLING else ""
        return wrong("training: length", f"the run was hardly trained: {said}{still}; train for longer", HARDLY)
    return fine("training: length", said)


def _finite(updates: Sequence[Mapping[str, Any]]) -> Finding:
    """Losses and gradients that were not finite, and where they began."""
    count = updates[-1]["step"]
    skipped = int(updates[-1].get("skipped") or 0)
    if not skipped:
        return fine("training: finite", f"every loss and gradient of {count:,} updates was finite")
    first = next(record for record in updates if record.get("skipped"))
    what = "the loss" if first.get("loss") is None else "the gradient"
    said = f"{skipped:,} of {count:,} updates were skipped; it began at update {first['step']:,} with {what}"
    if skipped <= MOST_SKIPPED * count:
        return note("training: finite", said)
    return wrong("training: finite", f"{said}, which was not finite", "losses that are not finite")


def _fall(records: Sequence[Mapping[str, Any]], optimizer: str, rate: float) -> Finding:
    """The middle loss of the last tenth of the updates against the first updates'."""
    loss = series(records, "loss")[1]
    if len(loss) < 20 or records[-1]["step"] < BEGUN:
        return note("training: loss", f"{len(loss)} updates on record: too few to see a loss fall")
    begin, end = float(np.median(loss[:5])), float(np.median(loss[-max(5, len(loss) // 10) :]))
    best = min(float(np.median(part)) for part in np.array_split(loss, 10))
    said = f"the loss went from {begin:.3g} to {end:.3g} (the best tenth of the run: {best:.3g})"
    if end < 0.95 * begin and end < 2 * best:
        return fine("training: loss", said)
    safe = SAFE_RATE.get(optimizer, 0.02)
    too_high = rate > safe
    why = f"; the learning rate {rate:g} is far above what {optimizer} bears (about 0.001)" if too_high else ""
    cause = "a learning rate that is far too high" if too_high else None
    return wrong("training: loss", f"the loss did not fall: {said}{why}", cause)
