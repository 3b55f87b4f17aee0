"""Whole numbers that mark examples become classes."""

from __future__ import annotations

import numpy as np

from ebbtide.conditions import NO_LABEL
from ebbtide.errors import require

MOST_CLASSES = 10_000
"""Beyond this many, labels are identity numbers, dates or the like: a network would learn a vector for each."""


def as_classes(labels: np.ndarray, where: str, known: np.ndarray | None = None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels as indices into classes, int64 (n,), and the classes' names.

    labels: whole numbers (n,), of which NO_LABEL (-1) marks an example without. Each class is called by its number. The
    classes are 0, 1, ... up to the largest label, those between that do not occur among them, so that parts of a set
    count alike; where the largest is beyond MOST_CLASSES, they are the numbers that occur, in order.
    known: the labels of the whole set, where these are of a part.

    Raises EbbtideError for labels that are no whole numbers, lie below -1, or take more than MOST_CLASSES values.
    where: what holds them, for the message.
    """
    require(
        labels.dtype.kind in "iu" and labels.ndim == 1,
        f"{where} holds labels of {labels.dtype} {labels.shape}, expected whole numbers (n,)",
    )
    values = np.unique(labels if known is None else known)
    low, high = (int(values[0]), int(values[-1])) if len(values) else (NO_LABEL, NO_LABEL)
    require(
        low >= NO_LABEL,
        f"{where} holds labels from {low} to {high}, expected 0, 1, ..., or {NO_LABEL} for none",
    )
    if high < MOST_CLASSES:
        return labels.astype(np.int64), tuple(str(k) for k in range(high + 1))
    marks = values[values >= 0]
    require(
        len(marks) <= MOST_CLASSES,
        f"{where} holds labels of {len(marks):,} different values, expected at most {MOST_CLASSES:,} classes: if they "
        "are none, leave them out (data.labels false)",
    )
    index = np.searchsorted(marks, labels).astype(np.int64)
    return np.where(labels < 0, NO_LABEL, index), tuple(str(k) for k in marks.tolist())
