"""A name for the content of a dataset: the same examples have the same one, wherever they lie."""

from __future__ import annotations

import hashlib

from ebbtide.data.dataset import Dataset

CHUNK = 4096


def fingerprint(dataset: Dataset, *, labels: bool, about: str = "") -> str:
    """12 hexadecimal digits (BLAKE2b) of the examples in their order and, if wanted, of their labels.

    about: what else it is to depend on. A part of the examples is read at a time.
    """
    digest = hashlib.blake2b(f"{about} {dataset.values.shape}".encode(), digest_size=6)
    for first in range(0, len(dataset), CHUNK):
        digest.update(dataset.values[first : first + CHUNK].tobytes())
    if labels:
        assert dataset.labels is not None
        digest.update(dataset.labels.tobytes())
    return digest.hexdigest()
