"""The smallest data there is: pictures of 3 x 3 pixels with one dot in the middle, all alike (item L3)."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ebbtide.data.dataset import Dataset

SIZE = 512


def load_dots(split: Literal["train", "test"]) -> Dataset:
    """512 times the same picture, uint8 (n, 3, 3, 1): 255 in the middle, 0 around it; no labels.

    The test split differs in the examples' names only. Source: the notebook `denoising` of CS182 (Berkeley, 2022).
    """
    values = np.zeros((SIZE, 3, 3, 1), dtype=np.uint8)
    values[:, 1, 1] = 255
    names = None if split == "train" else tuple(f"dots/test[{i}]" for i in range(SIZE))
    return Dataset(name="dots", values=values, names=names)
