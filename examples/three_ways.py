"""The lecture's own picture: digits worn away and brought back in three ways.

    python examples/three_ways.py [--data FOLDER] [--updates 1500] [--out three-ways]

Naive diffusion 1 (each step sets a few pixels to black or white; the network says what was there a step before),
naive diffusion 2 (one more pixel a step; the network says what was there at first, less and less of which is corrupted
again), and Gaussian noise. For each: the way forward of three pictures, and the way back to three new ones. Writes
OUT/three-ways.png; the runs stay beside it, and are not trained again. A few minutes on two cores.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from rich.progress import track

from ebbtide.errors import EbbtideError
from ebbtide.evaluation.figures import evenly
from ebbtide.evaluation.pictures import film_strip, save_png
from ebbtide.randomness import SampleGenerators
from ebbtide.recipes.draw import draw
from ebbtide.recipes.presets import PRESETS
from ebbtide.recipes.recipe import Recipe
from ebbtide.recipes.run import Run, open_run
from ebbtide.recipes.run_data import data_of
from ebbtide.recipes.train import train
from ebbtide.times import nearest
from ebbtide.training import Update

PICTURES, MOMENTS = 3, 6
WAYS = {"naive 1": "naive", "naive 2": "naive-pixelwise", "Gaussian": "digits"}


def recipe_of(preset: str, source: str, updates: int) -> Recipe:
    """The preset for these data and this many updates, without labels."""
    recipe = PRESETS[preset].recipe
    return replace(
        recipe,
        data=replace(recipe.data, source=source, labels=False),
        training=replace(recipe.training, updates=updates, minutes=None, pictures=0),
    )


def trained(preset: str, recipe: Recipe, out: Path) -> Run:
    """The run, trained unless it is there."""
    if not (out / "pictures" / "final.png").is_file():
        updates = (found for found in train(recipe, out) if isinstance(found, Update))
        for _ in track(updates, preset, total=recipe.training.updates):
            pass
    return open_run(out)


def forward(run: Run) -> Iterator[torch.Tensor]:
    """Real pictures at even times from 0 to 1; the same chance each time, so that each takes one way."""
    data = data_of(run).train
    x0 = data.batch(torch.arange(PICTURES)).x0
    corruption = run.objective().corruption
    for t in torch.linspace(0, 1, MOMENTS, dtype=torch.float64):
        time = nearest(corruption, t.expand(PICTURES))
        yield corruption.corrupt(x0, time, SampleGenerators.of(1, range(PICTURES))).xt


def back(run: Run) -> list[torch.Tensor]:
    """New pictures on their way, at even shares of the steps."""
    steps = [drawing.step.x for drawing in draw(run, run.denoiser(), PICTURES, batch=PICTURES, seed=2)]
    return evenly(steps, MOMENTS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", help="digits, or a folder with IDX files of the MNIST family")
    parser.add_argument("--updates", type=int, default=1500, help="updates for each of the three networks")
    parser.add_argument("--out", type=Path, default=Path("three-ways"))
    options = parser.parse_args()
    strips = []
    try:
        for preset in WAYS.values():
            run = trained(preset, recipe_of(preset, options.data, options.updates), options.out / preset)
            strips.append([run.to_bytes(x) for x in (*forward(run), *back(run))])
    except EbbtideError as error:
        raise SystemExit(f"three_ways: {error}") from None
    frames = [torch.cat(moments) for moments in zip(*strips, strict=True)]
    ahead = [f"t={t:.1f}" for t in torch.linspace(0, 1, MOMENTS).tolist()]
    behind = ["back ..."] + [""] * (MOMENTS - 2) + ["... new"]
    path = save_png(film_strip(frames, ahead + behind), options.out / "three-ways.png")
    print(f"rows: three each of {', '.join(WAYS)}; wrote {path}")


if __name__ == "__main__":
    main()
