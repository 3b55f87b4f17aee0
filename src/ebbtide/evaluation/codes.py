"""What images cost without any network: two codes that a model has to beat. Bits a dimension (a pixel of a channel)."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from ebbtide.errors import require

VALUES = 256


def histogram_bits(train: np.ndarray, test: np.ndarray) -> float:
    """Every pixel coded on its own, with the histogram that it has in the training images.

    Counts begin at one half (Krichevsky & Trofimov 1981), so that no value is impossible. uint8 (n, height, width, c).
    """
    _check(train, test)
    places = train[0].size
    counts = np.full((places, VALUES), 0.5)
    where = np.arange(places)
    for image in train.reshape(len(train), -1):
        counts[where, image] += 1
    cost = -np.log2(counts / counts.sum(1, keepdims=True))
    return float(np.mean([cost[where, image].mean() for image in test.reshape(len(test), -1)]))


def png_bits(images: np.ndarray) -> float:
    """Each image as a PNG file of its own, its container included. uint8 (n, height, width, 1 or 3)."""
    _check(images, images)
    total = 0
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file, "png", optimize=True)
        total += len(file.getvalue())
    return 8 * total / images.size


def _check(*arrays: np.ndarray) -> None:
    for values in arrays:
        fits = values.dtype == np.uint8 and values.ndim == 4 and len(values) > 0
        require(fits, f"{values.dtype} {values.shape} came, expected uint8 images (n, height, width, channels)")
