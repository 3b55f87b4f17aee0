"""ebbtide doctor: what is wrong with a run, a recipe or data, in plain words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.progress import Progress as Bar

from ebbtide.cli.fields import Positional
from ebbtide.cli.options import parse, screen, styled, wrote
from ebbtide.data import BUILT_IN
from ebbtide.data.source import is_missing
from ebbtide.doctor.finding import Finding, Progress, in_order
from ebbtide.doctor.levels import Errors
from ebbtide.doctor.network import Levels
from ebbtide.errors import near_misses, require
from ebbtide.evaluation.diagnosis import count_in_words, errors_figure
from ebbtide.evaluation.figures import png_bytes
from ebbtide.files import write_atomically
from ebbtide.json_files import write_json
from ebbtide.recipes.doctor import DoctorSettings, Found, examine_data, examine_recipe, examine_run
from ebbtide.recipes.presets import PRESETS, find_recipe
from ebbtide.recipes.recipe import DataRecipe
from ebbtide.recipes.run import Run, open_run
from ebbtide.recipes.run_data import RunData
from ebbtide.training.machine import device_of

MARKS = {"wrong": ("wrong", "bold red"), "note": ("note ", "yellow"), "fine": ("fine ", "green")}


@dataclass(frozen=True)
class DoctorOptions:
    """Say in plain words what is wrong with a run, a recipe or data, and what is fine, each with its number.

    Of a run: data, schedule, records, weights, the error at each noise level against the best constant and the best
    linear denoiser of its data, averaged against last weights, held-out against training examples, samples. Writes
    RUN/doctor.json and RUN/pictures/doctor.png, which the report shows. Leaves with 3 if something is wrong, with 0 if
    nothing is.
    """

    target: Positional[str]
    """A run's folder, a preset or a recipe (JSON), or data: a folder of images or IDX files, an array, hf:NAME."""
    data: str | None = None
    """Another source than the run's or recipe's own, such as where the data lie now."""
    examples: int = 256
    """Examples whose errors are measured at each noise level."""
    samples: int = 128
    """Samples that are drawn and looked at."""
    brief: bool = False
    """Leave out what is fine."""
    device: str = "auto"
    """Where to compute: auto (a GPU that torch sees, else the CPU), cpu, cuda, cuda:1, mps."""


def doctor(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    options = parse(DoctorOptions, "doctor", arguments)
    require(options.examples >= 16, f"--examples {options.examples} came, expected at least 16")
    require(options.samples >= 16, f"--samples {options.samples} came, expected at least 16")
    run = open_run(Path(options.target)) if (Path(options.target) / "recipe.json").is_file() else None
    findings, levels, data = _gathered(_findings(options, run, device_of(options.device)))
    for finding in findings:
        if finding.verdict != "fine" or not options.brief:
            screen.print(styled(MARKS[finding.verdict], f"  {finding.check}: {finding.text}"))
    bad = [finding for finding in findings if finding.verdict == "wrong"]
    if run is not None:
        _write(run, data, findings, levels)
    causes = list(dict.fromkeys(finding.cause for finding in bad if finding.cause))
    said = count_in_words([finding.verdict for finding in findings])
    if not bad:
        screen.print(styled((said, "green")))
        return 0
    screen.print(styled((said, "red"), f"; the likely cause: {'; '.join(causes)}" if causes else ""))
    return 3


def _findings(options: DoctorOptions, run: Run | None, device: str) -> Iterator[Found]:
    if run is not None:
        settings = DoctorSettings(
            examples=options.examples, samples=options.samples, source=options.data, device=device
        )
        return examine_run(run, settings)
    if options.target in PRESETS or (Path(options.target).suffix == ".json" and Path(options.target).is_file()):
        recipe = find_recipe(options.target)
        if options.data is not None:
            recipe = replace(recipe, data=replace(recipe.data, source=options.data))
        return examine_recipe(recipe)
    near = near_misses(options.target, [*PRESETS, *BUILT_IN])
    require(not is_missing(options.target), f"there is no run, preset, recipe or data called {options.target!r}.{near}")
    require(options.data is None, f"--data came, but {options.target!r} is neither a run nor a recipe: drop it")
    return examine_data(DataRecipe(source=options.target))


def _gathered(found: Iterator[Found]) -> tuple[list[Finding], Levels | None, RunData | None]:
    """All findings, with how far each piece of work is where someone is looking; errors by level; whose data it was."""
    findings: list[Finding] = []
    levels: Levels | None = None
    data: RunData | None = None
    with Bar(console=screen, disable=not screen.is_terminal, transient=True) as shown:
        task = shown.add_task("looking", total=None)
        for one in found:
            if isinstance(one, Levels):
                levels = one
            elif isinstance(one, RunData):
                data = one
            elif isinstance(one, Progress):
                shown.update(task, description=one.what, completed=one.done, total=one.total)
            else:
                findings.append(one)
                shown.update(task, description=f"looked at {one.check}", completed=0, total=None)
    return in_order(findings), levels, data


def _write(run: Run, data: RunData | None, findings: list[Finding], levels: Levels | None) -> None:
    curves = _curves(levels)
    name = "doctor" if data is None else data.name("doctor")
    content = {"findings": [asdict(finding) for finding in findings], "levels": curves}
    wrote(write_json(run.path / f"{name}.json", content), "findings")
    if levels is not None:
        wrote(write_atomically(run.pictures / f"{name}.png", png_bytes(errors_figure(curves))), "picture")


def _curves(levels: Levels | None) -> dict[str, object]:
    if levels is None:
        return {}
    return {
        "log_snr": levels.average.log_snr.tolist(),
        "constant": levels.constant,
        "linear": _numbers(levels.linear),
        "average": _numbers(levels.average),
        "network": _numbers(levels.network),
        "train": _numbers(levels.train),
    }


def _numbers(errors: Errors) -> list[float | None]:
    """JSON has no NaN: an error that is not finite is null."""
    return [value if math.isfinite(value) else None for value in errors.mean.tolist()]
