"""Quality for minutes: Fréchet distance on Fashion-MNIST after training from scratch, ours and the peers' usual recipe.

    python benchmarks/quality.py [--minutes 2 10] [--seeds 0 1 2] [--source FOLDER]

Every run is kept under runs/benchmarks/quality and is not repeated. Ours is the preset `fashion` with nothing changed
but the minutes, the seed and whether it may see labels; no guidance; 5,000 samples by the preset's sampler. The peers'
recipe is diffusers' UNet2DModel of 6.5 M parameters, AdamW 1e-4, fp32, batch 64, no labels; 1,000 samples by its DDIM
in 25 steps, as it is slow to sample from.
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import measure
import peers
from ebbtide.data import Dataset
from ebbtide.evaluation.records import read_records
from ebbtide.recipes.draw import draw_all, labels_for
from ebbtide.recipes.presets import PRESETS
from ebbtide.recipes.recipe import Recipe
from ebbtide.recipes.run import open_run, with_sampling
from ebbtide.recipes.train import train
from frechet import FASHION, Judge

FOLDER = measure.RESULTS / "quality"
SAMPLES, PEER_SAMPLES, PEER_STEPS = 5000, 1000, 25


def recipe_of(source: str, minutes: float, seed: int, labels: bool) -> Recipe:
    """The preset, and what a user would give on the command line."""
    recipe = PRESETS["fashion"].recipe
    training = replace(recipe.training, minutes=minutes, seed=seed, pictures=0)
    return replace(recipe, data=replace(recipe.data, source=source, labels=labels), training=training)


def measured(path: Path, judge: Judge) -> dict[str, Any]:
    """5,000 samples of a finished run."""
    run = open_run(path)
    run = with_sampling(run, PRESETS["fashion"].recipe.sampling)
    started = time.perf_counter()
    labels = labels_for(run, SAMPLES)
    images = run.to_bytes(draw_all(run, run.denoiser(), SAMPLES, labels=labels)).numpy()
    result = {"distance": judge.distance(images), "sampling_seconds": time.perf_counter() - started}
    if labels is not None:
        result["read_as_their_label"] = float((judge.read(images) == labels.numpy()).mean())
    return result


def run_folder(minutes: float, labels: bool, seed: int) -> Path:
    """Where a run is kept."""
    return FOLDER / f"{minutes:g}-minutes-{'labels' if labels else 'no-labels'}-seed-{seed}"


def ours(source: str, minutes: float, seed: int, labels: bool, judge: Judge) -> dict[str, Any]:
    """Train and measure, unless it was done before."""
    path = run_folder(minutes, labels, seed)
    file = path / "distance.json"
    if file.is_file():
        found: dict[str, Any] = json.loads(file.read_text())
        return found
    if not (path / "pictures" / "final.png").is_file():
        shutil.rmtree(path, ignore_errors=True)
        print(f"training {path.name}", flush=True)
        for _ in train(recipe_of(source, minutes, seed, labels), path):
            pass
    last = [record for record in read_records(path / "metrics.jsonl") if record["kind"] == "update"][-1]
    result = {"minutes": minutes, "labels": labels, "seed": seed, "updates": last["step"], "images": last["images"]}
    result |= measured(path, judge)
    file.write_text(json.dumps(result, indent=1) + "\n")
    print(f"{path.name}: {result['distance']:.3f} after {last['step']} updates", flush=True)
    return result


def theirs(minutes: float, judge: Judge, data: Dataset) -> dict[str, Any]:
    """The peers' usual recipe for as many minutes, unless it was done before."""
    from diffusers import DDIMScheduler

    file = FOLDER / f"{minutes:g}-minutes-peers.json"
    if file.is_file():
        found: dict[str, Any] = json.loads(file.read_text())
        return found
    print(f"training the peers' recipe for {minutes:g} minutes", flush=True)
    torch.manual_seed(0)
    loop = peers.DiffusersLoop(peers.usual_network(28))
    started, updates = time.perf_counter(), 0
    while time.perf_counter() - started < 60 * minutes:
        loop.update(data.batch(torch.randint(0, len(data), (64,))).x0)
        updates += 1
    loop.average.copy_to(loop.network.parameters())  # type: ignore[arg-type]
    loop.network.eval()
    scheduler: Any = DDIMScheduler(num_train_timesteps=1000, clip_sample=True)
    scheduler.set_timesteps(PEER_STEPS)
    parts = []
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        for _ in range(0, PEER_SAMPLES, 100):
            x = torch.randn(100, 1, 28, 28)
            for t in scheduler.timesteps:
                x = scheduler.step(loop.network(x, t, return_dict=False)[0].float(), t, x).prev_sample
            parts.append(data.range.decode(x).permute(0, 2, 3, 1).numpy())
    distance = judge.distance(np.concatenate(parts))
    result = {"minutes": minutes, "updates": updates, "images": 64 * updates, "distance": distance}
    FOLDER.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(result, indent=1) + "\n")
    return result


def row(name: str, results: list[dict[str, Any]], noise: float) -> tuple[str, ...]:
    """A line of the table, over seeds."""
    distances = [result["distance"] for result in results]
    mean = sum(distances) / len(distances)
    each = ", ".join(f"{distance:.2f}" for distance in distances)
    updates = ", ".join(f"{result['updates']:,}" for result in results)
    return (name, updates, each, f"{mean:.2f}", f"{mean / noise:.2f}")


def main() -> None:
    options = measure.options(
        __doc__,
        ("--minutes", {"type": float, "nargs": "+", "default": [2, 10]}),
        ("--seeds", {"type": int, "nargs": "+", "default": [0, 1, 2]}),
        ("--source", {"default": FASHION, "help": "folder with the IDX files of Fashion-MNIST"}),
        ("--kept", {"action": "store_true", "help": "only the runs that were begun before"}),
        ("--no-peers", {"action": "store_true", "help": "leave out the peers' recipe"}),
    )
    judge = Judge(options.source)
    floors = judge.floors(SAMPLES)
    noise = floors["with noise of sd 0.05 (of the whole range)"]
    results = []
    rows = [(f"{name}", "", "", f"{value:.2f}", f"{value / noise:.2f}") for name, value in floors.items()]
    for minutes in options.minutes:
        for labels in (True, False):
            seeds = [seed for seed in options.seeds if not options.kept or run_folder(minutes, labels, seed).is_dir()]
            if not seeds:
                continue
            found = [ours(options.source, minutes, seed, labels, judge) for seed in seeds]
            words = "labels" if labels else "no labels"
            rows.append(row(f"ebbtide, {minutes:g} minutes, {words}", found, noise))
            results += found
    peer = None
    if not options.no_peers:
        peer = theirs(max(options.minutes), judge, judge.train)
        rows.append(row(f"peers' usual recipe, {max(options.minutes):g} minutes", [peer], noise))
    heads = ("what", "updates", "distance, each seed", "mean", "over that of noise 0.05")
    measure.show("quality", f"Fréchet distance on Fashion-MNIST, {SAMPLES} samples", heads, rows)
    accuracy = judge.accuracy()
    measure.save("quality", {"floors": floors, "ours": results, "peers": peer, "classifier_accuracy": accuracy})


if __name__ == "__main__":
    main()
