"""Arrays in an .npz file, written as their rows come: as many as the disk holds, in the memory of one batch."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ebbtide.errors import require
from ebbtide.files import beside


class NpzFile:
    """An open file, into which one array after another is written."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.archive = archive

    @contextlib.contextmanager
    def array(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> Iterator[Callable[[Any], None]]:
        """A function that adds rows to a new array of this shape; all of them must have come at the end."""
        kind, come = np.dtype(dtype), 0
        header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
        with self.archive.open(f"{name}.npy", "w", force_zip64=True) as member:
            np.lib.format.write_array_header_1_0(member, header)

            def add(rows: Any) -> None:
                nonlocal come
                array = np.ascontiguousarray(rows, kind)
                require(array.shape[1:] == shape[1:], f"rows of shape {array.shape[1:]} came, expected {shape[1:]}")
                member.write(array.tobytes())
                come += len(array)

            yield add
        require(come == shape[0], f"{come} rows of {name} came, expected {shape[0]}")


@contextlib.contextmanager
def new_npz(path: Path | str) -> Iterator[NpzFile]:
    """A compressed .npz file that numpy.load reads; it is there once it is whole, or not at all."""
    with beside(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        yield NpzFile(archive)
