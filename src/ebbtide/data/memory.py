"""Where many numbers are kept, and how they come there from a file that may promise too much."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from io import BufferedIOBase
from math import prod

import numpy as np

from ebbtide.errors import require

MEMORY_LIMIT = 64 * 2**20
DEFLATE_LIMIT = 1040
"""Deflate (zip, gzip) cannot shrink anything further than this, so what promises more is a lie and is not believed."""
MOST_DIMENSIONS = 32
CHUNK = 2**20


def allocate(shape: Sequence[int]) -> np.ndarray:
    """Room for uint8 values of this shape: in memory up to 64 MiB, beyond that in a temporary file (see TMPDIR).

    The file has no name and is gone once nothing refers to the array. Raises EbbtideError if the disk has no room.
    """
    shape, size = tuple(shape), prod(shape)
    if size <= MEMORY_LIMIT:
        return np.empty(shape, np.uint8)
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    # without this, a full disk would end the process with a bus error in the midst of reading
    require(
        size < free,
        f"the images take {size / 2**30:.1f} GiB, but {folder} has {free / 2**30:.1f} GiB free; "
        "use a smaller size or limit, or point TMPDIR elsewhere",
    )
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, np.uint8, mode="w+", shape=shape)


def promised(shape: Sequence[int], kind: np.dtype, most: int) -> int:
    """The bytes of an array of this shape and type, as a header says it.

    Raises EbbtideError if they are more than the `most` that can follow, or no array can have the shape.
    """
    says = f"its header promises {' x '.join(map(str, shape[:8]))} values of {kind.itemsize} bytes"
    require(len(shape) <= MOST_DIMENSIONS, f"its header promises an array of {len(shape)} dimensions")
    require(all(0 <= length < 2**62 for length in shape), f"{says}: no array is like that")
    size = prod(shape) * kind.itemsize
    require(size <= most, f"it is cut short: {says}, more than the file can hold")
    require(size > 0 or prod(max(length, 1) for length in shape) < 2**62, f"{says}: no array is like that")
    return size


def filled(file: BufferedIOBase, size: int, kind: np.dtype) -> np.ndarray:
    """The next `size` bytes of a file as numbers of this type, in one row, without a second copy of them.

    Raises EbbtideError if fewer follow.
    """
    room = allocate((size,))
    view, done = room.data, 0
    while done < size:
        some = file.read(min(CHUNK, size - done))
        require(len(some) > 0, f"it is cut short: {size:,} bytes are promised, but only {done:,} follow")
        view[done : done + len(some)] = some
        done += len(some)
    return room.view(kind)
