"""Where many images are kept."""

from __future__ import annotations

import shutil
import tempfile

import numpy as np

from ebbtide.errors import require

MEMORY_LIMIT = 64 * 2**20


def allocate(shape: tuple[int, ...]) -> np.ndarray:
    """Room for uint8 values of this shape: in memory up to 64 MiB, beyond that in a temporary file (see TMPDIR).

    The file has no name and is gone once nothing refers to the array. Raises EbbtideError if the disk has no room.
    """
    size = int(np.prod(shape, dtype=np.int64))
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
