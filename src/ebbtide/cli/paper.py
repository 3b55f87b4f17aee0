"""Words set to the width of the terminal."""

from __future__ import annotations

import shutil
import textwrap

WIDEST, NARROWEST = 110, 50


def width(most: int = WIDEST) -> int:
    """Columns of the terminal, within what reads well."""
    return max(NARROWEST, min(most, shutil.get_terminal_size((80, 24)).columns))


def filled(text: str) -> str:
    """Paragraphs wrapped to the width; lines that begin with spaces are kept, but for what is too long in them."""
    found = []
    for block in text.strip("\n").split("\n\n"):
        if any(line.startswith(" ") for line in block.split("\n")):
            found.append("\n".join(_wrapped_line(line) for line in block.split("\n")))
        else:
            found.append(textwrap.fill(" ".join(block.split()), width(), break_on_hyphens=False))
    return "\n\n".join(found)


def _wrapped_line(line: str) -> str:
    """A line of a list, `  name   what it is`: what is too long goes on under its second column."""
    name, gap, rest = line.rstrip().partition("  ") if not line.startswith(" ") else _columns(line.rstrip())
    begin = name + gap
    return (
        textwrap.fill(
            rest, width(), initial_indent=begin, subsequent_indent=" " * (len(begin) or 2), break_on_hyphens=False
        )
        or begin
    )


def _columns(line: str) -> tuple[str, str, str]:
    stripped = line.lstrip()
    name, gap, rest = stripped.partition("  ")
    spaces = len(rest) - len(rest.lstrip())
    indent = line[: len(line) - len(stripped)]
    return (indent + name, gap + " " * spaces, rest.lstrip()) if gap else (indent, "", stripped)
