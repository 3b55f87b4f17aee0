"""ebbtide info and ebbtide report: what a preset costs, what a run is."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ebbtide.cli.fields import Positional
from ebbtide.cli.options import parse, screen, styled, wrote
from ebbtide.cli.paper import width
from ebbtide.errors import near_misses, require
from ebbtide.evaluation.records import Diary, read_diary
from ebbtide.evaluation.report import write_report
from ebbtide.recipes.cost import cost_of, in_words
from ebbtide.recipes.presets import PRESETS, Preset
from ebbtide.recipes.recipe import Recipe
from ebbtide.recipes.run import Run, open_run
from ebbtide.recipes.trial import made_up, tried
from ebbtide.training import checkpoints

INDENT = 18


@dataclass(frozen=True)
class InfoOptions:
    """Say what a preset costs before anything is trained, or what a run is and how far it came."""

    target: Positional[str]
    """A preset's name, or a run's folder."""


@dataclass(frozen=True)
class ReportOptions:
    """Write one self-contained HTML page about a run: RUN/report.html. It opens offline."""

    run: Positional[Path]
    """The run's folder."""


def info(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    target = parse(InfoOptions, "info", arguments).target
    is_run = (Path(target) / "recipe.json").is_file()
    if target in PRESETS and not is_run:
        facts = _preset_facts(PRESETS[target])
    else:
        known = is_run or Path(target).exists() or "/" in target
        require(known, f"there is no run and no preset {target!r}.{near_misses(target, list(PRESETS))}")
        facts = _facts(open_run(Path(target)))
    for name, value in facts.items():
        screen.print(styled((f"{name:{INDENT}}", "bold"), value))
    return 0


def report(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    run = open_run(parse(ReportOptions, "report", arguments).run)
    wrote(write_report(run.path), "report")
    return 0


def _preset_facts(preset: Preset) -> dict[str, str]:
    """Its cost, for the examples that it is meant for."""
    shape = "x".join(map(str, preset.shape))
    labels = f", {preset.classes} classes" if preset.classes else ""
    with screen.status(f"trying out {preset.recipe.name}") if screen.is_terminal else contextlib.nullcontext():
        trial = tried(preset.recipe, made_up(preset.shape, preset.classes))
    return {
        "preset": f"{preset.recipe.name}: {preset.about}",
        "cost for": f"examples of {shape}{labels}, in batches of {preset.recipe.training.batch}",
        **in_words(cost_of(preset.recipe, preset.shape, preset.classes), preset.recipe.training, trial.speed),
        "precision": trial.words(),
        **_sections(preset.recipe),
    }


def _sections(recipe: Recipe) -> dict[str, str]:
    """Every field of the recipe, by sections; a line ends between fields only, so that paths stay whole."""
    found = {}
    for field in dataclasses.fields(recipe):
        section = getattr(recipe, field.name)
        if dataclasses.is_dataclass(section):
            lines = [""]
            for part in dataclasses.fields(section):
                word = f"{part.name}={getattr(section, part.name)}"
                if lines[-1] and INDENT + len(lines[-1]) + 2 + len(word) > width():
                    lines.append("")
                lines[-1] += f"  {word}" if lines[-1] else word
            found[field.name + " recipe"] = ("\n" + " " * INDENT).join(lines)
    return found


def _progress(run: Run, diary: Diary) -> dict[str, str]:
    """How far it came, as far as its records say so."""
    updates = [record for record in diary.records if record["kind"] == "update"]
    facts = {"records": diary.trouble} if diary.damaged else {}
    if not updates:
        return facts
    last = updates[-1]
    finished = any(record["kind"] == "done" and record["step"] == last["step"] for record in diary.records)
    images, seconds, loss = last.get("images"), last.get("seconds"), last.get("loss")
    done = [f"{last['step']:,} updates"]
    done += [f"{images:,} images"] if images is not None else []
    done += [f"{seconds / 60:.1f} minutes"] if seconds is not None else []
    facts["trained"] = ", ".join(done) + (
        "" if finished else f" (not finished; go on with: ebbtide train {run.path} --resume)"
    )
    return facts | {"last loss": f"{loss:.4f}" if loss is not None else "not finite"}


def _facts(run: Run) -> dict[str, str]:
    data, machine = run.data, run.machine
    parameters = sum(parameter.numel() for parameter in run.network().parameters())
    facts = {
        "run": str(run.path),
        "data": f"{data.name}: {data.examples:,} examples of {'x'.join(map(str, data.event_shape))}, "
        f"values {data.range[0]:g} to {data.range[1]:g}",
        "labels": ", ".join(data.classes) or "none",
        "parameters": f"{parameters:,}",
        "machine": f"{machine.get('name', '?')}, {machine.get('precision', '?')}",
    }
    facts |= _progress(run, read_diary(run.metrics)) if run.metrics.is_file() else {}
    found = checkpoints.everything(run.checkpoints)
    facts["checkpoints"] = ", ".join(path.name for path in found) or "none"
    return facts | _sections(run.recipe)
