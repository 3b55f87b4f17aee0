"""Options on the command line, by tyro, and what several commands share."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar, cast

import tyro
from rich.console import Console
from rich.text import Text

from ebbtide.cli.standard_output import StandardOutput
from ebbtide.errors import EbbtideError, printable, require

Options = TypeVar("Options")


class Screen(Console):
    """Prints text as it is: names and paths hold no markup, and nothing in them commands the terminal."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(_lines(text), **(options | {"markup": False, "emoji": False}))


output = StandardOutput()
screen = Screen(file=cast(IO[str], output), highlight=False, soft_wrap=True, quiet=os.environ.get("RANK", "0") != "0")
"""Where results are printed, by the first process only; paths are never wrapped, so that they can be copied."""


def styled(*parts: str | tuple[str, str]) -> Text:
    """Text of which some parts have a style: (text, style)."""
    return Text.assemble(*(_lines(part) if isinstance(part, str) else (_lines(part[0]), part[1]) for part in parts))


def _lines(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))


FRAMES = str.maketrans(dict.fromkeys("╭╮╰╯│─├┤", " "))


def parse(
    kind: type[Options],
    command: str,
    arguments: Sequence[str],
    default: Options | None = None,
    about: str = "",
    renamed: Mapping[str, str] | None = None,
) -> Options:
    """The command's options, read by tyro. What it cannot read is an EbbtideError, one line like all others.

    about: added to what the help says at the top. renamed: the new names of options that were called otherwise before.
    """
    for argument in arguments:
        old = argument.split("=", 1)[0].replace("_", "-")
        require(old not in (renamed or {}), f"{old} came, which is now called {(renamed or {}).get(old)}")
    extra: dict[str, Any] = {} if default is None else {"default": default}
    if about:
        extra["description"] = f"{kind.__doc__}\n\n{about}"
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(
                kind,
                prog=f"ebbtide {command}",
                args=list(arguments),
                config=(tyro.conf.HelptextFromCommentsOff,),
                **extra,
            )
    except SystemExit as left:
        if not left.code:
            raise
        words = complaint.getvalue().translate(FRAMES).split()
        raise EbbtideError(" ".join(words)) from None


def wrote(path: Path, what: str) -> None:
    """Say where something was written."""
    screen.print(styled(("wrote", "green"), f" {what}: {path}"))


def given(options: Any, names: Sequence[str]) -> dict[str, Any]:
    """The named options that are not None."""
    values = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    return {name: values[name] for name in names if values[name] is not None}
