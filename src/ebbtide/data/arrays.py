"""Arrays of NumPy: .npy and .npz, images or vectors. Pickled objects are refused, so nothing that is loaded can run."""

from __future__ import annotations

from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from ebbtide.data.dataset import Dataset
from ebbtide.errors import EbbtideError, require

VALUE_KEYS = ("images", "x", "arr_0", "data")
LABEL_KEYS = ("labels", "y")
# floats that left [0, 1] or [-1, 1] by no more than this are rounding, not another scale
SLACK = 1e-4
LAYOUTS = "(n, height, width), (n, height, width, 1|3|4), (n, 1|3, height, width), or floats (n, d)"


def load_arrays(path: Path | str) -> Dataset:
    """The images or vectors of an .npy or .npz file.

    An .npz holds them under `images`, `x`, `arr_0` or `data`, and labels, if any, under `labels` or `y`. Images are
    (n, height, width), (n, height, width, channels) or (n, channels, height, width); floats (n, d) are vectors.
    Images are whole numbers in 0..255, or floats: from -1 to 1 if any is negative, else from 0 to 1. A fourth channel
    is an opacity, and is laid over white.

    Raises EbbtideError if the file cannot be read, or its shape or scale is none of these.
    """
    path = Path(path)
    values, labels = _read(path)
    if values.ndim == 2 and values.dtype.kind == "f":
        values = values.astype(np.float32)
    else:
        values = np.ascontiguousarray(_over_white(_to_bytes(_channels_last(values, path), path)))
    classes: tuple[str, ...] = ()
    if labels is not None:
        whole = labels.dtype.kind in "iu" and labels.ndim == 1 and len(labels) == len(values)
        require(
            whole,
            f"{path} holds labels of {labels.dtype} {labels.shape}, expected whole numbers ({len(values)},)",
        )
        labels = labels.astype(np.int64)
        classes = tuple(str(k) for k in range(int(labels.max(initial=-1)) + 1))
    return Dataset(name=path.stem, values=values, labels=labels, classes=classes)


def _read(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    try:
        # opened here: NumPy leaves the file of a damaged archive open
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return loaded, None
            key = next((key for key in VALUE_KEYS if key in loaded), None)
            if key is None:
                raise EbbtideError(
                    f"{path} holds {', '.join(loaded.files) or 'nothing'}, expected one of {', '.join(VALUE_KEYS)}"
                )
            label_key = next((key for key in LABEL_KEYS if key in loaded), None)
            return loaded[key], None if label_key is None else loaded[label_key]
    except EbbtideError:
        raise
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        # NumPy takes whatever it does not know for a pickle, and advises to allow it
        known = "allow_pickle" not in str(error)
        reason = error if known else "it holds none (pickled objects, which could run code, are refused)"
        raise EbbtideError(f"{path} could not be read as arrays of numbers: {reason}") from error


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
        return values
    require(
        values.size > 0 and values.dtype.kind in "iuf",
        f"{path} holds {values.dtype} {values.shape}, expected uint8 or floats, and at least one",
    )
    low, high = float(values.min()), float(values.max())
    if values.dtype.kind in "iu":
        require(low >= 0 and high <= 255, f"{path} holds whole numbers from {low:g} to {high:g}, expected 0 to 255")
        return values.astype(np.uint8)
    # written so that NaN fails too
    require(
        low >= -1 - SLACK and high <= 1 + SLACK,
        f"{path} holds floats from {low:g} to {high:g}, expected images from 0 to 1 or from -1 to 1",
    )
    unit = (values + 1) / 2 if low < -SLACK else values
    return np.rint(np.clip(unit, 0, 1) * 255).astype(np.uint8)


def _over_white(values: np.ndarray) -> np.ndarray:
    if values.shape[-1] != 4:
        return values
    opacity = values[..., 3:].astype(np.float32) / 255
    return np.rint(values[..., :3] * opacity + 255 * (1 - opacity)).astype(np.uint8)
