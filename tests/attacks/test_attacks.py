"""Files made to do harm, given to every door that they could come in by (make.py makes them)."""

from __future__ import annotations

import contextlib
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ebbtide.data import load
from ebbtide.data.folder import SUFFIXES
from ebbtide.errors import EbbtideError
from entry_points import DATA, PICTURES, as_picture_to_restore

HERE = Path(__file__).parent
PICTURE_FILES = sorted((HERE / "pictures").iterdir())
DATA_FILES = sorted(path for kind in ("arrays", "idx", "tables") for path in (HERE / kind).iterdir())
SECONDS = 20
ROOM = 2**30
"""Bytes beyond what the process has that one file may ask for."""
STATM = Path("/proc/self/statm")


@contextlib.contextmanager
def little_room() -> Iterator[None]:
    """With so little address space to spare that what a lie promises cannot be had."""
    if not STATM.is_file():
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    now = int(STATM.read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + ROOM, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def said_of(path: Path, doors: tuple[Callable[[Path], None], ...]) -> list[str]:
    """What each door says of the file: nothing if it can be read."""
    said = []
    for door in doors:
        started = time.monotonic()
        try:
            with little_room():
                door(path)
            said.append("")
        except EbbtideError as error:
            said.append(str(error))
        assert time.monotonic() - started < SECONDS
    return said


def check(said: list[str]) -> None:
    assert not [line for line in said if "\n" in line or "MemoryError" in line or len(line) > 1000]


@pytest.fixture(scope="module", autouse=True)
def _ready() -> None:
    """What is imported or trained when it is first needed takes its room before."""
    with contextlib.suppress(EbbtideError):
        as_picture_to_restore(HERE / "nothing")
    pytest.importorskip("datasets")


@pytest.mark.parametrize("path", PICTURE_FILES, ids=lambda path: path.name)
def test_a_hostile_picture_is_one_line_or_a_picture(path, capfd):
    check(said_of(path, PICTURES))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("path", DATA_FILES, ids=lambda path: path.name)
def test_a_hostile_data_file_is_one_line_or_data(path, capfd):
    said = said_of(path, DATA)
    check(said)
    assert capfd.readouterr() == ("", "")
    if path.name.split("-")[0] not in ("spoilt", "large", "far"):
        assert all(said), "it was taken for sound"


def test_a_folder_of_hostile_pictures_gives_what_can_be_read_and_names_the_rest():
    folder = HERE / "pictures"
    with little_room():
        dataset = load(str(folder), size=8, held_out=0.0)
    named = {note.split(": ")[0] for note in dataset.skipped}
    assert named | set(dataset.names) == {path.name for path in PICTURE_FILES if path.suffix in SUFFIXES}
    for name in ("bomb.png", "bomb.gif", "bomb.tif", "promise.ppm", "postscript.png", "cut.jpg", "nan.tif"):
        assert name in named
    check(list(dataset.skipped))


def test_the_files_are_small():
    sizes = [path.stat().st_size for path in (*PICTURE_FILES, *DATA_FILES)]
    assert max(sizes) < 25_000
    assert sum(sizes) < 200_000
