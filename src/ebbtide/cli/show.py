"""ebbtide info and ebbtide report: what a run is."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.markup import escape

from ebbtide.cli.options import parse, screen, wrote
from ebbtide.evaluation.records import read_records
from ebbtide.evaluation.report import write_report
from ebbtide.recipes.run import Run, open_run
from ebbtide.training import checkpoints


@dataclass(frozen=True)
class InfoOptions:
    """Say what a run is and how far it came."""

    run: tyro.conf.Positional[Path]
    """The run's folder."""


@dataclass(frozen=True)
class ReportOptions:
    """Write one self-contained HTML page about a run: RUN/report.html. It opens offline."""

    run: tyro.conf.Positional[Path]
    """The run's folder."""


def info(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    run = open_run(parse(InfoOptions, "info", arguments).run)
    for name, value in _facts(run).items():
        screen.print(f"[bold]{name:18}[/]{escape(value)}")
    return 0


def report(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    run = open_run(parse(ReportOptions, "report", arguments).run)
    wrote(write_report(run.path), "report")
    return 0


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
    records = read_records(run.metrics) if run.metrics.is_file() else []
    updates = [record for record in records if record["kind"] == "update"]
    if updates:
        last = updates[-1]
        finished = any(record["kind"] == "done" and record["step"] == last["step"] for record in records)
        facts["trained"] = f"{last['step']:,} steps, {last['images']:,} images, {last['seconds'] / 60:.1f} minutes" + (
            "" if finished else f" (not finished; go on with: ebbtide train {run.path} --resume)"
        )
        facts["last loss"] = f"{last['loss']:.4f}" if last["loss"] is not None else "not finite"
    found = checkpoints.everything(run.checkpoints)
    facts["checkpoints"] = ", ".join(path.name for path in found) or "none"
    for field in dataclasses.fields(run.recipe):
        section = getattr(run.recipe, field.name)
        if dataclasses.is_dataclass(section):
            values = (f"{f.name}={getattr(section, f.name)}" for f in dataclasses.fields(section))
            facts[field.name + " recipe"] = "  ".join(values)
    return facts
