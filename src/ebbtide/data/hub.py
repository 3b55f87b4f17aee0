"""Image datasets of Hugging Face `datasets`: from the hub, from save_to_disk, or from a Parquet file."""

from __future__ import annotations

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
from ebbtide.errors import EbbtideError

LABEL_COLUMNS = ("label", "labels", "fine_label")
Split = Literal["train", "test"]


def load_hub(
    name: str, *, split: Split = "train", size: int = 32, colour: Colour = "auto", limit: int | None = None
) -> Dataset:
    """A dataset of the hub, NAME or NAME:CONFIG, as uint8 (n, size, size, 1 or 3); kept in the cache of `datasets`.

    Raises EbbtideError if `datasets` is not installed, or the dataset, the split or an image column is not there.
    """
    datasets = _datasets()
    path, _, config = name.partition(":")
    try:
        table = datasets.load_dataset(path, config or None, split=split)
    except Exception as error:  # the network, the hub and the format each fail in their own ways
        raise EbbtideError(f"hf:{name} ({split}) could not be loaded: {_one_line(error)}") from error
    return _load(table, name, split=split, size=size, colour=colour, limit=limit)


def load_hub_path(
    path: Path | str, *, split: Split = "train", size: int = 32, colour: Colour = "auto", limit: int | None = None
) -> Dataset:
    """A folder written by `save_to_disk`, or a Parquet file, as uint8 (n, size, size, 1 or 3).

    What holds no splits is all "train". Raises EbbtideError as load_hub does.
    """
    datasets, path = _datasets(), Path(path)
    with tempfile.TemporaryDirectory() as cache:
        try:
            if path.is_dir():
                table = datasets.load_from_disk(str(path))
            else:
                table = datasets.Dataset.from_parquet(str(path), cache_dir=cache)
        except Exception as error:  # as above
            raise EbbtideError(f"{path} could not be loaded: {_one_line(error)}") from error
        tables = table if isinstance(table, dict) else {"train": table}
        if split not in tables:
            raise EbbtideError(f"{path} has no {split} split, only {', '.join(tables)}")
        # the whole of it is decoded into memory before the cache goes
        return _load(tables[split], path.resolve().stem, split=split, size=size, colour=colour, limit=limit)


def is_saved_dataset(folder: Path) -> bool:
    """Whether the folder was written by `save_to_disk`."""
    names = ("dataset_dict.json", "state.json", "dataset_info.json")
    return any((folder / name).is_file() for name in names)


def _load(table: Any, name: str, *, split: Split, size: int, colour: Colour, limit: int | None) -> Dataset:
    datasets = _datasets()
    if not len(table):
        raise EbbtideError(f"{name} ({split}) is empty")
    column = _image_column(table.features, name)
    title = name if split == "train" else f"{name}/test"
    chosen = spread(len(table), limit)
    undecoded = table.select_columns([column]).cast_column(column, datasets.Image(decode=False))

    def sources() -> Iterator[tuple[str, bytes | Path | None]]:
        for i in chosen:
            yield f"{title}[{i}]", _encoded(undecoded[int(i)][column])

    gathered = gather(sources(), len(chosen), size=size, colour=colour, origin=title)
    index = chosen[gathered.kept]
    labels, classes = _labels(table)
    return Dataset(
        name=name,
        values=gathered.values,
        labels=None if labels is None else labels[index],
        classes=classes,
        names=tuple(f"{title}[{i}]" for i in index),
        skipped=gathered.skipped,
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


def _labels(table: Any) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """The labels of the whole table, so that the classes do not depend on the limit."""
    for column in LABEL_COLUMNS:
        feature = table.features.get(column)
        names = getattr(feature, "names", None)
        if names is None and "int" not in str(getattr(feature, "dtype", "")):
            continue
        values = table.select_columns([column]).with_format(None)[:][column]
        labels = np.array([NO_LABEL if value is None else value for value in values], np.int64)
        return labels, tuple(names or (str(k) for k in range(int(labels.max()) + 1)))
    return None, ()


def _datasets() -> ModuleType:
    try:
        import datasets
    except ImportError as error:
        raise EbbtideError('this needs the package `datasets`; run: pip install "ebbtide[hf]"') from error
    return datasets


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
