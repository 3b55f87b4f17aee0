"""Image datasets of Hugging Face `datasets`: from the hub, from save_to_disk, or from a Parquet file."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np

from ebbtide.conditions import NO_LABEL
from ebbtide.data.colour import Colour
from ebbtide.data.dataset import Dataset, spread
from ebbtide.data.gather import gather
from ebbtide.data.held_out import Part, part_of
from ebbtide.data.images import Size
from ebbtide.data.labels import as_classes
from ebbtide.data.memory import DEFLATE_LIMIT
from ebbtide.data.opening import one_line, why_no_file
from ebbtide.errors import EbbtideError, printable, require

MOST_SAID = 200
"""Letters of what another library says of its error."""
LABEL_COLUMNS = ("label", "labels", "fine_label")
Split = Literal["train", "test"]


def load_hub(
    name: str,
    *,
    split: Split = "train",
    size: Size = 32,
    colour: Colour = "auto",
    limit: int | None = None,
    labels: bool = True,
) -> Dataset:
    """A dataset of the hub, NAME or NAME:CONFIG, as uint8 (n, height, width, 1 or 3); kept in the cache of `datasets`.

    Raises EbbtideError if `datasets` is not installed, or the dataset, the split or an image column is not there.
    """
    datasets = _datasets()
    path, _, config = name.partition(":")
    with _in_one_line(f"hf:{name} ({split})"):
        table = datasets.load_dataset(path, config or None, split=split)
        return _load(table, name, split=split, size=size, colour=colour, limit=limit, labels=labels)


def load_hub_path(
    path: Path | str,
    *,
    split: Split = "train",
    size: Size = 32,
    colour: Colour = "auto",
    limit: int | None = None,
    labels: bool = True,
    held_out: float = 0.0,
) -> Dataset:
    """A folder written by `save_to_disk`, or a Parquet file, as uint8 (n, height, width, 1 or 3).

    Of what holds no test split the share `held_out` of the pictures, chosen by their content, is it. Raises
    EbbtideError as load_hub does.
    """
    datasets, path = _datasets(), Path(path)
    with _in_one_line(str(path)), _silent(datasets), tempfile.TemporaryDirectory() as cache:
        if path.is_dir():
            _check_files(path)
            table = datasets.load_from_disk(str(path))
        else:
            _check_promise(path)
            table = datasets.Dataset.from_parquet(str(path), cache_dir=cache)
        tables = table if isinstance(table, dict) else {"train": table}
        only = f"{path} (only {', '.join(map(printable, tables))})"
        require("train" in tables or split in tables, f"{only} has no {split} split")
        table = tables[split if split in tables else "train"]
        part = None if "test" in tables else part_of(len(table), split, held_out, only)
        # the whole of it is decoded into memory before the cache goes
        name = printable(path.resolve().stem)
        return _load(table, name, split=split, size=size, colour=colour, limit=limit, labels=labels, part=part)


def is_saved_dataset(folder: Path) -> bool:
    """Whether the folder was written by `save_to_disk`."""
    names = ("dataset_dict.json", "state.json", "dataset_info.json")
    return any((folder / name).is_file() for name in names)


@contextlib.contextmanager
def _in_one_line(what: str) -> Iterator[None]:
    """The network, the hub and the formats each fail in their own ways; here that is one error of one line."""
    try:
        yield
    except EbbtideError:
        raise
    except Exception as error:
        said = one_line(error.__cause__ or error)  # `datasets` wraps what went wrong into "an error occurred"
        said = said if len(said) <= MOST_SAID else f"{said[:MOST_SAID]} ..."
        raise EbbtideError(f"{what} could not be loaded: {said}") from error


@contextlib.contextmanager
def _silent(datasets: ModuleType) -> Iterator[None]:
    """Without what `datasets` prints beside its errors, and its bars for work that takes no time."""
    level, bars = datasets.logging.get_verbosity(), not datasets.are_progress_bars_disabled()
    datasets.logging.set_verbosity(logging.CRITICAL + 1)
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.logging.set_verbosity(level)
        if bars:
            datasets.enable_progress_bars()


def _check_files(folder: Path) -> None:
    """That all below a folder are files: a pipe among them would be waited for."""
    for place, _, names in os.walk(folder):
        for name in names:
            why_not = why_no_file(Path(place) / name)
            require(why_not is None, f"{folder} holds {printable(name)}: {why_not}")


def _check_promise(path: Path) -> None:
    """That a Parquet file does not promise more rows, or more bytes once unpacked, than it can hold."""
    from pyarrow.parquet import read_metadata

    promise, size = read_metadata(path), path.stat().st_size
    unpacked = sum(promise.row_group(i).total_byte_size for i in range(promise.num_row_groups))
    require(
        promise.num_rows <= size and unpacked <= DEFLATE_LIMIT * size,
        f"{path} promises {promise.num_rows:,} rows of {unpacked:,} bytes, more than {size:,} bytes can hold",
    )


def _load(
    table: Any,
    name: str,
    *,
    split: Split,
    size: Size,
    colour: Colour,
    limit: int | None,
    labels: bool,
    part: Part | None = None,
) -> Dataset:
    datasets = _datasets()
    # offsets of a damaged file may point anywhere, and Arrow would follow them
    table.data.validate(full=True)
    if not len(table):
        raise EbbtideError(f"{name} ({split}) is empty")
    column = _image_column(table.features, name)
    title = name if split == "train" or part else f"{name}/test"
    chosen = spread(len(table), part.enough(limit) if part else limit)
    undecoded = table.select_columns([column]).cast_column(column, datasets.Image(decode=False))

    def sources() -> Iterator[tuple[str, bytes | Path | None]]:
        for i in chosen:
            yield f"{title}[{i}]", _encoded(undecoded[int(i)][column])

    gathered = gather(sources(), len(chosen), size=size, colour=colour, origin=title, part=part).at_most(limit)
    index = chosen[gathered.kept]
    marks, classes = _labels(table, name) if labels else (None, ())
    return Dataset(
        name=name,
        values=gathered.values,
        labels=None if marks is None else marks[index],
        classes=classes,
        names=tuple(f"{title}[{i}]" for i in index),
        skipped=gathered.skipped,
        held_out=gathered.held_out,
    )


def _image_column(features: Any, name: str) -> str:
    for column, feature in features.items():
        # a Parquet file that `datasets` did not write holds the same two fields without the name
        if type(feature).__name__ == "Image" or (isinstance(feature, dict) and {"bytes", "path"} <= feature.keys()):
            return str(column)
    raise EbbtideError(f"{name} has no column of images, only {', '.join(features)}")


def _encoded(cell: dict[str, Any] | None) -> bytes | Path | None:
    if cell is None:
        return None
    if cell["bytes"] is not None:
        return bytes(cell["bytes"])
    return Path(cell["path"]) if cell["path"] else None


def _labels(table: Any, name: str) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """The labels of the whole table, so that the classes do not depend on the limit."""
    for column in LABEL_COLUMNS:
        feature = table.features.get(column)
        names = getattr(feature, "names", None)
        if names is None and "int" not in str(getattr(feature, "dtype", "")):
            continue
        values = table.select_columns([column]).with_format(None)[:][column]
        labels = np.array([NO_LABEL if value is None else value for value in values])
        if names is None:
            return as_classes(labels, name)
        return labels.astype(np.int64), tuple(map(printable, names))
    return None, ()


def _datasets() -> ModuleType:
    try:
        import datasets
    except ImportError as error:
        raise EbbtideError('this needs the package `datasets`; run: pip install "ebbtide[hf]"') from error
    return datasets
