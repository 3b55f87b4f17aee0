"""How pictures are worn away, and how fast: every corruption at six levels, and images/s of every degradation.

    python benchmarks/degradations.py [--rounds 9]

The picture goes to docs/pictures. Speeds: drawing included, each picture at a t of its own, batches of 64. A way
should be ten times as fast as the training that it feeds.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

import measure
from ebbtide import degradations
from ebbtide.cli.corrupt import Strip
from ebbtide.degradations import Degradation
from ebbtide.evaluation.pictures import BACKGROUND, CAPTION_SIZE, GAP, film_strip, save_png
from ebbtide.recipes.build import build_data
from ebbtide.recipes.corruptions import CORRUPTIONS
from ebbtide.recipes.recipe import CorruptionRecipe, DataRecipe

BATCH = 64
LEVELS, PIECES = 6, (1500, 4200)
NAMES = 120
"""Pixels that the names take."""
SHAPES = {
    "28x28, grey": (BATCH, 1, 28, 28),
    "32x32, colour": (BATCH, 3, 32, 32),
    "256x256, colour": (BATCH, 3, 256, 256),
}
LARGE = "256x256, colour"
AT_LARGE = ("Snow",)
"""Which are measured on large pictures too: snow is made for them."""


def ways(shape: tuple[int, ...]) -> dict[str, Degradation]:
    """Every degradation of the library at its defaults, for pictures of this shape."""
    bank = torch.rand(256, *shape[1:]) if shape[-1] < 256 else torch.rand(1, *shape[1:])
    return {
        "GaussianBlur": degradations.GaussianBlur(),
        "RepeatedBlur": degradations.RepeatedBlur(),
        "MotionBlur": degradations.MotionBlur(),
        "Pixelate": degradations.Pixelate(),
        "GrowingMask": degradations.GrowingMask(),
        "Snow": degradations.Snow(),
        "Fade": degradations.Fade(),
        "Animorph": degradations.Animorph(partial(torch.index_select, bank, 0), len(bank)),
        "Posterise": degradations.Posterise(),
        "Jpeg": degradations.Jpeg(),
    }


def once(degradation: Degradation, x0: Tensor, t: Tensor, generator: torch.Generator) -> Tensor:
    """What a training step asks for."""
    return degradation(x0, t, degradation.draw(x0.shape, generator))


def speeds(shape: tuple[int, ...], rounds: int, names: tuple[str, ...] | None) -> dict[str, measure.Spread]:
    """Images/s of each at this shape."""
    generator = torch.Generator().manual_seed(0)
    x0, t = torch.rand(shape, generator=generator), torch.rand(shape[0], generator=generator, dtype=torch.float64)
    works: dict[str, Callable[[], object]] = {
        name: partial(once, way, x0, t, generator)
        for name, way in ways(shape).items()
        if names is None or name in names
    }
    found = measure.interleaved(works, rounds, times=5 if names is None else 1)
    return {name: measure.Spread.of([shape[0] / second for second in seconds]) for name, seconds in found.items()}


def picture(path: Path) -> Path:
    """One piece of each photograph under every corruption, worn away from left to right."""
    data = build_data(DataRecipe(source="patches", labels=False))
    chosen = data.subset(torch.tensor(PIECES))
    times = [k / (LEVELS - 1) for k in range(LEVELS)] * len(PIECES)
    rows = []
    for name in CORRUPTIONS:
        other = "digits" if name == "animorph" else ""
        strip = Strip.of(chosen, CorruptionRecipe(name=name, other=other), len(PIECES), seed=0)
        moments = [strip.at(t) for t in times[:LEVELS]]
        frames = [moment[piece : piece + 1] for piece in range(len(PIECES)) for moment in moments]
        captions = [f"t={t:.1f}" for t in times] if not rows else None
        rows.append(film_strip(frames, captions, enlarge=2))
    sheet = Image.new("RGB", (NAMES + rows[0].width, sum(row.height + GAP for row in rows)), (BACKGROUND,) * 3)
    draw, font, top = ImageDraw.Draw(sheet), ImageFont.load_default(size=CAPTION_SIZE), 0
    for name, row in zip(CORRUPTIONS, rows, strict=True):
        sheet.paste(row, (NAMES, top))
        top += row.height + GAP
        draw.text((NAMES - 2 * GAP, top - GAP - 32), name, fill=0, font=font, anchor="rm")
    return save_png(sheet, path)


def main() -> None:
    options = measure.options(__doc__, ("--rounds", {"type": int, "default": 9}))
    print(f"wrote {picture(Path('docs/pictures/degradations.png'))}")
    results: dict[str, dict[str, Any]] = {
        size: speeds(shape, options.rounds, AT_LARGE if size == LARGE else None) for size, shape in SHAPES.items()
    }
    rows = [
        (name, *(found[name].words(0) if name in found else "" for found in results.values()))
        for name in ways((1, 1, 2, 2))
    ]
    heads = ("images/s", *SHAPES)
    measure.show("degradations", f"Wearing pictures away, batches of {BATCH}", heads, rows)
    measure.save("degradations", {"batch": BATCH, "images per second": results})


if __name__ == "__main__":
    main()
