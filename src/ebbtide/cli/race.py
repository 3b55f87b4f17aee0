"""ebbtide samplers and ebbtide race: what roads there are from noise to data, and which is best for a run."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from rich.progress import Progress
from rich.table import Table

from ebbtide.cli.features import features_of, sketch_of
from ebbtide.cli.fields import Positional
from ebbtide.cli.options import parse, screen, styled, wrote
from ebbtide.cli.paper import width
from ebbtide.cli.results import say_whose
from ebbtide.errors import require
from ebbtide.evaluation.figures import png_bytes
from ebbtide.evaluation.race import leader_in_words, race_figure
from ebbtide.files import write_atomically
from ebbtide.json_files import write_json
from ebbtide.recipes.cost import duration
from ebbtide.recipes.draw import check_drawing
from ebbtide.recipes.evaluate import LEAST, EvaluateSettings, Sketch, sides
from ebbtide.recipes.features import FeaturesName
from ebbtide.recipes.race import Lap, RaceSettings, asked_for, behind, evaluations_of, laps, seconds_an_evaluation
from ebbtide.recipes.recipe import SamplerName
from ebbtide.recipes.run import Weights, drawn_by, open_run
from ebbtide.recipes.run_data import RunData
from ebbtide.recipes.samplers import SAMPLERS
from ebbtide.training.machine import device_of

_LINE = "{:14} {:6} {:>4} {:5} {}"


@dataclass(frozen=True)
class SamplersOptions:
    """List the samplers: order of convergence, network evaluations a step, whether they add noise, their sources."""


@dataclass(frozen=True)
class RaceOptions:
    """Several samplers at equal network evaluations: Fréchet distance to the data, and for those without noise how far
    they end from where the ODE itself leads from the same noise. How long it will take is said first; a lead is one
    where it is more than twice the error of the difference. Writes RUN/race.json and RUN/pictures/race.png, which the
    report shows.
    """

    run: Positional[Path]
    """The run's folder."""
    samplers: tuple[SamplerName, ...] = ("dpm2m", "unipc", "ddim", "heun", "sde-dpm2m")
    """Who runs; `ebbtide samplers` lists them."""
    evaluations: tuple[int, ...] = (5, 8, 10, 15, 20, 50)
    """Network evaluations a sample."""
    samples: int = 1000
    """How many each time."""
    features: FeaturesName = "auto"
    """What sets are compared in; see `ebbtide evaluate --help`."""
    data: str | None = None
    """Another source than the run's own, such as where the data lie now."""
    seed: int = 0
    """Of the samples."""
    weights: Weights = "average"
    """The averaged weights, or the last ones."""
    device: str = "auto"
    """Where to compute: auto (a GPU that torch sees, else the CPU), cpu, cuda, cuda:1, mps."""


def samplers(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    parse(SamplersOptions, "samplers", arguments)
    screen.print(styled((_LINE.format("sampler", "order", "asks", "noise", "what it is, and its source"), "bold")))
    for name, about in SAMPLERS.items():
        noise = f"eta {about.eta:g}" if about.eta is not None else "yes" if about.stochastic else ""
        _print_sampler(_LINE.format(name, about.order, about.evaluations or "own", noise, ""), about)
    screen.print("asks: network evaluations a step; eta: the usual one (--eta). On a run: ebbtide race RUN")
    return 0


def _print_sampler(columns: str, about: About) -> None:
    """Its line; where the source does not fit behind the words, it has the next line to itself."""
    wide = width(most=130)
    first, *rest = textwrap.wrap(about.about, wide - len(columns))
    words = "\n".join([columns + first, *(" " * len(columns) + line for line in rest)])
    source = f"({about.source})"
    fits = len(words.rpartition("\n")[2]) + 1 + len(source) <= wide
    indent = len(columns) if len(columns) + len(source) <= wide else 4
    screen.print(styled(words, " " if fits else "\n" + " " * indent, (source, "dim")))


def race(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    options = parse(RaceOptions, "race", arguments)
    require(options.samples >= LEAST, f"--samples {options.samples} came, expected at least {LEAST}")
    require(bool(options.samplers), f"--samplers came empty, expected some of {', '.join(get_args(SamplerName))}")
    require(
        bool(options.evaluations) and min(options.evaluations) >= 1,
        f"--evaluations {options.evaluations} came, expected numbers of at least 1",
    )
    run = open_run(options.run)
    run.gaussian_objective()  # a run on anything else is refused here
    for name in options.samplers:
        check_drawing(drawn_by(run, sampler=name))
    device = device_of(options.device)
    denoiser = run.denoiser(device, options.weights)
    both = sides(run, EvaluateSettings(source=options.data))
    say_whose(both.data)
    features = features_of(both, options.features, device=device)
    real = sketch_of(both.reference, features, "the training set")
    settings = RaceSettings(
        samplers=options.samplers,
        evaluations=tuple(sorted(set(options.evaluations))),
        samples=options.samples,
        seed=options.seed,
        device=device,
    )
    total = sum(asked_for(run, name, k) is not None for name in settings.samplers for k in settings.evaluations)
    require(total > 0, f"none of {', '.join(settings.samplers)} can take {settings.evaluations} evaluations here")
    work = evaluations_of(run, denoiser, settings)
    seconds = work * seconds_an_evaluation(run, denoiser, settings)
    screen.print(
        f"{total} laps of {settings.samples:,} samples and where the ODE leads: {work:,} evaluations of the network, "
        f"about {duration(seconds)}"
    )
    found: list[Lap] = []
    with Progress(console=screen, disable=not screen.is_terminal) as progress:
        task = progress.add_task("racing", total=work)
        try:
            for lap in laps(run, denoiser, settings, real):
                if isinstance(lap, int):
                    progress.update(task, completed=lap)
                    continue
                found.append(lap)
                progress.update(task, description=f"raced {lap.sampler} in {lap.evaluations}")
                if not screen.is_terminal:
                    screen.print(
                        f"{lap.sampler} in {lap.evaluations}: {lap.to_data.value:.2f} ({len(found)} of {total})"
                    )
        except KeyboardInterrupt:
            if not found:
                raise
            screen.print(f"stopped: {len(found)} of {total} were run")
    plain = [lap.plain() | {"behind": asdict(far)} for lap, far in zip(found, behind(found), strict=True)]
    _print(found, real)
    screen.print(leader_in_words(plain))
    _write(both.data, plain, real, settings)
    return 0 if len(found) == total else 130


def _print(found: Sequence[Lap], real: Sketch) -> None:
    screen.print(f"Fréchet distance to the data in the features of {real.features.name}")
    names = list(dict.fromkeys(lap.sampler for lap in found))
    table = Table(box=None, header_style="bold")
    table.add_column("evaluations", justify="right")
    for name in names:
        table.add_column(name, justify="right")
    for budget in sorted({lap.evaluations for lap in found}):
        row = {lap.sampler: lap for lap in found if lap.evaluations == budget}
        told = {name: f"{lap.to_data.value:.2f} ± {lap.to_data.error:.2f}" for name, lap in row.items()}
        table.add_row(str(budget), *(told.get(name, "") for name in names))
    screen.print(table)


def _write(data: RunData, plain: Sequence[dict[str, Any]], real: Sketch, settings: RaceSettings) -> None:
    run, name = data.run, data.name("race")
    content = {
        "features": real.features.name,
        "samples": settings.samples,
        "seed": settings.seed,
        "laps": plain,
        "of": data.record(),
    }
    wrote(write_json(run.path / f"{name}.json", content), "figures")
    wrote(write_atomically(run.pictures / f"{name}.png", png_bytes(race_figure(plain))), "picture")
