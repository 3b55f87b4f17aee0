"""ebbtide corrupt: what a corruption does to pictures, without any model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from ebbtide.cli.fields import Positional
from ebbtide.cli.options import parse, screen, wrote
from ebbtide.cli.results import results_folder
from ebbtide.corruptions import Corruption
from ebbtide.data import Dataset
from ebbtide.data.dataset import spread
from ebbtide.data.images import Size
from ebbtide.data.pictures import is_picture_file, load_pictures
from ebbtide.data.source import BUILT_IN, path_of
from ebbtide.errors import EbbtideError, require
from ebbtide.evaluation.pictures import film_strip, picture_grid, save_gif, save_png
from ebbtide.randomness import SampleGenerators
from ebbtide.recipes.build import build_data
from ebbtide.recipes.corruptions import GAUSSIAN, build_corruption, check_corruption, corruptions_in_words
from ebbtide.recipes.recipe import CorruptionRecipe, DataRecipe, Recipe
from ebbtide.times import nearest

FILM_MOMENTS = 40
MOST = 100
"""Pictures, and levels: a sheet of more cannot be looked at."""
RENAMED = {"--steps": "--corruption-steps"}


@dataclass(frozen=True)
class CorruptOptions:
    """Draw a film strip of pictures that are worn away step by step. No model is needed."""

    sources: Positional[tuple[str, ...]]
    """Picture files, which keep their shape (of several, the first one's; 256 pixels at most), or one set of them:
    digits, patches, a folder of images or IDX files, an .npy, .npz or IDX file, hf:NAME."""
    corruption: str = "blur"
    """By name (the list is above); degradations can be joined: blur+snow."""
    out: Path | None = None
    """The folder to write to; None: corrupted-NAME, or with -2, -3, ... behind it the next that is free."""
    examples: int = 6
    """How many pictures of a set."""
    levels: int = 6
    """At how many levels from t = 0 to t = 1."""
    size: Size | None = None
    """Height and width in pixels, 32 or 32x48; None: as the data is (folders of images: 32)."""
    other: str = ""
    """animorph: the pictures that the others turn into, a set; if none is named, patches."""
    seed: int = 0
    """Of what is random."""
    gif: bool = False
    """Also a film."""
    overwrite: bool = False
    """Write into a folder that is not empty: what ebbtide wrote there is replaced, other files are left alone."""
    corruption_steps: int = 100
    """naive: T."""
    share: float = 0.05
    """naive: the share of all pixels that each step sets to black or white."""
    by: Literal["pixel", "channel"] = "pixel"
    """naive, naive-pixelwise: whether a step hits pixels or, in colour, each channel on its own."""


def corrupt(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    options = parse(CorruptOptions, "corrupt", arguments, about=corruptions_in_words(), renamed=RENAMED)
    for name, count, least in (("examples", options.examples, 1), ("levels", options.levels, 2)):
        require(least <= count <= MOST, f"--{name} {count} came, expected at least {least}, and at most {MOST}")
    require(options.seed >= 0, f"--seed {options.seed} came, expected at least 0")
    chosen = CorruptionRecipe(
        name=options.corruption, other=options.other, steps=options.corruption_steps, share=options.share, by=options.by
    )
    check_corruption(chosen)
    data = _pictures(options)
    strip = Strip.of(data, chosen, max(options.examples, len(options.sources)), options.seed)
    times = torch.linspace(0, 1, options.levels, dtype=torch.float64)
    frames = [strip.at(float(t)) for t in times]
    usual = Path(f"corrupted-{options.corruption}")
    with results_folder(options.out, usual, names=r"strip\.png|film\.gif", overwrite=options.overwrite) as out:
        captions = [f"t={float(t):.2g}" for t in times]
        wrote(save_png(film_strip(frames, captions), out / "strip.png"), "film strip")
        if options.gif:
            moments = torch.linspace(0, 1, FILM_MOMENTS, dtype=torch.float64)
            sheets = [picture_grid(strip.at(float(t))) for t in moments]
            wrote(save_gif(sheets, out / "film.gif"), "film")
    if options.corruption == GAUSSIAN:
        screen.print(f"noise by a new run's schedule ({Recipe().schedule.name}); pixels are cut off at black and white")
    return 0


def _pictures(options: CorruptOptions) -> Dataset:
    """The files that were named, or the one set of pictures."""
    files = [source not in BUILT_IN and is_picture_file(path_of(source)) for source in options.sources]
    if all(files):
        require(len(files) <= MOST, f"{len(files)} pictures came, expected at most {MOST}")
        return load_pictures([path_of(source) for source in options.sources], options.size)
    if len(files) > 1:
        other = next(source for source, is_file in zip(options.sources, files, strict=True) if not is_file)
        raise EbbtideError(f"several sources came, and {other!r} is no picture file: name picture files, or one set")
    (source,) = options.sources
    data = build_data(DataRecipe(source=source, size=options.size, labels=False, held_out=0.0))
    require(data.is_image, f"{source} holds points: only pictures can be shown worn away")
    return data


@dataclass(frozen=True)
class Strip:
    """Some pictures, and what wears them away; the same chance at every level, so that each takes one way."""

    data: Dataset
    x0: torch.Tensor
    corruption: Corruption
    seed: int

    @classmethod
    def of(cls, data: Dataset, corruption: CorruptionRecipe, examples: int, seed: int) -> Strip:
        """Examples spread over the data."""
        x0 = data.batch(spread(len(data), min(examples, len(data)))).x0
        limits = (data.range.low, data.range.high)
        return cls(data, x0, build_corruption(Recipe(corruption=corruption), data.event_shape, limits), seed)

    def at(self, t: float) -> torch.Tensor:
        """The pictures at t, uint8."""
        time = nearest(self.corruption, torch.full((len(self.x0),), t, dtype=torch.float64))
        generators = SampleGenerators.of(self.seed, range(len(self.x0)))
        xt = self.corruption.corrupt(self.x0, time, generators).xt
        return self.data.range.decode(xt).permute(0, 2, 3, 1).contiguous()
