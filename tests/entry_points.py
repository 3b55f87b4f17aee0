"""The doors by which files of other people come in, each a function of the file's path.

Each returns, or raises EbbtideError with one line; it takes neither long nor much memory, prints nothing, runs nothing
and writes nothing, whatever the file holds.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ebbtide.cli.reading import read_mask, read_picture
from ebbtide.data import load
from ebbtide.data.images import decode
from ebbtide.recipes.run import open_run
from trials import grey_run


def as_data(path: Path) -> None:
    """A source of data: a folder, an array, IDX, a table."""
    load(str(path), size=8)


def as_data_to_test_with(path: Path) -> None:
    load(str(path), size=(4, 6), split="test", labels=False, limit=2)


def as_picture(path: Path) -> None:
    decode(path, 8)


def as_bytes_of_a_picture(path: Path) -> None:
    """As it would come out of a table."""
    decode(path.read_bytes(), (4, 6))


def as_picture_to_restore(path: Path) -> None:
    read_picture(open_run(grey_run()), path, resize=True)


def as_mask(path: Path) -> None:
    read_mask(open_run(grey_run()), path)


DATA: tuple[Callable[[Path], None], ...] = (as_data, as_data_to_test_with)
"""For folders, .npy, .npz, IDX and .parquet."""
PICTURES: tuple[Callable[[Path], None], ...] = (as_picture, as_bytes_of_a_picture, as_picture_to_restore, as_mask)
"""For the files of single pictures."""
