"""How like their originals restored pictures are, as a table and a section of the report; from RUN/restoration.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ebbtide.evaluation.page import section_of, sentence, table
from ebbtide.evaluation.quality import words_of

LIKENESS = {"psnr": "PSNR, dB", "ssim": "SSIM", "frechet": "Fréchet distance"}


def likeness_rows(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Name of the set, then its likenesses; none where one could not be measured."""
    return [
        (str(row["name"]), *("too small for it" if row[key] is None else words_of(key, row[key]) for key in LIKENESS))
        for row in found["rows"]
    ]


def told(found: Mapping[str, Any]) -> str:
    """What was measured, in a sentence."""
    labels = ", told their labels," if found.get("labels") else ""
    return (
        f"{found['count']:,} pictures of {found['of']}, worn to t = {found['level']:.3g} and restored by "
        f"{found['sampler']}{labels} in {found['steps']} steps; Fréchet distance to the training pictures, in the "
        f"features of {found['features']}."
    )


def restoration_section(run: Path) -> str:
    """The table; nothing where no restoration was measured."""
    return section_of(run / "restoration.json", "Restoring", _restoration)


def _restoration(found: Mapping[str, Any]) -> list[str]:
    shown = {row[0]: dict(zip(LIKENESS.values(), row[1:], strict=True)) for row in likeness_rows(found)}
    return [sentence(told(found)), table(shown)]
