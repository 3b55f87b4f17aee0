"""The IDX format of MNIST and its kin, plain or gzipped.

A file is two zero bytes, a byte for the type, a byte for the number of dimensions, each dimension as a big-endian
32-bit number, then the values, big-endian too. Source: LeCun, Cortes & Burges, the MNIST database (1998).
"""

from __future__ import annotations

import gzip
import io
import zlib
from math import prod
from pathlib import Path
from typing import Literal

import numpy as np

from ebbtide.data.dataset import Dataset
from ebbtide.errors import EbbtideError, require

File = gzip.GzipFile | io.BufferedReader
TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
GZIP_MAGIC = b"\x1f\x8b"
# deflate cannot shrink anything further than this, so a header that promises more is a lie and is not believed
DEFLATE_LIMIT = 1040
STEMS = {"train": "train", "test": "t10k"}
GARMENTS = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)


def read_idx(path: Path | str) -> np.ndarray:
    """The array in an IDX file, in its own shape and type, native byte order. Whether it is gzipped is told by content.

    Raises EbbtideError if the file is no IDX file, or is longer or shorter than its header says.
    """
    path = Path(path)
    try:
        with _opened(path) as file:
            kind, shape = _header(file, path)
            expected = prod(shape) * kind.itemsize
            largest = path.stat().st_size * (DEFLATE_LIMIT if isinstance(file, gzip.GzipFile) else 1)
            promise = f"its header promises {' x '.join(map(str, shape))} values of {kind.itemsize} bytes"
            require(expected <= largest, f"{path} is cut short: {promise}, more than the file can hold")
            body = file.read(expected)
            require(len(body) == expected, f"{path} is cut short: {promise}, but only {len(body)} bytes follow")
            require(not file.read(1), f"{path} is too long: {promise}, but more bytes follow")
    except (OSError, EOFError, zlib.error) as error:
        raise EbbtideError(f"{path} could not be read: {error}") from error
    return np.frombuffer(body, kind).reshape(shape).astype(kind.newbyteorder("="))


def is_idx(path: Path) -> bool:
    """Whether the file starts as an IDX file does, gzipped or not."""
    try:
        with _opened(path) as file:
            _header(file, path)
    except (OSError, EOFError, zlib.error, EbbtideError):
        return False
    return True


def load_idx_folder(folder: Path | str, split: Literal["train", "test"]) -> Dataset:
    """The images of train-images-idx3-ubyte or t10k-images-idx3-ubyte with their labels, if there: (n, h, w, 1).

    The files may end in .gz, and may be written with a dot (train-images.idx3-ubyte). The classes are those of both
    splits, so that train and test agree. Raises EbbtideError if the split's images are missing or do not fit their
    labels.
    """
    folder = Path(folder)
    images = find_idx(folder, split, "images")
    if images is None:
        raise EbbtideError(
            f"{folder} has no {split} images, expected {STEMS[split]}-images-idx3-ubyte or the same with .gz"
        )
    labels = find_idx(folder, split, "labels")
    both = [found for other in STEMS if (found := find_idx(folder, other, "labels"))]
    name = folder.resolve().name
    return _dataset(name if split == "train" else f"{name}/test", images, labels, both, name=name)


def load_idx_file(path: Path | str) -> Dataset:
    """The images of one IDX file, with the labels of the file beside it that is named alike, if there is one."""
    path = Path(path)
    beside = path.with_name(path.name.replace("images", "labels").replace("idx3", "idx1"))
    labels = beside if beside != path and beside.is_file() else None
    name = path.name.removesuffix(".gz")
    return _dataset(name, path, labels, [labels] if labels else [], name=name)


def find_idx(folder: Path, split: str, what: Literal["images", "labels"]) -> Path | None:
    """The file of this split's images or labels, or None."""
    rank = "idx3" if what == "images" else "idx1"
    names = [f"{STEMS[split]}-{what}{dot}{rank}-ubyte{end}" for dot in "-." for end in ("", ".gz")]
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _dataset(title: str, images_path: Path, labels_path: Path | None, known: list[Path], *, name: str) -> Dataset:
    images = read_idx(images_path)
    require(
        images.dtype == np.uint8 and images.ndim == 3,
        f"{images_path} holds {images.dtype} {images.shape}, expected images: uint8 (n, height, width)",
    )
    labels = None if labels_path is None else _labels(labels_path)
    require(
        labels is None or len(labels) == len(images),
        f"{images_path} holds {len(images)} images, but {labels_path} {0 if labels is None else len(labels)} labels",
    )
    classes: tuple[str, ...] = ()
    if labels is not None:
        count = 1 + max(int(_labels(path).max(initial=0)) for path in known)
        garments = "fashion-mnist" in str(images_path.resolve()).lower().replace("_", "-")
        classes = GARMENTS if garments and count <= len(GARMENTS) else tuple(str(k) for k in range(count))
    return Dataset(
        name=name,
        values=images[..., None],
        labels=labels,
        classes=classes,
        names=None if title == name else tuple(f"{title}[{i}]" for i in range(len(images))),
    )


def _labels(path: Path) -> np.ndarray:
    labels = read_idx(path)
    require(
        labels.ndim == 1 and labels.dtype.kind in "iu",
        f"{path} holds {labels.dtype} {labels.shape}, expected labels: whole numbers (n,)",
    )
    return labels.astype(np.int64)


def _opened(path: Path) -> File:
    with path.open("rb") as file:
        gzipped = file.read(2) == GZIP_MAGIC
    return gzip.GzipFile(path) if gzipped else path.open("rb")


def _header(file: File, path: Path) -> tuple[np.dtype, tuple[int, ...]]:
    start = file.read(4)
    require(
        len(start) == 4 and start[:2] == b"\0\0" and start[2] in TYPES and start[3] > 0,
        f"{path} is no IDX file: it starts with {start.hex(' ') or 'nothing'}, expected 00 00, a type of "
        f"{', '.join(f'{code:02x}' for code in TYPES)}, and the number of dimensions",
    )
    lengths = file.read(4 * start[3])
    require(len(lengths) == 4 * start[3], f"{path} is cut short: it ends within its header")
    return np.dtype(TYPES[start[2]]), tuple(int(length) for length in np.frombuffer(lengths, ">u4"))
