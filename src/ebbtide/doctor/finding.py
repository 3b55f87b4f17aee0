"""What a check found: a verdict, a plain sentence with its number, and whether it would explain other findings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["fine", "note", "wrong"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """check: what was looked at, "data: range". cause: where wrong, the name of a fault that others may follow from."""

    check: str
    verdict: Verdict
    text: str
    cause: str | None = None


@dataclass(frozen=True)
class Progress:
    """What is being done, and how much of it; total None: nobody knows."""

    what: str
    done: int = 0
    total: int | None = None


def fine(check: str, text: str) -> Finding:
    """Nothing to mend."""
    return Finding(check=check, verdict="fine", text=text)


def note(check: str, text: str) -> Finding:
    """Worth knowing; may be as it should."""
    return Finding(check=check, verdict="note", text=text)


def wrong(check: str, text: str, cause: str | None = None) -> Finding:
    """To be mended."""
    return Finding(check=check, verdict="wrong", text=text, cause=cause)


def in_order(findings: list[Finding]) -> list[Finding]:
    """Causes first, then what else is wrong, notes, and what is fine; each in the order in which it was found."""
    rank = {"wrong": 1, "note": 2, "fine": 3}
    return sorted(findings, key=lambda finding: 0 if finding.cause else rank[finding.verdict])


def shown(names: tuple[str, ...] | list[str], most: int = 4) -> str:
    """A few names, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
