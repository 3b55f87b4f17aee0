"""Arrays of NumPy: .npy and .npz, images or vectors.

Headers are read by NumPy, which takes them for literals of Python and runs nothing; pickled objects are refused. What a
header promises is held against what the file can hold before any room is made for it.
"""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Iterator
from io import BufferedIOBase
from pathlib import Path
from typing import cast

import numpy as np
from numpy.lib import format as npy

from ebbtide.data.dataset import Dataset
from ebbtide.data.labels import as_classes
from ebbtide.data.memory import DEFLATE_LIMIT, allocate, filled, promised
from ebbtide.data.opening import one_line
from ebbtide.errors import EbbtideError, printable, require

VALUE_KEYS = ("images", "x", "arr_0", "data")
LABEL_KEYS = ("labels", "y")
# floats that left [0, 1] or [-1, 1] by no more than this are rounding, not another scale
SLACK = 1e-4
LAYOUTS = "(n, height, width), (n, height, width, 1|3|4), (n, 1|3, height, width), or floats (n, d)"
ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")
LONGEST_HEADER = 10_000
"""Letters, as NumPy has it."""
PARTS = 2**24
"""Numbers that are converted at once."""


def load_arrays(path: Path | str, *, labels: bool = True) -> Dataset:
    """The images or vectors of an .npy or .npz file.

    An .npz holds them under `images`, `x`, `arr_0` or `data`, and labels, if any, under `labels` or `y`. Images are
    (n, height, width), (n, height, width, channels) or (n, channels, height, width); floats (n, d) are vectors.
    Images are whole numbers in 0..255, or floats: from -1 to 1 if any is negative, else from 0 to 1. A fourth channel
    is an opacity, and is laid over white. labels: False leaves them out.

    Raises EbbtideError if the file cannot be read, or its shape or scale is none of these.
    """
    path = Path(path)
    values, marks = _read(path, labels)
    with np.errstate(all="ignore"):  # numbers beyond float32 become infinite, which is refused below
        if values.ndim == 2 and values.dtype.kind == "f":
            values = values.astype(np.float32)
        else:
            values = _over_white(_to_bytes(_channels_last(values, path), path))
    if marks is None:
        return Dataset(name=printable(path.stem), values=values)
    require(
        len(marks) == len(values) if marks.ndim else False,
        f"{path} holds labels of {marks.dtype} {marks.shape}, expected whole numbers ({len(values)},)",
    )
    indices, classes = as_classes(marks, str(path))
    return Dataset(name=printable(path.stem), values=values, labels=indices, classes=classes)


def _read(path: Path, labels: bool) -> tuple[np.ndarray, np.ndarray | None]:
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers as Python 2 wrote them
            start = file.read(4)
            file.seek(0)
            if start not in ZIP_STARTS:
                return _array(file, path.stat().st_size), None
            with zipfile.ZipFile(file) as archive:
                return _members(archive, path, labels)
    except Exception as error:  # zip files break in many ways, and headers are read by Python's own parser
        raise EbbtideError(f"{path} could not be read as arrays of numbers: {one_line(error)}") from error


def _members(archive: zipfile.ZipFile, path: Path, labels: bool) -> tuple[np.ndarray, np.ndarray | None]:
    known = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    key = next((key for key in VALUE_KEYS if key in known), None)
    if key is None:
        some = ", ".join(printable(name) for name in list(known)[:10])
        raise EbbtideError(f"it holds {some or 'nothing'}, expected one of {', '.join(VALUE_KEYS)}")
    label_key = next((key for key in LABEL_KEYS if key in known), None) if labels else None
    values = _member(archive, known[key], path)
    return values, None if label_key is None else _member(archive, known[label_key], path)


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> np.ndarray:
    require(not info.flag_bits & 1, f"{info.filename} is encrypted")
    factor = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: DEFLATE_LIMIT}.get(info.compress_type)
    if factor is None:
        raise EbbtideError(f"{info.filename} is compressed by method {info.compress_type}, expected none or deflate")
    packed = min(info.compress_size, path.stat().st_size)
    require(
        info.file_size <= factor * packed,
        f"{info.filename} promises {info.file_size:,} bytes, more than {packed:,} can hold",
    )
    with archive.open(info) as opened:
        file = cast(BufferedIOBase, opened)
        values = _array(file, info.file_size)
        # at the end the checksum is looked at
        require(not file.read(1), f"{info.filename} is longer than its header says")
        return values


def _array(file: BufferedIOBase, length: int) -> np.ndarray:
    """The array in a file of this length that stands at its beginning."""
    start = file.read(len(npy.MAGIC_PREFIX) + 2)
    require(
        start.startswith(npy.MAGIC_PREFIX) and len(start) == len(npy.MAGIC_PREFIX) + 2,
        "it holds none (pickled objects, which could run code, are refused)",
    )
    digits = {1: 2, 2: 4}.get(start[-2])
    if digits is None:
        raise EbbtideError(f"its format is {start[-2]}.{start[-1]}, expected 1.0 or 2.0")
    count = file.read(digits)
    require(
        int.from_bytes(count, "little") <= LONGEST_HEADER,
        f"its header promises {int.from_bytes(count, 'little'):,} letters, expected at most {LONGEST_HEADER:,}",
    )
    # by itself, as NumPy would make room for all of a header before it looks for it
    header = io.BytesIO(count + file.read(int.from_bytes(count, "little")))
    shape, fortran, kind = npy.read_array_header_1_0(header) if digits == 2 else npy.read_array_header_2_0(header)
    require(not kind.hasobject, "it holds pickled objects, which could run code")
    require(kind.kind in "iufb", f"it holds {kind}, expected numbers")
    size = promised(shape, kind, length - file.tell())
    values = filled(file, size, kind)
    return values.reshape(shape, order="F" if fortran else "C")


def _channels_last(values: np.ndarray, path: Path) -> np.ndarray:
    shape = values.shape
    if values.ndim == 3:
        return values[..., None]
    require(values.ndim == 4, f"{path} holds {values.dtype} {shape}, expected {LAYOUTS}")
    first, last = shape[1] in (1, 3), shape[3] in (1, 3, 4)
    require(first or last, f"{path} holds {values.dtype} {shape}, expected {LAYOUTS}")
    require(
        not (first and last),
        f"{path} holds {values.dtype} {shape}: channels could be first or last; "
        "images of one channel can do without the axis: (n, height, width)",
    )
    return np.moveaxis(values, 1, -1) if first else values


def _to_bytes(values: np.ndarray, path: Path) -> np.ndarray:
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values)
    require(
        values.size > 0 and values.dtype.kind in "iuf",
        f"{path} holds {values.dtype} {values.shape}, expected uint8 or floats, and at least one",
    )
    low, high = float(values.min()), float(values.max())
    whole = values.dtype.kind in "iu"
    if whole:
        require(low >= 0 and high <= 255, f"{path} holds whole numbers from {low:g} to {high:g}, expected 0 to 255")
    # written so that NaN fails too
    require(
        whole or (low >= -1 - SLACK and high <= 1 + SLACK),
        f"{path} holds floats from {low:g} to {high:g}, expected images from 0 to 1 or from -1 to 1",
    )
    out = allocate(values.shape)
    for part in _parts(values):
        if whole:
            out[part] = values[part]
            continue
        unit = (values[part] + 1) / 2 if low < -SLACK else values[part]
        out[part] = np.rint(np.clip(unit, 0, 1) * 255)
    return out


def _over_white(values: np.ndarray) -> np.ndarray:
    if values.shape[-1] != 4:
        return values
    out = allocate((*values.shape[:-1], 3))
    for part in _parts(values):
        opacity = values[part][..., 3:].astype(np.float32) / 255
        out[part] = np.rint(values[part][..., :3] * opacity + 255 * (1 - opacity))
    return out


def _parts(values: np.ndarray) -> Iterator[slice]:
    """Some rows at a time, so that what is made of them on the way takes little room."""
    rows = max(1, PARTS * len(values) // max(1, values.size))
    return (slice(first, first + rows) for first in range(0, len(values), rows))
