"""What each choice of the fast recipe is worth: one thing changed at a time.

    python benchmarks/choices.py [--updates 600] [--seeds 0] [--only NAME ...]

For each change, Fréchet distance on Fashion-MNIST after equally many updates (2,000 samples), and the time of an update
with and without it, taking turns. Runs are kept under runs/benchmarks/choices and not repeated.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch

import measure
from ebbtide.data import Dataset
from ebbtide.recipes.as_json import from_json, to_json
from ebbtide.recipes.build import build_network
from ebbtide.recipes.draw import draw_all, labels_for
from ebbtide.recipes.presets import PRESETS
from ebbtide.recipes.recipe import Recipe
from ebbtide.recipes.run import open_run
from ebbtide.recipes.train import train
from frechet import FASHION, Judge
from training_speed import ours

FOLDER = measure.RESULTS / "choices"
SAMPLES = 2000
CHANGES: dict[str, dict[str, Any]] = {
    "as it is": {},
    "AdamW for everything": {"training.optimizer": "adamw"},
    "AdamW, half the rate": {"training.optimizer": "adamw", "training.rate": 1e-3},
    "half the rate": {"training.rate": 1e-3},
    "twice the rate": {"training.rate": 4e-3},
    "no labels": {"data.labels": False},
    "pixels from -1 to 1": {"data.low": -1.0, "data.high": 1.0},
    "cosine schedule": {"schedule.name": "cosine"},
    "noise predicted": {"objective.predicts": "eps"},
    "Ho et al.'s blocks": {"network.lean": False},
    "64 and 128 channels": {"network.channels": 64},
    "attention at 7x7": {"network.attention": [False, True]},
    "the rate falls over 80 %": {"training.decay": 0.8},
    "float32": {"training.precision": "fp32"},
}


def changed(changes: dict[str, Any], updates: int, seed: int) -> Recipe:
    """The preset `fashion` with these fields changed."""
    content = to_json(PRESETS["fashion"].recipe)
    content["data"]["source"] = FASHION
    content["training"] |= {"minutes": None, "updates": updates, "seed": seed, "pictures": 0}
    for name, value in changes.items():
        section, field = name.split(".")
        content[section][field] = value
    return from_json(content)


def distance(name: str, updates: int, seed: int, judge: Judge) -> float:
    """Train and measure, unless it was done before."""
    path = FOLDER / f"{name.replace(' ', '-')}-{updates}-{seed}"
    file = path / "distance.json"
    if not file.is_file():
        shutil.rmtree(path, ignore_errors=True)
        for _ in train(changed(CHANGES[name], updates, seed), path):
            pass
        run = open_run(path)
        images = run.to_bytes(draw_all(run, run.denoiser(), SAMPLES, labels=labels_for(run, SAMPLES))).numpy()
        file.write_text(json.dumps({"distance": judge.distance(images)}))
        print(f"{path.name}: {file.read_text()}", flush=True)
    found: float = json.loads(file.read_text())["distance"]
    return found


def updating(recipe: Recipe, data: Dataset, compiled: bool = False) -> Callable[[], object]:
    """An update of the recipe."""
    network = build_network(recipe.network, data.event_shape, 10 if recipe.data.labels else 0, 0)
    if compiled:
        network.compile()
    data = data if recipe.data.labels else replace(data, labels=None, classes=())
    return partial(next, ours(recipe, network, data))


def main() -> None:
    options = measure.options(
        __doc__,
        ("--updates", {"type": int, "default": 600}),
        ("--seeds", {"type": int, "nargs": "+", "default": [0]}),
        ("--only", {"nargs": "+", "choices": list(CHANGES), "default": list(CHANGES)}),
    )
    judge = Judge()
    names = list(dict.fromkeys(["as it is", *options.only]))
    rows, results = [], {}
    base = updating(changed({}, options.updates, 0), judge.train)
    for name in names:
        found = [distance(name, options.updates, seed, judge) for seed in options.seeds]
        work = updating(changed(CHANGES[name], options.updates, 0), judge.train)
        seconds = measure.interleaved({"base": base, "changed": work}, 10)
        cost = measure.ratios(seconds["changed"], seconds["base"])
        rows.append((name, ", ".join(f"{value:.2f}" for value in found), cost.words(2)))
        results[name] = {"distance": found, "time": cost}
    if hasattr(torch, "compile"):
        work = updating(changed({}, options.updates, 0), judge.train, compiled=True)
        first = measure.seconds_of(work)
        seconds = measure.interleaved({"base": base, "changed": work}, 10)
        cost = measure.ratios(seconds["changed"], seconds["base"])
        rows.append((f"torch.compile (the first update took {first:.0f} s)", "", cost.words(2)))
        results["torch.compile"] = {"first_seconds": first, "time": cost}
    title = f"Fréchet distance after {options.updates} updates, {SAMPLES:,} samples, and the time of an update"
    measure.show("choices", title, ("change", "distance", "time of an update, times as long"), rows)
    measure.save("choices", results)


if __name__ == "__main__":
    main()
