"""Put the tables of the last benchmark runs into README.md and the pages of docs/, between their markers.

    python benchmarks/publish.py

A table goes where <!-- NAME:begin --> and <!-- NAME:end --> stand; benchmarks leave theirs in runs/benchmarks/NAME.md.
"""

from __future__ import annotations

import re
from pathlib import Path

import measure

PAGES = (
    Path("README.md"),
    *(Path("docs") / f"{name}.md" for name in ("speed", "objectives", "evaluation", "samplers", "corruptions")),
)
MARKED = re.compile(r"(<!-- (?P<name>[\w-]+):begin -->\n).*?(<!-- (?P=name):end -->)", re.DOTALL)


def filled(page: str) -> str:
    """The page with every table that there is; the others stay."""

    def table(found: re.Match[str]) -> str:
        file = measure.RESULTS / f"{found['name']}.md"
        if not file.is_file():
            return found[0]
        print(f"{found['name']}: from {file}")
        return found[1] + file.read_text() + found[3]

    return MARKED.sub(table, page)


def main() -> None:
    for path in PAGES:
        path.write_text(filled(path.read_text()))


if __name__ == "__main__":
    main()
