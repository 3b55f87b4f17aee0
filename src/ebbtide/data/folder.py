"""A folder of pictures of any size and kind, in subfolders or not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import numpy as np

from ebbtide.data.colour import Colour
from ebbtide.data.dataset import Dataset, spread
from ebbtide.data.gather import gather
from ebbtide.errors import EbbtideError

FORMATS = ("png", "jpg", "jpeg", "jfif", "webp", "gif", "bmp", "tif", "tiff", "ppm", "pgm", "pbm", "pnm", "jp2", "avif")
SUFFIXES = frozenset(f".{name}" for name in FORMATS)
TEST_NAMES = ("test", "val", "valid", "validation")


def load_folder(
    folder: Path | str,
    *,
    split: Literal["train", "test"] = "train",
    size: int = 32,
    colour: Colour = "auto",
    limit: int | None = None,
) -> Dataset:
    """The pictures below a folder as uint8 (n, size, size, 1 or 3), each named by its path within the folder.

    The subfolders of the first level are classes, if there are at least two and no picture lies outside them. A folder
    whose only subfolders are `train` and `test` (or `val`, `valid`, `validation`) is taken apart into these splits;
    any other has no test split. Hidden files are passed over. Pictures that cannot be read, and links that lead out of
    the folder, are listed in `skipped`.

    Raises EbbtideError if there is no picture, or none that can be read.
    """
    folder = Path(folder)
    splits = find_splits(folder)
    if split not in splits:
        raise EbbtideError(
            f"{folder} has no {split} split, expected subfolders train and {'|'.join(TEST_NAMES)}, and nothing beside"
        )
    # a class may be missing in one split: train and test must number them alike
    found = {name: find_images(root) for name, root in splits.items()}
    root, (paths, outside) = splits[split], found[split]
    if not paths:
        detail = f"; {len(outside)} links lead out of it, copy the files instead" if outside else ""
        raise EbbtideError(f"{root} holds no pictures ({', '.join(FORMATS)}){detail}")
    classes = _classes([path for some, _ in found.values() for path in some])
    chosen = spread(len(paths), limit)
    sources = ((paths[i], root / paths[i]) for i in chosen)
    gathered = gather(sources, len(chosen), size=size, colour=colour, origin=str(root))
    kept = [paths[i] for i in chosen[gathered.kept]]
    labels = np.array([classes.index(path.split("/")[0]) for path in kept], np.int64) if classes else None
    prefix = root.relative_to(folder).as_posix() + "/" if root != folder else ""
    return Dataset(
        name=folder.resolve().name,
        values=gathered.values,
        labels=labels,
        classes=classes,
        names=tuple(prefix + path for path in kept),
        skipped=tuple(prefix + note for note in (*gathered.skipped, *outside)),
    )


def find_images(root: Path) -> tuple[list[str], list[str]]:
    """The pictures below root as sorted paths within it, with "/" on every system; and the links that lead out."""
    within, outside = [], []
    real_root = root.resolve()
    for place, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in (*files, *(name for name in folders if (Path(place) / name).is_symlink())):
            path = Path(place) / name
            relative = path.relative_to(root).as_posix()
            if name.startswith(".") or (path.suffix.lower() not in SUFFIXES and not path.is_dir()):
                continue
            if path.is_symlink() and not path.resolve().is_relative_to(real_root):
                outside.append(f"{relative}: a link that leads out of the folder")
            elif not path.is_dir():
                within.append(relative)
    # by code points, not by locale or by the order of the file system
    return sorted(within, key=lambda path: path.split("/")), sorted(outside)


def find_splits(folder: Path) -> dict[str, Path]:
    """Where each split lies: the folder itself is "train", unless its only contents are split subfolders."""
    visible = [path for path in folder.iterdir() if not path.name.startswith(".")]
    inner = {path.name: path for path in visible if path.is_dir()}
    stray = any(path.suffix.lower() in SUFFIXES for path in visible if not path.is_dir())
    if "train" not in inner or stray or not inner.keys() <= {"train", *TEST_NAMES}:
        return {"train": folder}
    test = next((inner[name] for name in TEST_NAMES if name in inner), None)
    return {"train": inner["train"]} | ({"test": test} if test else {})


def _classes(paths: list[str]) -> tuple[str, ...]:
    if not all("/" in path for path in paths):
        return ()
    names = sorted({path.split("/")[0] for path in paths})
    return tuple(names) if len(names) > 1 else ()
