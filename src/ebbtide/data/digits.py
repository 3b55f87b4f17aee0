"""Handwritten digits, 8 x 8, that come with scikit-learn: real images without a download."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ebbtide.data.dataset import Dataset

TRAIN_SIZE, TEST_SIZE = 1500, 297


def load_digits(split: Literal["train", "test"]) -> Dataset:
    """1500 digits to learn from or 297 to test with: uint8 (n, 8, 8, 1), labels 0..9.

    The split is fixed and stratified. The values 0..16 of the original are stretched over 0..255. Each example is named
    by its place in scikit-learn's copy, "digits[17]". Source: the test set of the UCI optical recognition of
    handwritten digits (Alpaydin & Kaynak 1998).
    """
    # scikit-learn takes a second to import, which those who do not ask for it need not pay
    from sklearn.datasets import load_digits as load_originals
    from sklearn.model_selection import train_test_split

    originals = load_originals()
    images = np.rint(originals.images * (255 / 16)).astype(np.uint8)[..., None]
    labels = originals.target.astype(np.int64)
    train, test = train_test_split(
        np.arange(len(images)), train_size=TRAIN_SIZE, test_size=TEST_SIZE, stratify=labels, random_state=0
    )
    index = train if split == "train" else test
    return Dataset(
        name="digits",
        values=images[index],
        labels=labels[index],
        classes=tuple("0123456789"),
        names=tuple(f"digits[{i}]" for i in index),
    )
