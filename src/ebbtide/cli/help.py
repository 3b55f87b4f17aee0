"""What `ebbtide COMMAND --help` and `--help-all` print: as wide as the terminal, and the first on about a page."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import MISSING

from ebbtide.cli.fields import Option
from ebbtide.cli.paper import filled, width
from ebbtide.data.images import Size

INDENT = 28
MOST = 12
"""Choices that are listed; of more the explanation says where they are."""
SHORT, ALL = ("-h", "--help"), ("--help-all",)


def help_text(usage: str, about: str, options: Sequence[Option], more: str = "", everything: bool = False) -> str:
    """usage: what follows `usage: ebbtide`. about: paragraphs; lines that are indented stay as they are.

    more: what only --help-all says. Options of parts (--training.batch) are in --help-all only.
    """
    parts = [f"usage: ebbtide {usage}", filled(about)]
    shown = [option for option in options if everything or not option.nested]
    places = [option for option in shown if option.positional]
    if places:
        parts.append("\n".join(line for option in places for line in _entry(option)))
    sections: dict[str, list[Option]] = {}
    for option in shown:
        if not option.positional:
            title = f"{'.'.join(option.path[1:-1])} options" if option.nested and len(option.path) > 2 else "options"
            sections.setdefault(title, []).append(option)
    for title, group in sections.items():
        parts.append("\n".join([f"{title.strip()}:", *(line for option in group for line in _entry(option))]))
    left = len(options) - len(shown)
    if left:
        parts.append(f"--help-all explains {left} more options: every field of the recipe")
    if everything and more:
        parts.append(filled(more))
    return "\n\n".join(parts)


def _entry(option: Option) -> Iterator[str]:
    """An option and what it is, side by side."""
    names = option_names(option)
    text = " ".join(part for part in (option.about, _told(option)) if part)
    lines = textwrap.wrap(text, width() - INDENT, break_on_hyphens=False) or [""]
    if len(names) > INDENT - 4:
        yield f"  {names}"
    else:
        yield f"  {names:{INDENT - 2}}{lines.pop(0)}".rstrip()
    yield from (" " * INDENT + line for line in lines)


def option_names(option: Option) -> str:
    """As they are written in the help, with a word for the value."""
    if option.positional:
        words = f"{option.name} ..." if option.many else option.name
        return words if option.default is MISSING else f"[{words}]"
    if option.switch:
        return ", ".join(option.names) if option.default is True else option.name
    value = {int: "N", float: "X", Size: "N|HxW"}.get(option.kind, option.path[-1].upper().split("_")[-1])
    return f"{', '.join(option.names)} {value}" + (" ..." if option.many else "")


def _told(option: Option) -> str:
    """The choices and the default, as far as the explanation does not tell them."""
    told = len(option.choices) > MOST or all(word in option.about for word in option.choices)
    choices = "" if told else f"One of {', '.join(option.choices)}."
    default = _plain(option)
    return " ".join(part for part in (choices, f"(default: {default})" if default else "") if part)


def _plain(option: Option) -> str:
    value = option.default
    if value is MISSING or value is None or isinstance(value, bool):
        return ""
    if option.kind == Size and isinstance(value, tuple):
        return "x".join(map(str, value))
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
