"""Put the tables of the last benchmark runs into README.md and the pages of docs/, between their markers.

    python benchmarks/publish.py

A table goes where <!-- NAME:begin --> and <!-- NAME:end --> stand; benchmarks leave theirs in runs/benchmarks/NAME.md.
There each kind of processor has a table of its own: a new one takes the place of its own kind's, or comes first.
"""

from __future__ import annotations

import re
from pathlib import Path

import measure

PAGES = (
    Path("README.md"),
    *(
        Path("docs") / f"{name}.md"
        for name in ("speed", "objectives", "evaluation", "samplers", "corruptions", "reliability")
    ),
)
PROCESSOR = re.compile(r"\((?P<name>[^,(]*(?:\([^)]*\)[^,(]*)*), \d+ threads, ")
"""In a table's first line."""
MARKED = re.compile(r"(<!-- (?P<name>[\w-]+):begin -->\n)(?P<old>.*?)(<!-- (?P=name):end -->)", re.DOTALL)


def tables(text: str) -> list[str]:
    """The tables between two markers, each with its title."""
    return [part for part in re.split(r"^(?=\*)", text, flags=re.MULTILINE) if part.strip()]


def processor_of(table: str) -> str:
    """What a table was measured on, by its title."""
    found = PROCESSOR.search(table.split("\n", 1)[0])
    if found is None:
        raise ValueError(f"a table without a processor: {table[:80]!r}")
    return found["name"]


def filled(page: str) -> str:
    """The page with every table that there is; the others stay."""

    def table(found: re.Match[str]) -> str:
        file = measure.RESULTS / f"{found['name']}.md"
        if not file.is_file():
            return found[0]
        print(f"{found['name']}: from {file}")
        new = file.read_text()
        others = [old for old in tables(found["old"]) if processor_of(old) != processor_of(new)]
        return found[1] + "\n".join([new, *others]) + found[4]

    return MARKED.sub(table, page)


def main() -> None:
    for path in PAGES:
        path.write_text(filled(path.read_text()))


if __name__ == "__main__":
    main()
