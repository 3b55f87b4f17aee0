"""Thousands of pictures decoded at once; the few that are broken are left out, and named."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np

from ebbtide.data.colour import Colour, is_grey, recolour
from ebbtide.data.dataset import spread
from ebbtide.data.held_out import Part, content_of
from ebbtide.data.images import Size, decode, height_and_width
from ebbtide.data.memory import allocate
from ebbtide.errors import EbbtideError

Item = TypeVar("Item")
CHUNK = 256
QUIET_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Gathered:
    """values: uint8 (kept, height, width, 1 or 3); kept: which of the sources these are; skipped: "name: reason".

    held_out: the share of the source that is kept aside to test with; 0 if none is.
    """

    values: np.ndarray
    kept: np.ndarray
    skipped: tuple[str, ...]
    held_out: float = 0.0

    def at_most(self, limit: int | None) -> Gathered:
        """No more than `limit` of them, spread evenly."""
        some = spread(len(self.kept), limit)
        if len(some) == len(self.kept):
            return self
        return replace(self, values=self.values[some], kept=self.kept[some])


def gather(
    sources: Iterable[tuple[str, Path | bytes | None]],
    total: int,
    *,
    size: Size,
    colour: Colour,
    origin: str,
    part: Part | None = None,
) -> Gathered:
    """Decode `total` pictures, each given by its name and its file or its bytes (None: it has no picture).

    colour "auto" gives one channel if every picture is grey, else three. origin is where they come from, for messages.
    part: only those that belong to it; the others are not decoded. Raises EbbtideError if not one can be read.
    """
    values = allocate((total, *height_and_width(size), 3))
    kept: list[int] = []
    skipped: list[str] = []
    others = 0
    for i, (name, picture) in enumerate(_progress(_decoded(sources, size, part), total, f"reading {origin}")):
        if picture is None:
            others += 1
            continue
        if isinstance(picture, str):
            skipped.append(f"{name}: {picture}")
            continue
        values[len(kept)] = picture
        kept.append(i)
    if not kept and others:
        raise EbbtideError(f"{origin}: none of {total} images belongs to the split that is asked for (data.held_out)")
    if not kept:
        raise EbbtideError(f"{origin}: none of {total} images could be read; the first is {skipped[0]}")
    values = values[: len(kept)]
    if colour == "auto":
        colour = "grey" if is_grey(values) else "rgb"
    held_out = 0.0 if part is None or (part.split == "train" and not others) else part.share
    return Gathered(values=recolour(values, colour), kept=np.array(kept), skipped=tuple(skipped), held_out=held_out)


def _decoded(
    sources: Iterable[tuple[str, Path | bytes | None]], size: Size, part: Part | None
) -> Iterator[tuple[str, np.ndarray | str | None]]:
    """Each name with its picture, or with the reason why there is none, in the order of the sources; None: it belongs
    to another part."""

    def one(source: tuple[str, Path | bytes | None]) -> tuple[str, np.ndarray | str | None]:
        name, data = source
        try:
            if data is None:
                return name, "it holds no picture"
            if part is not None and not part.holds(content_of(data)):
                return name, None
            return name, decode(data, size)
        except EbbtideError as error:
            return name, str(error)

    left = iter(sources)
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        # by chunks, so that a million files are neither queued nor held at once
        while chunk := list(islice(left, CHUNK)):
            yield from pool.map(one, chunk)


def _progress(items: Iterator[Item], total: int, title: str) -> Iterator[Item]:
    """The items; a bar on the terminal's standard error shows how far they are, once a second has gone by."""
    if not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import Progress

    started = time.monotonic()
    bar = Progress(console=Console(stderr=True), transient=True)
    task = bar.add_task(title, total=total)
    shown = False
    try:
        for item in items:
            if not shown and time.monotonic() - started > QUIET_SECONDS:
                bar.start()
                shown = True
            bar.advance(task)
            yield item
    finally:
        if shown:
            bar.stop()
