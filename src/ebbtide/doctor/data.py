"""The data on their own: what is broken, constant, the same twice, mislabelled, or on another scale than the noise."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ebbtide.data import Dataset
from ebbtide.data.dataset import spread
from ebbtide.doctor.finding import Finding, fine, note, shown, wrong

SOME = 2000
"""Examples that are looked at closely, spread over the set."""
LEAST, FEW = 100, 1000
"""Different examples below which a network learns them by heart, and below which that is to be watched for."""
MOST_NUMBERS = 2**25
"""Of these examples, all together: a quarter of a gigabyte."""
SMALLEST = 32
"""Numbers an example below which two may well be alike by chance: points, the smallest pictures."""
ALIKE = 0.1
"""Root mean square difference of two examples, of their own contrast, below which they are near duplicates."""
SCALES = (0.2, 3.0)
"""Root mean square of the data, in units of the noise at t = 1, that the schedules are made for."""
MOST_CLASSES, LEAST_OF_A_CLASS = 50, 20
"""For the neighbours' labels to say something."""


def check_data(train: Dataset, held_out: Dataset | None = None) -> Iterator[Finding]:
    """All checks. held_out: the test split, where there is one."""
    yield from quick_checks(train)
    yield from _duplicates(train)
    if train.is_image:
        yield from _channels(train, held_out)
    if train.labels is not None:
        yield from _labels(train)
    if held_out is not None:
        yield from _leaks(train, held_out)


def quick_checks(train: Dataset) -> Iterator[Finding]:
    """Those that take no time: files, number, range, constant images."""
    yield _files(train)
    yield _number(train)
    some = _some(train)
    x0 = some.batch(torch.arange(len(some))).x0
    yield _range(train, x0)
    if train.is_image:
        yield _constant(some, x0)


def _some(dataset: Dataset, among: np.ndarray | None = None) -> Dataset:
    """The examples that are looked at closely, among these (None: all)."""
    index = np.arange(len(dataset)) if among is None else among
    return dataset.subset(index[spread(len(index), max(2, min(SOME, MOST_NUMBERS // dataset.values[0].size)))])


def _files(train: Dataset) -> Finding:
    if not train.skipped:
        return fine("data: files", f"all of {len(train):,} examples could be read")
    text = f"{len(train.skipped)} of {len(train) + len(train.skipped):,} files cannot be read and are left out: "
    broken = any("NaN" in reason for reason in train.skipped)
    cause = "values that are not numbers in a file" if broken else "broken files"
    return wrong("data: files", text + shown(train.skipped, 3), cause)


def _number(train: Dataset) -> Finding:
    """How many there are, few being no fault of the very small."""
    small = train.values[0].size < SMALLEST
    count = len(train)
    if small or count >= FEW:
        return fine("data: number", f"{count:,} examples")
    return note("data: number", f"{count:,} examples: so few may be learned by heart; watch the nearest neighbours")


def _range(train: Dataset, x0: Tensor) -> Finding:
    """Schedules are made for data about as large as the noise."""
    values = x0.double()
    scale, mean, deviation = float(values.square().mean().sqrt()), float(values.mean()), float(values.std())
    said = f"mean {mean:.3g}, standard deviation {deviation:.3g}; the noise at t = 1 has 0 and 1"
    if SCALES[0] <= scale <= SCALES[1]:
        return fine("data: range", said)
    way = "leave data.low and data.high out" if train.is_image else "divide the data by their standard deviation"
    return wrong("data: range", f"the data are not normalised: {said}; {way}", "data that are not normalised")


def _constant(some: Dataset, x0: Tensor) -> Finding:
    pixels = x0.flatten(2)
    same = (pixels == pixels[:, :, :1]).flatten(1).all(1)
    names = [name for name, is_same in zip(some._names_of(np.arange(len(some))), same.tolist(), strict=True) if is_same]
    if not names:
        return fine("data: constant images", f"none among {len(some):,}")
    text = f"{len(names)} of {len(some):,} images are of one colour all over: {shown(names)}"
    return (
        wrong("data: constant images", text, "empty images")
        if len(names) > len(some) / 100
        else note("data: constant images", text)
    )


def _digests(dataset: Dataset) -> list[bytes]:
    return [hashlib.blake2b(np.ascontiguousarray(row).tobytes(), digest_size=12).digest() for row in dataset.values]


def _duplicates(train: Dataset) -> Iterator[Finding]:
    """The same bytes twice, and pictures that are nearly the same."""
    if train.values[0].size < SMALLEST:
        return
    counts = Counter(_digests(train))
    again = len(train) - len(counts)
    some = _some(train)
    near, middle, new = _nearly(some)
    # where most come again, those that were looked at have shown nearly all that there are
    different = new if near > 0.5 else round(len(counts) * new / len(some))
    alike = near > 0.2 or again > len(train) / 5  # a set that is merely small has no fault
    said = (
        f"{again / len(train):.1%} are exact copies of others; of {len(some):,} looked at, {near:.0%} have a near "
        f"duplicate (the middle one's nearest differs by {middle:.0%} of the contrast)"
    )
    if (near > 0.5 and different < FEW) or (alike and different < LEAST):
        text = f"there are few different examples, about {different:,} of {len(train):,}: {said}"
        yield wrong("data: duplicates", text, "examples that are nearly the same")
    elif again > len(train) / 100 or near > 0.2:
        yield note("data: duplicates", said)
    else:
        yield fine("data: duplicates", said)


def _nearly(some: Dataset) -> tuple[float, float, int]:
    """The share that has a neighbour nearer than `ALIKE` of the contrast; the middle distance, of the contrast; and how
    many are left without those that have such a neighbour before them.

    Contrast: root mean square difference between an example and the mean of its own numbers, the middle one's.
    """
    x = torch.from_numpy(some.values.reshape(len(some), -1)).double()
    contrast = float((x - x.mean(1, keepdim=True)).square().mean(1).sqrt().median())
    if len(x) < 2 or contrast == 0:
        return 0.0, 0.0, len(x)
    apart = torch.cdist(x, x).div_(contrast * x.shape[1] ** 0.5).fill_diagonal_(torch.inf)
    nearest = apart.min(1).values
    again = (apart < ALIKE).triu(1).any(0)
    return float((nearest < ALIKE).double().mean()), float(nearest.median()), int((~again).sum())


def _channels(train: Dataset, held_out: Dataset | None) -> Iterator[Finding]:
    """Whether red and blue have changed places: told by the held-out images, or guessed from what photos look like."""
    if train.values.shape[-1] != 3:
        return
    mine = _pixels(train)
    if bool((mine[:, :1] == mine).all()):
        yield note("data: colours", "the three channels are the same: grey pictures, --data.colour grey is faster")
        return
    if held_out is not None and held_out.values.shape[-1] == 3:
        theirs = _pixels(held_out)
        as_is, swapped = _apart(mine, theirs), _apart(mine.flip(1), theirs)
        said = f"colours differ from the held-out images' by {as_is:.3g}, with red and blue swapped by {swapped:.3g}"
        if as_is > 4 * swapped and as_is > 0.01:
            text = f"red and blue have changed places: {said} (one set was read as BGR)"
            yield wrong("data: colours", text, "swapped colour channels")
            return
        yield fine("data: colours", said)
        return
    red, _, blue = (mine.mean(0) / 255).tolist()
    said = f"red {red:.2f}, blue {blue:.2f} of 1 in the mean"
    if blue - red > 0.1:
        yield note("data: colours", f"{said}: most photos are warmer than that; were they read as BGR?")
    else:
        yield fine("data: colours", said)


def _pixels(dataset: Dataset) -> Tensor:
    return torch.from_numpy(_some(dataset).values.reshape(-1, 3)).double()


def _apart(one: Tensor, other: Tensor) -> float:
    """Between mean colours and their covariances, in shares of the whole range: the squared distances, summed."""
    one, other = one / 255, other / 255
    means = (one.mean(0) - other.mean(0)).square().sum()
    return float((means + (one.T.cov() - other.T.cov()).square().sum()).sqrt())


def _labels(train: Dataset) -> Iterator[Finding]:
    """Whether an example's nearest neighbour carries its label more often than any other would."""
    assert train.labels is not None
    labelled = np.flatnonzero(train.labels >= 0)
    counts = np.bincount(train.labels[labelled], minlength=len(train.classes))
    if len(train.classes) < 2 or len(labelled) == 0:
        return
    rare = [name for name, count in zip(train.classes, counts.tolist(), strict=True) if count < LEAST_OF_A_CLASS]
    if rare:
        yield note("data: classes", f"{len(rare)} classes have fewer than {LEAST_OF_A_CLASS} examples: {shown(rare)}")
    some = _some(train, labelled)
    labels = some.labels
    if len(train.classes) > MOST_CLASSES or len(some) < LEAST_OF_A_CLASS * len(train.classes):
        return
    assert labels is not None
    x = torch.from_numpy(some.values.reshape(len(some), -1)).double()
    nearest = torch.cdist(x, x).fill_diagonal_(torch.inf).argmin(1).numpy()
    agree = float((labels[nearest] == labels).mean())
    chance = float(np.square(np.bincount(labels) / len(labels)).sum())
    error = (chance * (1 - chance) / len(labels)) ** 0.5
    said = f"the nearest neighbour has the same label in {agree:.0%} of {len(labels):,}, by chance {chance:.0%}"
    if agree < chance + 4 * error:
        yield wrong("data: labels", f"labels have nothing to do with the examples: {said}", "shuffled labels")
    else:
        yield fine("data: labels", said)


def _leaks(train: Dataset, held_out: Dataset) -> Iterator[Finding]:
    """Held-out examples that are in the training set."""
    if train.values[0].size < SMALLEST:
        return
    known = set(_digests(train))
    count = sum(digest in known for digest in _digests(held_out))
    said = f"{count:,} of {len(held_out):,} held-out examples are in the training set"
    yield (note if count > len(held_out) / 100 else fine)("data: held-out", said)
