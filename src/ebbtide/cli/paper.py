"""Words set to the width of the terminal."""

from __future__ import annotations

import re
import shutil
import textwrap

WIDEST, NARROWEST = 110, 50
FIRST_COLUMN = re.compile(r"^( *(?:\S.*? {2,})?)")


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
    _, begin, rest = re.split(FIRST_COLUMN, line.rstrip(), maxsplit=1)
    under = " " * (len(begin) or 2)
    return textwrap.fill(rest, width(), initial_indent=begin, subsequent_indent=under, break_on_hyphens=False) or begin
