"""One word names what is learned from: a built-in dataset, a path, or a dataset of the Hugging Face hub."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal, cast

import numpy as np

from ebbtide.data.arrays import load_arrays
from ebbtide.data.colour import COLOURS, Colour, recolour
from ebbtide.data.dataset import SIGNED, Dataset, ValueRange, spread
from ebbtide.data.digits import load_digits
from ebbtide.data.dots import load_dots
from ebbtide.data.folder import load_folder
from ebbtide.data.held_out import SHARE, part_of
from ebbtide.data.hub import is_saved_dataset, load_hub, load_hub_path
from ebbtide.data.idx import find_idx, is_idx, load_idx_file, load_idx_folder
from ebbtide.data.images import Size, height_and_width, resize_all
from ebbtide.data.opening import why_no_file
from ebbtide.data.patches import load_patches
from ebbtide.data.toys import TOYS, load_toy
from ebbtide.errors import EbbtideError, near_misses, require

Split = Literal["train", "test"]
BUILT_IN = ("digits", "dots", "patches", *TOYS)
DEFAULT_SIZE = 32
KINDS = (
    "a folder of images, a folder with IDX files (MNIST), an IDX, .npy, .npz or .parquet file, "
    "a folder saved by Hugging Face datasets, or hf:NAME or hf:NAME:CONFIG"
)


def load(
    source: str,
    *,
    split: Split = "train",
    size: Size | None = None,
    colour: Colour = "auto",
    flip: bool = False,
    labels: bool = True,
    limit: int | None = None,
    range: ValueRange = SIGNED,
    held_out: float = SHARE,
) -> Dataset:
    """What `source` names: one of BUILT_IN, a path (see KINDS), or hf:NAME for a dataset of the Hugging Face hub.

    size: height and width in pixels, one number for both or two; None keeps what is built in, IDX files and arrays as
        they are, and takes 32 else.
    colour: "grey" for one channel, "rgb" for three; "auto" keeps what arrays have, and takes one channel for pictures
        if all of them are grey.
    flip: mirror images at random in batch(). labels: False drops the labels.
    limit: keep no more than this many examples, spread evenly, the same each time.
    range: what the bytes 0..255 of an image become.
    held_out: the share of the user's own pictures, arrays or IDX files that becomes their test split, where they have
        none (see held_out.py): their content chooses. Of fewer than 50 examples none; 0 for none at all.

    Raises EbbtideError if there is nothing of that name, it has no such split, or it cannot be read.
    """
    require(split in ("train", "test"), f"split is '{split}', expected train or test")
    require(colour in COLOURS, f"colour is '{colour}', expected one of {', '.join(COLOURS)}")
    require(0 <= held_out < 1, f"held_out is {held_out}, expected at least 0 and less than 1")
    size = None if size is None else height_and_width(size)
    require(limit is None or limit > 0, f"limit is {limit}, expected at least 1 example")
    pictures = _picture_loader(source)
    if pictures is not None:
        asked = {"split": split, "size": size or DEFAULT_SIZE, "colour": colour, "limit": limit, "labels": labels}
        dataset = pictures(**asked, held_out=held_out)
    else:
        dataset = _adapted(_load_whole(source, split, labels, held_out), source, size, colour, limit)
    if not labels:
        dataset = replace(dataset, labels=None, classes=())
    return replace(dataset, range=range, flip=flip)


def _picture_loader(source: str) -> Callable[..., Dataset] | None:
    """The loader for pictures, which are decoded one by one to the size that is asked for; None for anything else."""
    if not source or source in BUILT_IN:
        return None
    if source.startswith("hf:"):
        return lambda held_out, **options: load_hub(source.removeprefix("hf:"), **options)
    path = path_of(source)
    if os.path.isdir(path) and not _has_idx(path):
        load_path = load_hub_path if is_saved_dataset(path) else load_folder
        return lambda **options: load_path(path, **options)
    if os.path.isfile(path) and path.suffix.lower() == ".parquet":
        return lambda **options: load_hub_path(path, **options)
    return None


def _load_whole(source: str, split: Split, labels: bool, held_out: float) -> Dataset:
    """Sources that are arrays already, or the part of them that is asked for."""
    if source == "digits":
        return load_digits(split)
    if source == "dots":
        return load_dots(split)
    if source == "patches":
        return load_patches(split)
    if source in TOYS:
        return load_toy(cast(Literal["swiss-roll", "moons", "mixture"], source), split)
    path = path_of(source)
    if not source or not os.path.lexists(path):
        raise EbbtideError(
            f"there is nothing called '{source}'.{near_misses(source, BUILT_IN)} "
            f"Built in are {', '.join(BUILT_IN)}; else it may be {KINDS}"
        )
    if os.path.isdir(path):
        if find_idx(path, "test", "images") is not None:
            return load_idx_folder(path, split, labels=labels)
        return _part(load_idx_folder(path, "train", labels=labels), split, held_out, f"{path} (no t10k-images)")
    why_not = why_no_file(path)
    require(why_not is None, f"{path} cannot be read: it is {why_not}")
    arrays = path.suffix.lower() in (".npy", ".npz")
    if not arrays and not is_idx(path):
        raise EbbtideError(f"{path} is no dataset that can be read, expected {KINDS}")
    whole = load_arrays(path, labels=labels) if arrays else load_idx_file(path, labels=labels)
    return _part(whole, split, held_out, f"{path} (one file)")


def _part(whole: Dataset, split: Split, share: float, where: str) -> Dataset:
    part = part_of(len(whole), split, share, where)
    if part is None:
        return whole
    mine = np.array([part.holds(value.tobytes()) for value in whole.values])
    if mine.all() and split == "train":
        return whole
    require(bool(mine.any()), f"{where}: no example belongs to the split that is asked for (data.held_out)")
    return replace(whole.subset(np.flatnonzero(mine)), held_out=part.share)


def _adapted(dataset: Dataset, source: str, size: Size | None, colour: Colour, limit: int | None) -> Dataset:
    if limit is not None and limit < len(dataset):
        dataset = dataset.subset(spread(len(dataset), limit))
    if not dataset.is_image:
        require(size is None and colour == "auto", f"{source} holds vectors: size and colour are for images, drop them")
        return dataset
    values = dataset.values if size is None else resize_all(dataset.values, size)
    return replace(dataset, values=recolour(values, colour))


def located(source: str) -> str:
    """The source with its path in full, so that it names the same data from any folder."""
    return str(path_of(source).absolute()) if _is_path(source) else source


def is_missing(source: str) -> bool:
    """Whether the source is a path at which nothing lies."""
    return _is_path(source) and not os.path.exists(path_of(source))


def _is_path(source: str) -> bool:
    return bool(source) and source not in BUILT_IN and not source.startswith("hf:")


def path_of(source: str) -> Path:
    """The path that is meant, ~ the user's own folder; of nobody's folder the words as they are."""
    return Path(os.path.expanduser(source))


def _has_idx(folder: Path) -> bool:
    return any(find_idx(folder, split, "images") is not None for split in ("train", "test"))
