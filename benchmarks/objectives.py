"""Every loss of the lectures on the same data, network and minutes: bound, samples, stability, and gradients by level.

    python benchmarks/objectives.py [--minutes 1] [--only NAME ...]

The preset digits with a table of 1,000 steps for all, and no other change than --objective NAME. Runs are kept under
runs/benchmarks/objectives and not repeated. Writes docs/pictures/objectives.png and docs/pictures/gradients.png.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.neural_network import MLPClassifier

import measure
from digits import features
from ebbtide.conditions import Condition
from ebbtide.data import Dataset, load
from ebbtide.evaluation.figures import BLUE, GREEN, INK, ORANGE, panels, png_bytes
from ebbtide.evaluation.metrics import Moments, MomentsSum, frechet
from ebbtide.evaluation.records import read_records
from ebbtide.files import write_atomically
from ebbtide.objectives.gradients import gradient_moments
from ebbtide.recipes.bits import BitsSettings, ask, join
from ebbtide.recipes.bits import measure as bounds_of
from ebbtide.recipes.draw import draw_all, labels_for
from ebbtide.recipes.objectives import OBJECTIVES, with_objective
from ebbtide.recipes.presets import PRESETS
from ebbtide.recipes.run import Run, open_run
from ebbtide.recipes.run_data import data_of
from ebbtide.recipes.train import train

FOLDER = measure.RESULTS / "objectives"
PICTURES = Path("docs/pictures")
STEPS, SAMPLES, EXAMPLES = 1000, 2000, 200
LEVELS = (0.002, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.97, 1.0)


class Reader:
    """A classifier of real digits; its hidden layer is what distances are taken in."""

    def __init__(self) -> None:
        data = load("digits")
        assert data.labels is not None
        self.model = MLPClassifier((256,), alpha=1e-3, max_iter=300, random_state=0)
        self.model.fit(features(data.values), data.labels)
        self.real = self.moments(data.values)

    def moments(self, images: np.ndarray) -> Moments:
        """Of the 256 activations."""
        hidden = np.maximum(features(images) @ self.model.coefs_[0] + self.model.intercepts_[0], 0)
        total = MomentsSum(hidden.shape[1])
        total.add(hidden)
        return total.moments()

    def distance(self, images: np.ndarray) -> float:
        """Fréchet distance to the real training images."""
        return frechet(self.moments(images), self.real)


def recipe_of(name: str, minutes: float) -> Any:
    """The preset with this loss and a table of steps."""
    recipe = PRESETS["digits"].recipe
    training = replace(recipe.training, minutes=minutes, pictures=0)
    recipe = replace(recipe, schedule=replace(recipe.schedule, steps=STEPS), training=training)
    return with_objective(recipe, name)  # type: ignore[arg-type]


def trained(name: str, minutes: float) -> Run:
    """The run, unless it was made before."""
    path = FOLDER / f"{name}-{minutes:g}"
    if not (path / "pictures" / "final.png").is_file():
        shutil.rmtree(path, ignore_errors=True)
        print(f"training {path.name}", flush=True)
        for _ in train(recipe_of(name, minutes), path):
            pass
    return open_run(path)


def measured(name: str, run: Run, reader: Reader) -> dict[str, Any]:
    """Bound, distance and stability."""
    file = run.path / "measured.json"
    if file.is_file():
        found: dict[str, Any] = json.loads(file.read_text())
        return found
    images = run.to_bytes(draw_all(run, run.denoiser(), SAMPLES, labels=labels_for(run, SAMPLES))).numpy()
    bits = {}
    for variance in ("step", "posterior", "learned") if name == "hybrid" else ("step", "posterior"):
        asked = ask(run, BitsSettings(examples=EXAMPLES, variance=variance))  # type: ignore[arg-type]
        bits[variance] = join(list(bounds_of(asked, asked.reconstruction()))).bits
    updates = [record for record in read_records(run.metrics) if record["kind"] == "update"]
    norms = np.array([record["grad_norm"] for record in updates[len(updates) // 2 :]], dtype=float)
    found = {
        "updates": updates[-1]["step"],
        "skipped": updates[-1]["skipped"],
        "bits": bits,
        "distance": reader.distance(images),
        "jumps": float(np.percentile(norms, 99) / np.median(norms)),
    }
    file.write_text(json.dumps(found, indent=1) + "\n")
    print(name, found, flush=True)
    return found


def gradients(run: Run, data: Dataset) -> dict[str, list[float]]:
    """Scale and noise of the run's own loss at its own weights, level by level."""
    network = run.network()
    denoiser = run.denoiser()
    network = _network_of(denoiser, network)
    batch = data.batch(torch.arange(len(data)))
    condition = Condition(label=batch.condition.label)
    times = torch.tensor(LEVELS, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    found = gradient_moments(
        run.gaussian_objective(), network, batch.x0, condition, times, generator, draws=16, batch=16
    )
    return {name: getattr(found, name).tolist() for name in ("log_snr", "norm", "noise")}


def _network_of(denoiser: Any, network: torch.nn.Module) -> torch.nn.Module:
    """The trained network inside of a denoiser's wrappers, in float32."""
    while hasattr(denoiser, "denoiser"):
        denoiser = denoiser.denoiser
    answer = denoiser.network
    if isinstance(answer, torch.nn.Module):
        return answer
    return next(cell.cell_contents for cell in answer.__closure__ if isinstance(cell.cell_contents, torch.nn.Module))


def draw_comparison(results: dict[str, dict[str, Any]]) -> None:
    """Two rows of bars: bits and distance."""
    figure, axes = panels(2)
    figure.set_size_inches(7.2, 5.2)
    names = list(results)
    best = [min(found["bits"].values()) for found in results.values()]
    for axis, values, label, colour in (
        (axes[0], best, "the bound,\nbits a dimension", BLUE),
        (axes[1], [found["distance"] for found in results.values()], "distance of samples", ORANGE),
    ):
        axis.bar(range(len(names)), values, color=colour, width=0.65)
        axis.set_yscale("log" if max(values) > 20 * min(values) else "linear")
        axis.set(ylabel=label)
        axis.grid(axis="x", visible=False)
        axis.yaxis.label.set(size=9, color=INK)
    axes[1].set_xticks(range(len(names)), names, rotation=35, ha="right", fontsize=8)
    write_atomically(PICTURES / "objectives.png", png_bytes(figure))


def draw_gradients(results: dict[str, dict[str, Any]]) -> None:
    """The scale of each gradient by level, and its ratio to the noise of one example."""
    shown = [name for name in ("simple", "noise-weighted", "mean", "previous", "step-noise", "x0") if name in results]
    figure, axes = panels(2)
    figure.set_size_inches(7.2, 6.4)
    styles = ["-", "--", "-.", ":", (0, (3, 1, 1, 1)), (0, (5, 1))]
    colours = [BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", INK]
    for name, style, colour in zip(shown, styles, colours, strict=False):
        found = results[name]["gradients"]
        log_snr, norm, noise = (np.array(found[key]) for key in ("log_snr", "norm", "noise"))
        scale = np.sqrt(norm**2 + noise**2)
        axes[0].plot(log_snr, scale / np.exp(np.log(scale).mean()), linestyle=style, color=colour, label=name)
        axes[1].plot(log_snr, noise, linestyle=style, color=colour)
    axes[0].set_yscale("log")
    axes[1].set_yscale("log")
    axes[0].set(ylabel="root mean square of one example's\ngradient, over its mean level")
    axes[1].set(ylabel="noise of one example's gradient", xlabel="log-SNR  (noise to data)")
    axes[0].legend(frameon=False, fontsize=8.5, labelcolor=INK, ncols=3)
    for axis in axes:
        axis.yaxis.label.set(size=9, color=INK)
        axis.xaxis.label.set(size=9, color=INK)
    write_atomically(PICTURES / "gradients.png", png_bytes(figure))


def main() -> None:
    options = measure.options(
        __doc__,
        ("--minutes", {"type": float, "default": 1.0}),
        ("--only", {"nargs": "+", "choices": list(OBJECTIVES), "default": list(OBJECTIVES)}),
    )
    reader = Reader()
    results: dict[str, dict[str, Any]] = {}
    rows = []
    for name in options.only:
        run = trained(name, options.minutes)
        found = measured(name, run, reader)
        data = data_of(run).train
        found["gradients"] = gradients(run, data)
        results[name] = found
        bits = found["bits"]
        rows.append(
            (
                f"`{name}`",
                f"{found['updates']:,}",
                f"{bits['step']:.3f}",
                f"{bits['posterior']:.3f}",
                f"{bits['learned']:.3f}" if "learned" in bits else "",
                f"{found['distance']:.2f}",
                f"{found['jumps']:.1f}",
                str(found["skipped"]),
            )
        )
    floor = reader.distance(load("digits", split="test").values)
    heads = ("objective", "updates", "bits, step", "posterior", "learned", "distance", "jumps", "skipped")
    title = f"Digits, {options.minutes:g} minutes each; real held-out digits are at a distance of {floor:.2f}"
    measure.show("objectives", title, heads, rows)
    measure.save("objectives", results)
    draw_comparison(results)
    draw_gradients(results)


if __name__ == "__main__":
    main()
