"""The options of a command, and what several commands share."""

from __future__ import annotations

import dataclasses
import inspect
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar, cast

from rich.console import Console
from rich.text import Text

from ebbtide.cli.fields import made, options_of
from ebbtide.cli.help import ALL, SHORT, help_text, option_names
from ebbtide.cli.parsing import read
from ebbtide.cli.standard_output import StandardOutput
from ebbtide.errors import EbbtideError, printable

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


def parse(
    kind: type[Options],
    command: str,
    arguments: Sequence[str],
    default: Options | None = None,
    *,
    about: str = "",
    more: str = "",
    target: str = "",
    renamed: Mapping[str, str] | None = None,
) -> Options:
    """The command's options. What cannot be read is an EbbtideError; where help is asked for, it is printed instead.

    default: an instance, whose values are the defaults. about: added to what the help says at the top, more: what only
    --help-all says. target: what was read before the options. renamed: the new names of options that were called
    otherwise before.
    """
    options = tuple(options_of(kind, default))
    asked = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if any(word in asked for word in (*SHORT, *ALL)):
        places = [target, *(option_names(option) for option in options if option.positional)]
        usage = " ".join(word for word in (command, *places, "[options]") if word)
        whole = f"{inspect.cleandoc(kind.__doc__ or '')}\n\n{about}"
        print(help_text(usage, whole, options, more, everything=any(word in asked for word in ALL)))
        raise SystemExit(0)
    try:
        return cast(Options, made(kind, read(options, arguments, renamed or {}), default))
    except EbbtideError as error:
        raise EbbtideError(f"{error} All options: ebbtide {command} --help") from None


def wrote(path: Path, what: str) -> None:
    """Say where something was written."""
    screen.print(styled(("wrote", "green"), f" {what}: {path}"))


def given(options: Any, names: Sequence[str]) -> dict[str, Any]:
    """The named options that are not None."""
    values = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    return {name: values[name] for name in names if values[name] is not None}
