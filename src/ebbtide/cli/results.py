"""Where results go: a folder that takes them and lists them, and nothing of the user's that is lost for them."""

from __future__ import annotations

import contextlib
import itertools
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from ebbtide.cli.options import screen, styled
from ebbtide.errors import require
from ebbtide.files import clear_disk_errors, own_files, remove_own, start_list
from ebbtide.recipes.run_data import RunData


def check_file(path: Path | None, option: str, overwrite: bool) -> None:
    """That a file can have this name, and nothing is lost by it: known before the work, not after it."""
    require(path is None or not path.is_dir(), f"{option} {path} is a folder: expected the name of a file")
    taken = path is not None and path.exists()
    require(overwrite or not taken, f"{option} {path} exists: choose another name, or add --overwrite")


@contextlib.contextmanager
def results_folder(out: Path | None, usual: Path, *, names: str, overwrite: bool) -> Iterator[Path]:
    """A folder for results that lists them, new or empty; if it may be overwritten, what it lists as ours is deleted.

    out: as given; None: `usual`, or with a number behind it the next that is free. names: a pattern of the files that
    may be written. Files of these names that are not ours are never touched: EbbtideError. Where the work fails,
    nothing of it stays.
    """
    path = out or (usual if overwrite else _next_free(usual))
    require(not path.exists() or path.is_dir(), f"{path} is a file: choose another --out")
    existed = path.is_dir()
    held = sorted(path.iterdir()) if existed else []
    require(overwrite or not held, f"{path} is not empty: choose another --out, or add --overwrite")
    ours = own_files(path) if held else set()
    for file in held:
        require(
            file.name in ours or re.fullmatch(names, file.name) is None,
            f"{file} is no file that ebbtide wrote there, or it was changed since: nothing is overwritten; choose "
            "another --out, or move that file away",
        )
    with clear_disk_errors(path):
        try:
            path.mkdir(parents=True, exist_ok=existed)
            remove_own(path)
            start_list(path)
            yield path
        except BaseException:
            if path.is_dir() and existed:
                remove_own(path)
            elif path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            raise


def say_whose(data: RunData) -> None:
    """That a result is about other data than the run's own, if it is."""
    if not data.own:
        screen.print(styled(("note", "yellow"), f" {data.told()}"))


def _next_free(usual: Path) -> Path:
    """The name itself, or with -2, -3, ... behind it the first that nothing has."""
    names = (usual if k == 1 else usual.with_name(f"{usual.name}-{k}") for k in itertools.count(1))
    return next(path for path in names if not path.exists())
