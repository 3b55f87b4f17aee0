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
from torch import Tensor

import measure
from ebbtide import degradations
from ebbtide.cli.corrupt import Strip
from ebbtide.degradations import Degradation
from ebbtide.evaluation.figures import png_bytes
from ebbtide.files import write_atomically
from ebbtide.recipes.build import build_data
from ebbtide.recipes.corruptions import CORRUPTIONS
from ebbtide.recipes.recipe import CorruptionRecipe, DataRecipe

BATCH = 64
LEVELS, PIECES = 6, (1500, 4200)
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
    from matplotlib.figure import Figure

    data = build_data(DataRecipe(source="patches", labels=False))
    chosen = data.subset(torch.tensor(PIECES))
    times = [k / (LEVELS - 1) for k in range(LEVELS)]
    figure = Figure(figsize=(1.05 * LEVELS * len(PIECES), 1.02 * len(CORRUPTIONS)), layout="constrained")
    cells = figure.subplots(len(CORRUPTIONS), LEVELS * len(PIECES), squeeze=False)
    for row, name in zip(cells, CORRUPTIONS, strict=True):
        other = "digits" if name == "animorph" else ""
        strip = Strip.of(chosen, CorruptionRecipe(name=name, other=other), len(PIECES), seed=0)
        for column, t in enumerate(times):
            for piece, pixels in enumerate(strip.at(t)):
                cell = row[piece * LEVELS + column]
                cell.imshow(pixels.numpy())
                cell.set(xticks=[], yticks=[])
                if name == next(iter(CORRUPTIONS)):
                    cell.set_title(f"t={t:.1f}", fontsize=9)
        row[0].set_ylabel(name, fontsize=9, rotation=0, ha="right", va="center")
    return write_atomically(path, png_bytes(figure))


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
