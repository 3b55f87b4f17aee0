"""What is learned from: a Dataset of examples in memory, and a Batch of them ready for a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ebbtide.conditions import NO_LABEL, Condition
from ebbtide.data.memory import MEMORY_LIMIT, allocate
from ebbtide.errors import EbbtideError, require
from ebbtide.randomness import Randomness, generator_of, uniform

CHUNK = 1024


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Some examples of a dataset.

    x0: float32; images are (batch, channels, height, width) in [low, high] of the dataset's range, vectors (batch, d).
    condition: what the denoiser may be told of each example.
    names: what each example is called: a file's path, "digits[17]".
    """

    x0: Float[Tensor, "batch *event"]
    condition: Condition
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def to(self, device: torch.device | str) -> Batch:
        """The batch on another device."""
        return replace(self, x0=self.x0.to(device), condition=self.condition.to(device))


@dataclass(frozen=True, kw_only=True)
class ValueRange:
    """The interval that the bytes 0..255 of an image are stretched over: low + (high - low) * byte / 255."""

    low: float = -1.0
    high: float = 1.0

    def __post_init__(self) -> None:
        require(
            isfinite(self.low) and isfinite(self.high) and self.low < self.high,
            f"a range of values needs finite low < high, but came as low={self.low}, high={self.high}",
        )

    @classmethod
    def standard(cls, values: np.ndarray, most: int = 10_000) -> ValueRange:
        """The range in which these bytes, (n, ...), have mean 0 and variance 1, from `most` examples spread over them.

        v of such data is the scaling of Karras et al. 2022 (arXiv:2206.00364) with their sigma_data. A set without any
        variance keeps -1 to 1.
        """
        some = values[spread(len(values), most)].astype(np.float64)
        mean, deviation = float(some.mean()), float(some.std())
        return cls(low=-mean / deviation, high=(255 - mean) / deviation) if deviation > 0 else cls()

    def encode(self, values: Tensor | np.ndarray) -> Tensor:
        """Bytes to float32 in [low, high], same shape. Raises EbbtideError for anything but uint8."""
        tensor = torch.as_tensor(values)
        require(tensor.dtype == torch.uint8, f"only uint8 can be encoded, but {tensor.dtype} came")
        return tensor.to(torch.float32).div_(255).mul_(self.high - self.low).add_(self.low)

    def decode(self, values: Tensor) -> Tensor:
        """Floats to the nearest bytes, same shape; what lies outside [low, high] is clamped.

        Raises EbbtideError if a value is not a number: a picture of it would be black and hide the fault.
        """
        bad = int(values.isnan().sum())
        require(bad == 0, f"{bad} of {values.numel()} values are NaN and have no colour; find what made them")
        scaled = (values.to(torch.float32) - self.low).div_(self.high - self.low).mul_(255)
        return scaled.round_().clamp_(0, 255).to(torch.uint8)


SIGNED = ValueRange()


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Dataset:
    """Examples in memory, whole.

    name: what the dataset is called.
    values: uint8 (n, height, width, channels) for images, float32 (n, d) for vectors.
    labels: int64 (n,), indices into classes; NO_LABEL (-1) where an example has none. None: nothing is labelled.
    names: one per example; None stands for "name[i]".
    range: what the bytes of images become; vectors are handed out as they are.
    flip: batch() mirrors each image left to right with probability 1/2, if it is given a generator.
    skipped: "path: reason" of files that could not be read.
    held_out: the share of the source that is kept aside as its test split, chosen by content, as it has no other; 0
        where it has one, or none is kept aside.

    Raises EbbtideError if these do not fit together.
    """

    name: str
    values: np.ndarray
    labels: np.ndarray | None = None
    classes: tuple[str, ...] = ()
    names: tuple[str, ...] | None = None
    range: ValueRange = SIGNED
    flip: bool = False
    skipped: tuple[str, ...] = ()
    held_out: float = 0.0

    def __post_init__(self) -> None:
        values, came = self.values, f"dataset '{self.name}' came with values of {self.values.dtype} {self.values.shape}"
        image = values.dtype == np.uint8 and values.ndim == 4
        vector = values.dtype == np.float32 and values.ndim == 2
        expected = "uint8 (n, height, width, channels) or float32 (n, d)"
        require(image or vector, f"{came}, expected {expected}")
        require(0 not in values.shape, f"{came}: it is empty, expected at least one example")
        require(image or bool(np.isfinite(values).all()), f"{came}, some of which are NaN or infinite")
        require(image or not self.flip, f"{came}: only images can be flipped, turn flip off")
        require(self.names is None or len(self.names) == len(values), f"{came} and {len(self.names or ())} names")
        if self.labels is not None:
            self._check_labels(self.labels, came)

    def _check_labels(self, labels: np.ndarray, came: str) -> None:
        require(
            labels.dtype == np.int64 and labels.shape == (len(self.values),),
            f"{came} and labels of {labels.dtype} {labels.shape}, expected int64 ({len(self.values)},)",
        )
        low, high = int(labels.min()), int(labels.max())
        require(
            low >= NO_LABEL and high < len(self.classes),
            f"{came} and labels from {low} to {high} with {len(self.classes)} class names, expected labels from 0 "
            f"to {len(self.classes) - 1}, or {NO_LABEL} for none",
        )

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        kind = "images" if self.is_image else "vectors"
        shape = " x ".join(str(length) for length in self.event_shape)
        parts = [f"{len(self)} {kind} of {shape}"]
        parts += [f"{len(self.classes)} classes"] if self.labels is not None else []
        parts += [f"{len(self.skipped)} skipped"] if self.skipped else []
        return f"Dataset({self.name}: {', '.join(parts)})"

    @property
    def is_image(self) -> bool:
        """Whether the examples are images, not vectors."""
        return self.values.ndim == 4

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one example in a batch: (channels, height, width) or (d,)."""
        if self.is_image:
            _, height, width, channels = self.values.shape
            return (channels, height, width)
        return (self.values.shape[1],)

    def batch(self, indices: Tensor | np.ndarray | Sequence[int], generator: Randomness | None = None) -> Batch:
        """The examples at these indices, in this order.

        generator draws which images are flipped, if flip is on; without one nothing is flipped. Images come in
        channels-last memory order, which is how they are stored.
        """
        index = _as_index(indices)
        rows = self.values[index]
        if self.is_image:
            if self.flip and generator is not None:
                mirrored = (uniform((len(index),), generator) < 0.5).cpu().numpy()
                rows[mirrored] = rows[mirrored, :, ::-1]
            x0 = self.range.encode(torch.from_numpy(rows).permute(0, 3, 1, 2))
        else:
            x0 = torch.from_numpy(rows)
        label = None if self.labels is None else torch.from_numpy(self.labels[index])
        return Batch(x0=x0, condition=Condition(label=label), names=self._names_of(index))

    def subset(self, indices: Tensor | np.ndarray | Sequence[int]) -> Dataset:
        """A dataset of the examples at these indices only, under the names they had."""
        index = _as_index(indices)
        labels = None if self.labels is None else self.labels[index]
        return replace(self, values=_rows(self.values, index), labels=labels, names=self._names_of(index))

    def _names_of(self, index: np.ndarray) -> tuple[str, ...]:
        if self.names is None:
            return tuple(f"{self.name}[{i}]" for i in index % len(self))
        return tuple(self.names[i] for i in index)


def spread(total: int, limit: int | None) -> np.ndarray:
    """Which of `total` examples to keep if no more than `limit` are wanted: int64 indices, rising, the same each time.

    The total is cut into `limit` equal stretches and one example is drawn from each with a fixed seed. Taking every
    k-th would be as even, but would fall in step with labels that run 0..9 again and again.
    """
    if limit is None or limit >= total:
        return np.arange(total)
    if limit < 1:
        raise EbbtideError(f"limit is {limit}, expected at least 1 example")
    edges = np.arange(limit + 1) * total // limit
    drawn = uniform((limit,), generator_of("spread", total, limit), dtype=torch.float64).numpy()
    return edges[:-1] + (drawn * np.diff(edges)).astype(np.int64)


def _rows(values: np.ndarray, index: np.ndarray) -> np.ndarray:
    """values[index], also of more than memory should hold."""
    if values.dtype != np.uint8 or values[:1].nbytes * len(index) <= MEMORY_LIMIT:
        return values[index]
    out = allocate((len(index), *values.shape[1:]))
    for first in range(0, len(index), CHUNK):
        out[first : first + CHUNK] = values[index[first : first + CHUNK]]
    return out


def _as_index(indices: Tensor | np.ndarray | Sequence[int]) -> np.ndarray:
    if isinstance(indices, Tensor):
        return indices.cpu().numpy().astype(np.int64, copy=False)
    return np.asarray(indices, dtype=np.int64)
