"""A folder of pictures of any size and kind, in subfolders or not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import numpy as np

from ebbtide.data.colour import Colour
from ebbtide.data.dataset import Dataset, spread
from ebbtide.data.gather import gather
from ebbtide.data.held_out import part_of
from ebbtide.data.images import Size
from ebbtide.data.labels import MOST_CLASSES
from ebbtide.data.opening import why_no_file
from ebbtide.errors import EbbtideError, printable, require
from ebbtide.files import LIST
from ebbtide.json_files import read_json

FORMATS = ("png", "jpg", "jpeg", "jfif", "webp", "gif", "bmp", "tif", "tiff", "ppm", "pgm", "pbm", "pnm", "jp2", "avif")
SUFFIXES = frozenset(f".{name}" for name in FORMATS)
TEST_NAMES = ("test", "val", "valid", "validation")


def load_folder(
    folder: Path | str,
    *,
    split: Literal["train", "test"] = "train",
    size: Size = 32,
    colour: Colour = "auto",
    limit: int | None = None,
    labels: bool = True,
    held_out: float = 0.0,
) -> Dataset:
    """The pictures below a folder as uint8 (n, height, width, 1 or 3), each named by its path within the folder.

    The subfolders of the first level are classes, if there are at least two and no picture lies outside them. A folder
    whose only subfolders are `train` and `test` (or `val`, `valid`, `validation`) is taken apart into these splits;
    of any other the share `held_out` of the pictures, chosen by their content, is the test split. Hidden files are
    passed over. Pictures that cannot be read, what is no file (pipes, devices, sockets), folders that cannot be opened,
    and links that lead out of the folder or nowhere, are listed in `skipped`. Names that no terminal could print are
    written with escapes.

    Raises EbbtideError if there is no picture, or none that can be read.
    """
    folder = Path(folder)
    splits = find_splits(folder)
    # a class may be missing in one split: train and test must number them alike
    found = {name: find_images(root) for name, root in splits.items()}
    own = split if split in splits else "train"
    root, (paths, passed) = splits[own], found[own]
    if not paths:
        detail = f"; passed over were {len(passed)}, the first is {passed[0]}" if passed else ""
        raise EbbtideError(f"{root} holds no pictures ({', '.join(FORMATS)}){detail}")
    classes = _classes([path for some, _ in found.values() for path in some]) if labels else ()
    require(
        len(classes) <= MOST_CLASSES,
        f"{root} holds {len(classes):,} subfolders, expected at most {MOST_CLASSES:,} classes: if they are none, leave "
        "them out (data.labels false)",
    )
    part = None if "test" in splits else part_of(len(paths), split, held_out, f"{folder} (no subfolders train, test)")
    chosen = spread(len(paths), part.enough(limit) if part else limit)
    sources = ((printable(paths[i]), root / paths[i]) for i in chosen)
    gathered = gather(sources, len(chosen), size=size, colour=colour, origin=str(root), part=part).at_most(limit)
    kept = [paths[i] for i in chosen[gathered.kept]]
    numbers = {name: number for number, name in enumerate(classes)}
    marks = np.array([numbers[path.split("/")[0]] for path in kept], np.int64) if classes else None
    prefix = root.relative_to(folder).as_posix() + "/" if root != folder else ""
    return Dataset(
        name=printable(folder.resolve().name),
        values=gathered.values,
        labels=marks,
        classes=tuple(map(printable, classes)),
        names=tuple(prefix + printable(path) for path in kept),
        skipped=tuple(prefix + note for note in (*gathered.skipped, *passed)),
        held_out=gathered.held_out,
    )


def find_images(root: Path) -> tuple[list[str], list[str]]:
    """The pictures below root as sorted paths within it, with "/" on every system; and "path: reason" of what is
    passed over. Nothing is opened but folders; linked folders are not walked into."""
    within: list[str] = []
    passed: list[str] = []
    real_root = os.path.realpath(root)
    waiting = [""]
    while waiting:  # a list and no recursion: folders may lie deeper than Python calls itself
        place = waiting.pop()
        try:
            with os.scandir(root / place) as entries:
                found = [entry for entry in entries if not entry.name.startswith(".")]
        except OSError as error:
            passed.append(f"{printable(place) or '.'}: the folder cannot be opened ({error.strerror})")
            continue
        for entry in found:
            relative = f"{place}/{entry.name}" if place else entry.name
            if entry.is_dir(follow_symlinks=False):
                if is_ours(Path(entry.path)):
                    passed.append(f"{printable(relative)}: a folder that ebbtide wrote")
                else:
                    waiting.append(relative)
            elif _is_named_as_picture(entry.name) or (entry.is_symlink() and os.path.isdir(entry.path)):
                reason = _why_not(entry, real_root)
                if reason is None:
                    within.append(relative)
                elif reason:
                    passed.append(f"{printable(relative)}: {reason}")
    # by code points, not by locale or by the order of the file system
    return sorted(within, key=lambda path: path.split("/")), sorted(passed)


def find_splits(folder: Path) -> dict[str, Path]:
    """Where each split lies: the folder itself is "train", unless its only contents are split subfolders."""
    try:
        visible = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        raise EbbtideError(f"{folder} cannot be opened: {error.strerror}") from None
    inner = {path.name: path for path in visible if path.is_dir()}
    stray = any(_is_named_as_picture(path.name) for path in visible if not path.is_dir())
    if "train" not in inner or stray or not inner.keys() <= {"train", *TEST_NAMES}:
        return {"train": folder}
    test = next((inner[name] for name in TEST_NAMES if name in inner), None)
    return {"train": inner["train"]} | ({"test": test} if test else {})


def is_ours(folder: Path) -> bool:
    """Whether ebbtide wrote a folder: results, with their list, or a run, with recipe and data in its recipe.json."""
    if os.path.isfile(folder / LIST):
        return True
    try:
        content = read_json(folder / "recipe.json") if os.path.isfile(folder / "recipe.json") else None
    except EbbtideError:
        return False
    return isinstance(content, dict) and {"format", "ebbtide", "recipe", "data"} <= content.keys()


def _is_named_as_picture(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES


def _why_not(entry: os.DirEntry[str], real_root: str) -> str | None:
    """Why an entry is passed over, None if it is a picture's file, "" if that need not be said."""
    if entry.is_symlink():
        real = os.path.realpath(entry.path)
        if os.path.exists(real) and os.path.commonpath([real, real_root]) != real_root:
            return "a link that leads out of the folder"
        if os.path.isdir(real):
            return ""  # what it leads to is found by its own name
    return why_no_file(entry.path)


def _classes(paths: list[str]) -> tuple[str, ...]:
    if not all("/" in path for path in paths):
        return ()
    names = sorted({path.split("/")[0] for path in paths})
    return tuple(names) if len(names) > 1 else ()
