"""What the run wrote down: whether the loss fell, and where it was not finite."""

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


def check_records(records: Sequence[Mapping[str, Any]], optimizer: str, rate: float) -> Iterator[Finding]:
    """optimizer, rate: the recipe's."""
    updates = [record for record in records if record["kind"] == "update"]
    if not updates:
        yield note("training: records", "nothing is on record yet: train first")
        return
    yield _finite(updates)
    yield _fall(records, optimizer, rate)


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
    if len(loss) < 20:
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
