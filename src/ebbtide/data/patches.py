"""Colour pictures without a download: pieces of the two photographs (a temple, a flower) of scikit-learn."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ebbtide.data.dataset import Dataset

SIDE, STRIDE = 32, 8
"""Pixels of a piece, and from one piece to the next: neighbours overlap."""
TEST_SHARE = 0.2
"""Of each photograph's width, at its right: no pixel there is ever trained on."""


def load_patches(split: Literal["train", "test"]) -> Dataset:
    """Pieces of 32x32 pixels, uint8 (n, 32, 32, 3), with the photograph that each is of as its label.

    Each is named by its photograph and its upper left corner, "flower[16,240]". Source: scikit-learn's
    `load_sample_images` (china.jpg, flower.jpg; CC BY, see there).
    """
    # scikit-learn takes a second to import, which those who do not ask for it need not pay
    from sklearn.datasets import load_sample_images

    values, labels, names = [], [], []
    classes = ("china", "flower")
    for label, photograph in enumerate(load_sample_images().images):
        height, width = photograph.shape[:2]
        border = round((1 - TEST_SHARE) * width)
        left, right = (0, border) if split == "train" else (border, width)
        for row in range(0, height - SIDE + 1, STRIDE):
            for column in range(left, right - SIDE + 1, STRIDE):
                values.append(photograph[row : row + SIDE, column : column + SIDE])
                labels.append(label)
                names.append(f"{classes[label]}[{row},{column}]")
    return Dataset(
        name="patches",
        values=np.stack(values),
        labels=np.array(labels, dtype=np.int64),
        classes=classes,
        names=tuple(names),
    )
