"""Options on the command line, by tyro, and what several commands share."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import tyro
from rich.console import Console
from rich.markup import escape

from ebbtide.errors import require

Options = TypeVar("Options")

screen = Console(highlight=False, soft_wrap=True)
"""Where results are printed; paths are never wrapped, so that they can be copied."""


def parse(
    kind: type[Options], command: str, arguments: Sequence[str], default: Options | None = None, about: str = ""
) -> Options:
    """The command's options; tyro prints help and explains what it cannot read (exit code 2).

    about: added to what the help says at the top.
    """
    extra: dict[str, Any] = {} if default is None else {"default": default}
    if about:
        extra["description"] = f"{kind.__doc__}\n\n{about}"
    return tyro.cli(
        kind,
        prog=f"ebbtide {command}",
        args=list(arguments),
        config=(tyro.conf.HelptextFromCommentsOff,),
        **extra,
    )


def wrote(path: Path, what: str) -> None:
    """Say where something was written."""
    screen.print(f"[green]wrote[/] {what}: {escape(str(path))}")


def check_file(path: Path | None, option: str) -> None:
    """That a file can have this name: known before the work, not after it."""
    require(path is None or not path.is_dir(), f"{option} {path} is a folder: expected the name of a file")


@contextlib.contextmanager
def new_folder(path: Path, overwrite: bool = False) -> Iterator[Path]:
    """A folder for results: new or empty, unless it may be overwritten; removed again if nothing came of it."""
    existed = path.exists()
    require(not existed or path.is_dir(), f"{path} is a file: choose another --out")
    full = existed and any(path.iterdir())
    require(overwrite or not full, f"{path} is not empty: choose another --out, or add --overwrite")
    try:
        yield path
    except BaseException:
        if not existed and path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        raise


def given(options: Any, names: Sequence[str]) -> dict[str, Any]:
    """The named options that are not None."""
    values = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    return {name: values[name] for name in names if values[name] is not None}
