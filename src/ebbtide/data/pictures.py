"""Picture files that are named one by one, at their own size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ebbtide.data.colour import is_grey, recolour
from ebbtide.data.dataset import Dataset
from ebbtide.data.idx import is_idx
from ebbtide.data.images import Size, decode, height_and_width, upright
from ebbtide.data.opening import why_no_file
from ebbtide.errors import EbbtideError, require

LONGEST = 256
"""Pixels of the longer side, at most."""
TABLES = (".npy", ".npz", ".parquet")


def is_picture_file(path: Path) -> bool:
    """Whether it is a file that holds no whole dataset: what is left is a picture, or cannot be read."""
    return why_no_file(path) is None and path.suffix.lower() not in TABLES and not is_idx(path)


def load_pictures(paths: Sequence[Path], size: Size | None = None, longest: int = LONGEST) -> Dataset:
    """The files as images of one shape: `size`, or the first one's own, scaled down to `longest` if it is larger.

    The others are cropped and scaled to that shape; one channel if all of them are grey. Raises EbbtideError, with the
    file's name, for what is no readable picture.
    """
    require(len(paths) > 0, "no picture came, expected at least one")
    values, sides = [], None if size is None else height_and_width(size)
    for path in paths:
        try:
            picture = upright(path)
            if sides is None:
                width, height = picture.size
                scale = min(1.0, longest / max(width, height))
                sides = max(1, round(height * scale)), max(1, round(width * scale))
            values.append(decode(picture, sides))
        except EbbtideError as error:
            raise EbbtideError(f"{path} cannot be read as a picture: {error}") from None
    together = np.stack(values)
    return Dataset(
        name=paths[0].name if len(paths) == 1 else f"{len(paths)} pictures",
        values=recolour(together, "grey" if is_grey(together) else "rgb"),
        names=tuple(map(str, paths)),
    )
