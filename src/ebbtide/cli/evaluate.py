"""ebbtide evaluate: how good a run is, said honestly."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.progress import Progress
from rich.table import Table

from ebbtide.cli.decoder import FIRST_NOISE, bound_of, reconstruction_of
from ebbtide.cli.features import features_of, sketch_of
from ebbtide.cli.fields import Positional
from ebbtide.cli.options import given, parse, screen, styled, wrote
from ebbtide.cli.results import say_whose
from ebbtide.corruptions import GaussianCorruption
from ebbtide.errors import require
from ebbtide.evaluation.bits import told
from ebbtide.evaluation.figures import png_bytes
from ebbtide.evaluation.pictures import save_png, side_by_side
from ebbtide.evaluation.quality import MEANING, copies_in_words, heads_of, quality_figure, rows_of
from ebbtide.files import write_atomically
from ebbtide.json_files import write_json
from ebbtide.recipes.bits import Asked, BitsSettings, ask, summary
from ebbtide.recipes.draw import check_drawing
from ebbtide.recipes.evaluate import (
    LEAST,
    METRICS,
    Copies,
    Drawn,
    EvaluateSettings,
    Sides,
    Sketch,
    comparing,
    draw_samples,
    look_for_copies,
    sides,
)
from ebbtide.recipes.features import Features, FeaturesName
from ebbtide.recipes.recipe import SamplerName
from ebbtide.recipes.run import Run, Weights, drawn_by, open_run
from ebbtide.training.machine import device_of

SUSPECTS = 8


@dataclass(frozen=True)
class EvaluateOptions:
    """How good a run is: Fréchet and kernel distance, precision and recall, inception score, nearest neighbours, bits.

    Each number stands beside the features it was taken in, its standard error, and its floor: what held-out real
    examples come to. Numbers in different features, or of different numbers of samples, do not compare. Writes
    RUN/evaluation.json and pictures, which the report shows.
    """

    run: Positional[Path]
    """The run's folder."""
    samples: int = 5000
    """How many to draw."""
    features: FeaturesName = "auto"
    """labels: of a small classifier of the data's labels, trained once and kept; turns: of one that tells which way up
    a picture is, for data without labels; values: the numbers themselves, for points; inception: the network of the
    literature (--weights-file). auto: labels, else turns; values for points."""
    weights_file: Path | None = None
    """inception: the weights of torch-fidelity (.pth); None: it downloads them."""
    data: str | None = None
    """Another source than the run's own, such as where the data lie now."""
    bits: int = 500
    """Held-out examples whose bits a dimension are measured; 0: none."""
    sampler: SamplerName | None = None
    """Another way to draw than the recipe's: `ebbtide samplers` lists them."""
    steps: int | None = None
    """Another number of network evaluations a sample."""
    seed: int = 0
    """Of the samples."""
    weights: Weights = "average"
    """The averaged weights, or the last ones."""
    device: str = "auto"
    """Where to compute: auto (a GPU that torch sees, else the CPU), cpu, cuda, cuda:1, mps."""


def evaluate(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    options = parse(EvaluateOptions, "evaluate", arguments)
    require(options.samples >= LEAST, f"--samples {options.samples} came, expected at least {LEAST}")
    require(options.bits >= 0, f"--bits {options.bits} came, expected 0 (none) or more examples")
    require(options.steps is None or options.steps >= 1, f"--steps {options.steps} came, expected at least 1")
    require(options.seed >= 0, f"--seed {options.seed} came, expected at least 0")
    require(
        options.weights_file is None or options.features == "inception",
        "--weights-file came, which is for --features inception: add that, or leave it out",
    )
    run = open_run(options.run)
    run = drawn_by(run, **given(options, ("sampler", "steps")))
    settings = EvaluateSettings(
        samples=options.samples,
        seed=options.seed,
        source=options.data,
        weights=options.weights,
        device=device_of(options.device),
    )
    # what cannot be is refused before the work: no checkpoint, steps that the schedule does not have, other labels
    denoiser = run.denoiser(settings.device, settings.weights)
    check_drawing(run)
    noise = isinstance(denoiser.corruption, GaussianCorruption)
    started = time.perf_counter()
    both = sides(run, settings)
    say_whose(both.data)
    asked = _asked(run, settings, both, options.bits) if options.bits and noise else None
    if options.bits and not noise:
        screen.print(f"no bits, which only Gaussian noise has: the run learned to undo {run.recipe.corruption.name}")
    features = features_of(both, options.features, options.weights_file, settings.device)
    reference = sketch_of(both.reference, features, "the training set")
    unseen = sketch_of(both.unseen, features, "unseen examples")
    drawn = _drawn(run, settings, features)
    sets = _compared(drawn.sketch, reference, unseen)
    with screen.status("looking for copies"):
        copies = look_for_copies(drawn.first, both)
    found: dict[str, Any] = {
        "features": features.name,
        "data": both.train.name,
        "of": both.data.record(),
        "split": both.split,
        "reference": reference.count,
        "sets": sets,
        "copying": copies.found,
        "sampling": {
            "sampler": run.recipe.sampling.sampler,
            "steps": run.recipe.sampling.steps,
            "seed": settings.seed,
            "weights": settings.weights,
            "a_second": settings.samples / drawn.seconds,
        },
    }
    if asked is not None:
        found["bits"] = _bits(asked)
    found["seconds"] = time.perf_counter() - started
    _print(found)
    _write(run, found, drawn, reference, copies, both)
    return 0


def _drawn(run: Run, settings: EvaluateSettings, features: Features) -> Drawn:
    with Progress(console=screen, disable=not screen.is_terminal) as progress:
        task = progress.add_task("drawing samples", total=settings.samples)
        for done in draw_samples(run, settings, features):
            if isinstance(done, Drawn):
                return done
            progress.update(task, completed=done)
    raise AssertionError("samples ended without a result")


def _compared(samples: Sketch, reference: Sketch, unseen: Sketch) -> dict[str, Any]:
    """All sets against the reference; as_many: as many samples as there are unseen examples."""
    asked: dict[str, tuple[Sketch, int | None]] = {"samples": (samples, None)}
    if unseen.count < samples.count:
        asked["as_many"] = (samples, unseen.count)
    asked["unseen"] = (unseen, None)
    sets: dict[str, Any] = {}
    with Progress(console=screen, disable=not screen.is_terminal, transient=True) as progress:
        task = progress.add_task("comparing sets", total=METRICS * len(asked))
        for name, (sketch, count) in asked.items():
            for found in comparing(sketch, reference, count):
                sets[name] = found
                progress.advance(task)
    return sets


def _asked(run: Run, settings: EvaluateSettings, both: Sides, examples: int) -> Asked:
    """Held-out examples whose bits are to be measured."""
    return ask(
        run,
        BitsSettings(
            source=settings.source,
            split="test" if both.split == "test" else "train",
            examples=examples,
            first_noise=FIRST_NOISE["trained" if run.data.is_image else "bins"],
            weights=settings.weights,
            device=settings.device,
        ),
        both.data,
    )


def _bits(asked: Asked) -> dict[str, Any]:
    """Their bound, that of images with the trained last decoder."""
    whole = summary(asked, bound_of(asked, reconstruction_of(asked, trained=asked.run.data.is_image)))
    return {
        name: whole[name]
        for name in ("bits", "noise_error", "example_error", "examples", "split", "labels", "learned_from", "parts")
    }


def _print(found: dict[str, Any]) -> None:
    screen.print(f"against {found['reference']:,} training examples of {found['data']}")
    screen.print(f"in the features of {found['features']}")
    table = Table(box=None, header_style="")
    for head in ("", *heads_of(found)):
        table.add_column(head, justify="right" if head else "left", no_wrap=True)
    for row in rows_of(found):
        table.add_row(*row)
    screen.print(table)
    screen.print(styled((f"{heads_of(found)[-1]} examples are the floor. {MEANING}", "dim")))
    screen.print(copies_in_words(found))
    if "bits" in found:
        bits = found["bits"]
        error = (bits["noise_error"] ** 2 + (bits["example_error"] or 0.0) ** 2) ** 0.5
        screen.print(
            f"bits a dimension: {bits['bits']:.3f} ± {error:.3f} ({bits['examples']:,} examples: {told(bits)}; more: "
            "ebbtide bits)"
        )


def _write(run: Run, found: dict[str, Any], drawn: Drawn, reference: Sketch, copies: Copies, both: Sides) -> None:
    wrote(write_json(run.path / f"{both.data.name('evaluation')}.json", found), "figures")
    figure = quality_figure(drawn.sketch.rows, reference.rows, copies.samples.distance, copies.unseen.distance)
    wrote(write_atomically(run.pictures / f"{both.data.name('evaluation')}.png", png_bytes(figure)), "picture")
    if run.data.is_image:
        suspects = copies.samples.distance.argsort()[:SUSPECTS]
        columns = {
            "sample": drawn.first[suspects],
            "nearest": both.reference.values[copies.samples.index[suspects]],
        }
        wrote(
            save_png(side_by_side(columns), run.pictures / f"{both.data.name('neighbours')}.png"), "nearest neighbours"
        )
