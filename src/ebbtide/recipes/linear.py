"""The best linear denoiser of a data set as a bar that holds: its axes from one half of the examples, their variances
from the other, so that nothing about it is known by heart."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ebbtide.corruptions import GaussianCorruption
from ebbtide.data import Dataset
from ebbtide.data.dataset import spread
from ebbtide.denoisers.wiener import MOST_EXACT, LinearDenoiser

MOST_FOR_LINEAR = 20_000
"""Examples, spread over the set, from which it is made."""
LEAST_FOR_LINEAR = 4
"""Examples without which there is no half of two."""
ENOUGH = 4
"""Examples a number, in each half, from which pictures are told along the principal axes of the covariance; the axes of
fewer are mostly chance, and cosine waves, which are given and not fitted, make the lower and so the better bar."""


def linear_denoiser(
    dataset: Dataset, corruption: GaussianCorruption, most: int = MOST_FOR_LINEAR, most_exact: int = MOST_EXACT
) -> LinearDenoiser:
    """Of (up to `most` of) a dataset's examples, of which there must be `LEAST_FOR_LINEAR`."""
    first, second = _halves(dataset, most)
    return _told(first, second, corruption, most_exact)


def both_ways(
    dataset: Dataset, corruption: GaussianCorruption, most: int = MOST_FOR_LINEAR, most_exact: int = MOST_EXACT
) -> tuple[LinearDenoiser, LinearDenoiser]:
    """With the halves in either part: the mean of the two errors is over all examples, as that of a training loss."""
    first, second = _halves(dataset, most)
    return _told(first, second, corruption, most_exact), _told(second, first, corruption, most_exact)


def _halves(dataset: Dataset, most: int) -> tuple[Dataset, Dataset]:
    some = dataset.subset(spread(len(dataset), most))
    return apart(some, len(some) // 2)


def apart(dataset: Dataset, count: int) -> tuple[Dataset, Dataset]:
    """So many examples, spread over the set, and all the others."""
    some = spread(len(dataset), count)
    return dataset.subset(some), dataset.subset(np.setdiff1d(np.arange(len(dataset)), some))


def _told(one: Dataset, other: Dataset, corruption: GaussianCorruption, most_exact: int) -> LinearDenoiser:
    exact = min(most_exact, len(one) // ENOUGH) if one.is_image else most_exact
    return LinearDenoiser.of(_batches(one), corruption, exact).told_by(_batches(other))


def _batches(dataset: Dataset) -> Iterator[Tensor]:
    for first in range(0, len(dataset), 1000):
        yield dataset.batch(torch.arange(first, min(first + 1000, len(dataset)))).x0
