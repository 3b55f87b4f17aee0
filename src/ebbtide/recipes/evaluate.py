"""How good a run is: samples against real examples in named features, with floors, standard errors, a look for copies.

Memory does not grow with the number of samples: they are drawn, told in features and forgotten; what is kept of each
set is its moments, its first rows of features, and for nearest neighbours its first pictures.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch

from ebbtide.data import Dataset
from ebbtide.data.dataset import spread
from ebbtide.errors import EbbtideError, require
from ebbtide.evaluation.metrics import (
    ClassShares,
    Measured,
    Moments,
    MomentsSum,
    Nearest,
    copying,
    frechet,
    frechet_error,
    kernel_distance,
    nearest,
    precision_recall,
)
from ebbtide.recipes.draw import BATCH, draw_all, grid_for, labels_for
from ebbtide.recipes.features import Features
from ebbtide.recipes.run import Run, Weights
from ebbtide.recipes.run_data import RunData, data_of

MOST_REAL = 50_000
"""Real examples, spread over the set, whose moments are taken."""
MOST_ROWS = 10_000
"""Rows of features that are kept of a set: for kernel distance, precision and recall, whose cost is the square."""
MOST_NEAR = 1000
"""Samples whose nearest neighbours in the training set are looked for."""
LEAST = 50
"""Samples without which nothing can be said."""


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings:
    """What is asked; see the options of `ebbtide evaluate`."""

    samples: int = 5000
    seed: int = 0
    source: str | None = None
    weights: Weights = "average"
    device: str = "cpu"


@dataclass(frozen=True, kw_only=True)
class Sides:
    """The two sets of real examples. reference: what was learned from. unseen: the test split, or where there is none
    the half of the examples that is left out of the reference. split: which it is."""

    train: Dataset
    reference: Dataset
    unseen: Dataset
    split: Literal["test", "half of train"]
    data: RunData


def sides(run: Run, settings: EvaluateSettings) -> Sides:
    """The run's data, with the labels that they have, whether or not the run learned them."""
    data = data_of(run, settings.source)
    train = data.whole("train", labels=True)
    test = _test_split(data)
    if test is not None and test.held_out and len(test) < LEAST:
        train, test = data.whole("train", labels=True, held_out=0.0), None
    if test is None:
        require(len(train) >= 2 * LEAST, f"{len(train)} examples came and no test split, expected at least {2 * LEAST}")
        even, odd = np.arange(0, len(train), 2), np.arange(1, len(train), 2)
        return Sides(
            train=train, reference=train.subset(even), unseen=train.subset(odd), split="half of train", data=data
        )
    require(
        test.event_shape == train.event_shape,
        f"{train.name} has examples of shape {train.event_shape} to train on, and of {test.event_shape} to test with: "
        "give data of one shape (--data)",
    )
    require(
        len(test) >= LEAST, f"a test split of {len(test)} examples came, expected at least {LEAST}: use a larger one"
    )
    return Sides(train=train, reference=train, unseen=test, split="test", data=data)


def _test_split(data: RunData) -> Dataset | None:
    try:
        return data.whole("test", labels=True)
    except EbbtideError:
        return None


class Sketch:
    """All that is kept of a set of examples told in features."""

    def __init__(self, features: Features) -> None:
        self.features = features
        self._moments = MomentsSum(features.dimensions)
        self._rows: list[np.ndarray] = []
        self._kept = 0
        self._shares: ClassShares | None = None

    def add(self, values: np.ndarray) -> None:
        """Bytes (n, height, width, channels) or numbers (n, d)."""
        found, probabilities = self.features(values)
        self._moments.add(found)
        room = MOST_ROWS - self._kept
        if room > 0:
            self._rows.append(found[:room].astype(np.float32))
            self._kept += len(self._rows[-1])
        if probabilities is not None:
            if self._shares is None:
                self._shares = ClassShares(probabilities.shape[1])
            self._shares.add(probabilities)

    @classmethod
    def of(cls, dataset: Dataset, features: Features, most: int = MOST_REAL) -> Sketch:
        """Of a dataset's examples, spread over it and in an order that does not follow its own."""
        *_, sketch = cls.growing(dataset, features, most)
        return sketch

    @classmethod
    def growing(cls, dataset: Dataset, features: Features, most: int = MOST_REAL) -> Iterator[Sketch]:
        """The same, yielded after each thousand examples."""
        sketch = cls(features)
        chosen = spread(len(dataset), most)
        chosen = chosen[torch.randperm(len(chosen), generator=torch.Generator().manual_seed(0)).numpy()]
        for first in range(0, len(chosen), 1000):
            sketch.add(dataset.values[chosen[first : first + 1000]])
            yield sketch

    @property
    def count(self) -> int:
        return self._moments.count

    @property
    def rows(self) -> np.ndarray:
        return np.concatenate(self._rows)

    @property
    def moments(self) -> Moments:
        return self._moments.moments()

    @property
    def score(self) -> Measured | None:
        """The inception score, where the features come with class probabilities."""
        return None if self._shares is None else self._shares.score()


@dataclass(frozen=True)
class Drawn:
    """The samples: their sketch, the first of them, and how fast they came."""

    sketch: Sketch
    first: np.ndarray
    seconds: float


def draw_samples(run: Run, settings: EvaluateSettings, features: Features) -> Iterator[int | Drawn]:
    """Yields how many are done, and in the end all of it; labels are the run's classes in turn."""
    denoiser = run.denoiser(settings.device, settings.weights)
    sketch, first, kept = Sketch(features), [], 0
    started = time.perf_counter()
    labels = labels_for(run, settings.samples)
    grid = grid_for(run, denoiser, device=settings.device)
    for start in range(0, settings.samples, BATCH):
        count = min(BATCH, settings.samples - start)
        told = None if labels is None else labels[start : start + count]
        values = _batch(run, denoiser, settings, count, labels=told, offset=start, grid=grid)
        sketch.add(values)
        if kept < MOST_NEAR:
            first.append(values[: MOST_NEAR - kept])
            kept += len(first[-1])
        yield start + count
    yield Drawn(sketch, np.concatenate(first), time.perf_counter() - started)


def _batch(run: Run, denoiser: Any, settings: EvaluateSettings, count: int, **options: Any) -> Any:
    """Some samples, as their data come; options: of `draw`."""
    x = draw_all(run, denoiser, count, seed=settings.seed, device=settings.device, **options)
    bad = int((~x.isfinite()).flatten(1).any(1).sum())
    require(bad == 0, f"{bad} of {count} samples hold NaN or infinite numbers: ask `ebbtide doctor {run.path}` why")
    return run.to_bytes(x).numpy() if run.data.is_image else x.numpy()


def compared(sketch: Sketch, reference: Sketch, count: int | None = None) -> dict[str, Any]:
    """All metrics of a set against the reference. count: of its first rows only."""
    *_, found = comparing(sketch, reference, count)
    return found


METRICS = 3
"""Pieces of work that `comparing` yields after."""


def comparing(sketch: Sketch, reference: Sketch, count: int | None = None) -> Iterator[dict[str, Any]]:
    """The metrics so far, each time that one more was taken; all of them at last."""
    rows, moments = sketch.rows, sketch.moments
    if count is not None:
        rows = rows[:count]
        total = MomentsSum(rows.shape[1])
        total.add(rows)
        moments = total.moments()
    real, known = reference.rows, reference.moments
    found: dict[str, Any] = {"count": moments.count}
    found["frechet"] = asdict(Measured(frechet(moments, known), frechet_error(moments, known, rows, real)))
    yield found
    found["kernel"] = asdict(kernel_distance(rows, real))
    yield found
    same = min(len(rows), len(real))
    near = precision_recall(real[:same], rows[:same])
    found |= {"precision": asdict(near.precision), "recall": asdict(near.recall)}
    if count is None and sketch.score is not None:
        found["inception_score"] = asdict(sketch.score)
    yield found


@dataclass(frozen=True)
class Copies:
    """Whether samples are copies: distances to the nearest training example, of samples and of unseen examples."""

    samples: Nearest
    unseen: Nearest
    found: dict[str, Any]


def look_for_copies(samples: np.ndarray, both: Sides) -> Copies:
    """Root mean square differences, in shares of the whole range for images, of the numbers' own units for points."""
    train = _flat(both.reference.values)
    unseen = _flat(both.unseen.values[spread(len(both.unseen), MOST_NEAR)])
    scale = train.shape[1] ** 0.5 * (255.0 if both.train.is_image else 1.0)
    ours, theirs = (
        Nearest(found.distance / scale, found.index)
        for found in (nearest(_flat(samples), train), nearest(unseen, train))
    )
    test = copying(ours.distance, theirs.distance)
    found = {
        "nearer": asdict(test.nearer),
        "z": test.z,
        "copies": int((ours.distance == 0).sum()),
        "copies_unseen": int((theirs.distance == 0).sum()),
        "samples": len(ours.distance),
        "unseen": len(theirs.distance),
        "distance": float(np.median(ours.distance)),
        "distance_unseen": float(np.median(theirs.distance)),
    }
    return Copies(ours, theirs, found)


def _flat(values: np.ndarray) -> np.ndarray:
    return values.reshape(len(values), -1).astype(np.float32)
