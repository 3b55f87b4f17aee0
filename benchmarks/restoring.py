"""How well corruptions without Gaussian noise are undone, and what can be drawn through them.

    python benchmarks/restoring.py --data FOLDER [--updates 500] [--count 1000] [--samples 1000]

FOLDER: IDX files of the MNIST family; the snow preset brings its own pictures. Runs that are not there are trained
first, into runs/benchmarks/restoring. Three tables: restored test pictures as in Bansal et al. (2022); their sampler
against restoring and degrading again, by steps; and new samples beside those of Gaussian noise at the same budget.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

import measure
from ebbtide.evaluation.figures import panels, png_bytes
from ebbtide.evaluation.metrics import frechet, frechet_error
from ebbtide.evaluation.pictures import film_strip, save_png
from ebbtide.evaluation.race import COLOURS
from ebbtide.files import write_atomically
from ebbtide.recipes.draw import draw_all, grid_back
from ebbtide.recipes.evaluate import EvaluateSettings, Sides, Sketch, sides
from ebbtide.recipes.features import Features, find_classifier, kind_for, train_classifier
from ebbtide.recipes.restoring import Likeness, likenesses
from ebbtide.recipes.run import Run, drawn_by, open_run

COLD = ("cold-blur", "cold-pixelate", "cold-inpaint", "cold-animorph", "cold-snow")
DRAWN = ("gaussian", "naive", "naive-pixelwise", "cold-blur", "cold-pixelate", "cold-animorph")
OWN_DATA = ("cold-snow",)
STEPS = (5, 10, 20, 50)
SHOWN = 10
PICTURES = Path("docs/pictures")


def trained(name: str, data: str, updates: int) -> Run:
    """The run of a preset; trained first if it is not there."""
    out = measure.RESULTS / "restoring" / name
    if not (out / "pictures" / "final.png").is_file():
        preset = ["fashion", "--data.no-labels", "--training.half-life", "20000"] if name == "gaussian" else [name]
        preset += [] if name in OWN_DATA else ["--data", data]
        command = [sys.executable, "-m", "ebbtide", "train", *preset, "--updates", str(updates), "--out", str(out)]
        subprocess.run(command, check=True)
    return open_run(out)


def features_for(both: Sides) -> Features:
    """Trained once and kept."""
    kind = kind_for(both.train, "auto")
    found = find_classifier(both.train, kind)
    if found is None:
        for _ in train_classifier(both.train, both.unseen if both.split == "test" else None, kind):
            pass
        found = find_classifier(both.train, kind)
    assert found is not None
    return found


KNOWN: dict[str, tuple[Sides, Features, Sketch]] = {}


def known(source: str, run: Run) -> tuple[Sides, Features, Sketch]:
    """The data, their features, and all training pictures told in them; once for each source."""
    if source not in KNOWN:
        both = sides(run, EvaluateSettings())
        features = features_for(both)
        KNOWN[source] = both, features, Sketch.of(both.reference, features)
    return KNOWN[source]


def restored(run: Run, count: int, **sampling: Any) -> list[Likeness]:
    """Degraded, direct and sampled, from t = 1."""
    asked = drawn_by(run, **sampling)
    both, features, real = known(run.recipe.data.source, run)
    denoiser = asked.denoiser()
    grid = grid_back(asked, denoiser, 1.0)
    found = likenesses(asked, denoiser, both, features, count=count, grid=grid, real=real)
    return next(rows for rows in found if not isinstance(rows, int))


def words(one: Any, digits: int) -> str:
    return "" if one is None else f"{one.value:.{digits}f} ± {one.error:.{digits}f}"


def restoring(runs: dict[str, Run], count: int) -> dict[str, Any]:
    """The first table."""
    found = {name: restored(run, count) for name, run in runs.items()}
    rows = [
        (name, row.name, words(row.psnr, 2), words(row.ssim, 3), words(row.frechet, 1))
        for name, likeness in found.items()
        for row in likeness
    ]
    title = f"{count:,} test pictures degraded fully, and restored"
    measure.show("restoring", title, ("preset", "", "PSNR, dB", "SSIM", "Fréchet distance"), rows)
    return {name: [asdict(row) for row in rows] for name, rows in found.items()}


def by_steps(runs: dict[str, Run], count: int) -> dict[str, Any]:
    """Bansal et al.'s sampler against their naive one: table and figure."""
    found: dict[str, Any] = {}
    for name, run in runs.items():
        for sampler, label in (("cold", "improved"), ("renoise", "naive")):
            laps = [restored(run, count, sampler=sampler, steps=steps)[-1] for steps in STEPS]
            found[f"{name}, {label}"] = [asdict(lap) for lap in laps]
    show_steps(found)
    return found


def show_steps(found: dict[str, Any]) -> None:
    """The table and the figure of what by_steps found."""
    rows = [
        (*name.split(", "), *(f"{lap['psnr']['value']:.2f} / {lap['frechet']['value']:.1f}" for lap in laps))
        for name, laps in found.items()
    ]
    heads = ("preset", "sampler", *(f"{steps} steps" for steps in STEPS))
    measure.show("cold-steps", "PSNR in dB / Fréchet distance by steps", heads, rows)
    figure, axes = panels(2)
    figure.set_size_inches(5.4, 6.6)
    for index, (name, laps) in enumerate(found.items()):
        style = {"color": COLOURS[index // 2], "linestyle": "-" if index % 2 == 0 else "--", "marker": "o"}
        for axis, key in zip(axes, ("psnr", "frechet"), strict=True):
            axis.plot(STEPS, [lap[key]["value"] for lap in laps], **style, markersize=4, label=name)
    axes[0].set(ylabel="PSNR, dB", xscale="log")
    axes[1].set(xlabel="steps", ylabel="Fréchet distance", xscale="log")
    axes[1].set_xticks(STEPS, [str(steps) for steps in STEPS])
    for axis in axes:
        axis.minorticks_off()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", frameon=False, fontsize=8, ncols=2)
    write_atomically(PICTURES / "cold-samplers.png", png_bytes(figure))


def unconditional(runs: dict[str, Run], samples: int) -> dict[str, Any]:
    """New pictures, without labels, at one budget of training: table and picture."""
    first = next(iter(runs.values()))
    both, features, real = known(first.recipe.data.source, first)
    found, rows, shown = {}, [], []
    for name, run in runs.items():
        drawn = draw_all(run, run.denoiser(), samples)
        pictures = run.to_bytes(drawn)
        sketch = Sketch(features)
        sketch.add(pictures.numpy())
        value = frechet(sketch.moments, real.moments)
        error = frechet_error(sketch.moments, real.moments, sketch.rows, real.rows)
        found[name] = {"frechet": value, "error": error}
        rows.append((name, run.recipe.sampling.sampler, str(run.recipe.sampling.steps), f"{value:.1f} ± {error:.1f}"))
        shown.append(pictures[:SHOWN])
    floor = Sketch.of(both.unseen, features)
    rows.append(("real test pictures", "", "", f"{frechet(floor.moments, real.moments):.1f}"))
    save_png(film_strip(shown, list(runs)), PICTURES / "without-gaussian.png")
    title = f"{samples:,} new samples without labels, each model trained for as many updates"
    measure.show("unconditional", title, ("model", "sampler", "steps", "Fréchet distance"), rows)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    options = measure.options(
        __doc__,
        ("--data", {"required": True}),
        ("--updates", {"type": int, "default": 500}),
        ("--count", {"type": int, "default": 1000}),
        ("--samples", {"type": int, "default": 1000}),
    )
    torch.manual_seed(0)
    names = dict.fromkeys((*COLD, *DRAWN))
    runs = {name: trained(name, options.data, options.updates) for name in names}
    found = {
        "restoring": restoring({name: runs[name] for name in COLD}, options.count),
        "unconditional": unconditional({name: runs[name] for name in DRAWN}, options.samples),
        "steps": by_steps({name: runs[name] for name in COLD[:3]}, options.count // 2),
    }
    measure.save("restoring", found)


if __name__ == "__main__":
    main()
