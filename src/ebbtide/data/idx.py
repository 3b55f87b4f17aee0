"""The IDX format of MNIST and its kin, plain or gzipped.

A file is two zero bytes, a byte for the type, a byte for the number of dimensions, each dimension as a big-endian
32-bit number, then the values, big-endian too. Source: LeCun, Cortes & Burges, the MNIST database (1998).
"""

from __future__ import annotations

import gzip
import zlib
from io import BufferedIOBase
from pathlib import Path
from typing import Literal

import numpy as np

from ebbtide.data.dataset import Dataset
from ebbtide.data.labels import as_classes
from ebbtide.data.memory import DEFLATE_LIMIT, filled, promised
from ebbtide.errors import EbbtideError, printable, require

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
GZIP_MAGIC = b"\x1f\x8b"
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
            kind, shape = _header(file)
            largest = path.stat().st_size * (DEFLATE_LIMIT if isinstance(file, gzip.GzipFile) else 1)
            values = filled(file, promised(shape, kind, largest), kind).reshape(shape)
            require(not file.read(1), "it is too long: more bytes follow than its header promises")
    except (OSError, EOFError, zlib.error, EbbtideError) as error:
        raise EbbtideError(f"{path} could not be read as IDX: {error}") from error
    return values.astype(kind.newbyteorder("="), copy=False)


def is_idx(path: Path) -> bool:
    """Whether the file starts as an IDX file does, gzipped or not."""
    try:
        with _opened(path) as file:
            _header(file)
    except (OSError, EOFError, zlib.error, EbbtideError):
        return False
    return True


def load_idx_folder(folder: Path | str, split: Literal["train", "test"], *, labels: bool = True) -> Dataset:
    """The images of train-images-idx3-ubyte or t10k-images-idx3-ubyte with their labels, if there: (n, h, w, 1).

    The files may end in .gz, and may be written with a dot (train-images.idx3-ubyte). The classes are those of both
    splits, so that train and test agree. labels: False leaves them out. Raises EbbtideError if the split's images are
    missing or do not fit their labels.
    """
    folder = Path(folder)
    images = find_idx(folder, split, "images")
    if images is None:
        raise EbbtideError(
            f"{folder} has no {split} images, expected {STEMS[split]}-images-idx3-ubyte or the same with .gz"
        )
    marks = find_idx(folder, split, "labels") if labels else None
    both = [found for other in STEMS if (found := find_idx(folder, other, "labels"))]
    name = printable(folder.resolve().name)
    return _dataset(name if split == "train" else f"{name}/test", images, marks, both, name=name)


def load_idx_file(path: Path | str, *, labels: bool = True) -> Dataset:
    """The images of one IDX file, with the labels of the file beside it that is named alike, if there is one."""
    path = Path(path)
    beside = path.with_name(path.name.replace("images", "labels").replace("idx3", "idx1"))
    marks = beside if labels and beside != path and beside.is_file() else None
    name = printable(path.name.removesuffix(".gz"))
    return _dataset(name, path, marks, [marks] if marks else [], name=name)


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
    labels: np.ndarray | None = None
    classes: tuple[str, ...] = ()
    if labels_path is not None:
        marks = _labels(labels_path)
        require(
            len(marks) == len(images),
            f"{images_path} holds {len(images)} images, but {labels_path} {len(marks)} labels",
        )
        every = np.concatenate([_labels(path) for path in known])
        labels, classes = as_classes(marks, str(labels_path), every)
        garments = "fashion-mnist" in str(images_path.resolve()).lower().replace("_", "-")
        classes = GARMENTS if garments and len(classes) <= len(GARMENTS) else classes
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


def _opened(path: Path) -> BufferedIOBase:
    with path.open("rb") as file:
        gzipped = file.read(2) == GZIP_MAGIC
    return gzip.GzipFile(path) if gzipped else path.open("rb")


def _header(file: BufferedIOBase) -> tuple[np.dtype, tuple[int, ...]]:
    start = file.read(4)
    require(
        len(start) == 4 and start[:2] == b"\0\0" and start[2] in TYPES and start[3] > 0,
        f"it is no IDX file: it starts with {start.hex(' ') or 'nothing'}, expected 00 00, a type of "
        f"{', '.join(f'{code:02x}' for code in TYPES)}, and the number of dimensions",
    )
    lengths = file.read(4 * start[3])
    require(len(lengths) == 4 * start[3], "it is cut short: it ends within its header")
    return np.dtype(TYPES[start[2]]), tuple(int(length) for length in np.frombuffer(lengths, ">u4"))
