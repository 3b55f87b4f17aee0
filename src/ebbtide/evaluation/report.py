"""The report page of a run: one HTML file that opens anywhere, drawn from what the run has written."""

from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from ebbtide.errors import EbbtideError, require
from ebbtide.evaluation import figures
from ebbtide.evaluation.bits import told
from ebbtide.evaluation.diagnosis import diagnosis_section
from ebbtide.evaluation.page import DAMAGED, duration, numbers, page, picture, section, sentence, table
from ebbtide.evaluation.quality import quality_section
from ebbtide.evaluation.race import race_section
from ebbtide.evaluation.records import read_diary
from ebbtide.evaluation.restoration import restoration_section
from ebbtide.files import write_atomically
from ebbtide.json_files import read_json, typed

OVER_TRAINING = 6  # pictures in the row of samples over training
MOST_EVENTS = 200


def write_report(run: Path | str) -> Path:
    """Write RUN/report.html, whole or not at all, and return its path.

    The page holds its pictures and style within, runs no script and asks nothing of the network. What the run has
    not written yet is named in a sentence. Raises EbbtideError where the folder holds no readable recipe.json.
    """
    run = Path(run).resolve()
    about = _read_about(run)
    records, said = _read_metrics(run)
    parts = [
        _head(run, about, records, said),
        _samples(run, records),
        _picture_section(run, "film", "Film of sampling", "wide"),
        _picture_section(run, "restored", "Restored"),
        quality_section(run),
        restoration_section(run),
        diagnosis_section(run),
        race_section(run),
        _other_pictures(run),
        _over_training(run, records),
        '<div class="pair">',
        _chart("Loss", figures.loss_figure, records, "Training loss against the step"),
        _chart("Loss against noise level", figures.levels_figure, records, "Mean loss in each bin of t"),
        _chart("Rate and speed", figures.rate_figure, records, "Learning rate and images per second"),
        _events(records),
        "</div>",
        '<div class="pair">',
        section("Recipe", table(about["recipe"]) if about["recipe"] else sentence("The recipe is empty.")),
        _machine(about),
        "</div>",
    ]
    return write_atomically(run / "report.html", page(f"{run.name}: ebbtide report", parts))


def _read_about(run: Path) -> dict[str, Any]:
    """recipe.json, its parts "recipe", "data" and "machine" being dicts, if empty ones."""
    path = run / "recipe.json"
    require(path.is_file(), f"{run} is no run: it holds no recipe.json; give the folder that a training has written")
    about = typed(dict[str, Any], read_json(path), str(path))
    return about | {key: _dict(about.get(key)) for key in ("recipe", "data", "machine")}


def _read_metrics(run: Path) -> tuple[list[dict[str, Any]], str]:
    """The records, and a sentence where they cannot be read: a report without curves is better than none."""
    path = run / "metrics.jsonl"
    if not path.is_file():
        return [], "This run has written no records yet."
    try:
        diary = read_diary(path)
    except OSError as error:
        return [], f"The records cannot be read: {error.strerror}."
    return diary.records, f"{_state(diary.records)} {diary.trouble}".strip()


def _head(run: Path, about: Mapping[str, Any], records: figures.RecordList, said: str) -> str:
    data, name = about["data"], about["recipe"].get("name")
    shape = data.get("event_shape")
    classes = data.get("classes")
    facts = [
        f"recipe {name}" if name else "",
        f"data {data['name']}" if data.get("name") else "",
        " × ".join(map(str, shape)) if isinstance(shape, list) else "",
        f"{len(classes)} classes" if isinstance(classes, list) and classes else "",
    ]
    return "\n".join(
        [
            f"<header><h1>{escape(run.name)}</h1>",
            sentence(" · ".join(fact for fact in facts if fact)),
            sentence(said),
            numbers(_key_numbers(data, records) | _bits(run)),
            "</header>",
        ]
    )


def _state(records: figures.RecordList) -> str:
    if not records:
        return "The records are empty: training has not made its first update yet."
    last = max(record["step"] for record in records)
    if _is_done(records):
        return f"Finished at update {last:,}."
    return f"Not finished; the last record is from update {last:,}."


def _is_done(records: figures.RecordList) -> bool:
    """Whether the last step is that of the end: a run that was finished and taken up again is not done."""
    last = max((record["step"] for record in records), default=0)
    return any(record["kind"] == "done" and record["step"] == last for record in records)


def _key_numbers(data: Mapping[str, Any], records: figures.RecordList) -> dict[str, str]:
    """What is known, in words; what is not is left out."""

    def last(field: str, kind: str = "update") -> float | None:
        values = figures.series(records, field, kind)[1]
        return float(values[-1]) if len(values) else None

    def whole(number: Any) -> str | None:
        return f"{int(number):,}" if figures.is_number(number) else None

    seconds = max((s for s in (last("seconds"), last("seconds", "done")) if s is not None), default=None)
    speed = figures.series(records, "images_per_second")[1]
    loss = figures.series(records, "loss")[1]
    skipped = figures.series(records, "skipped")[1]
    count = max((record["step"] for record in records), default=None)
    which = "final loss" if _is_done(records) else "latest loss"
    found = {
        "examples": whole(data.get("examples")),
        "updates": whole(count),
        "images seen": whole(last("images")),
        "time": duration(seconds) if seconds is not None else None,
        "images/s": whole(float(np.median(speed))) if len(speed) else None,
        which: f"{figures.smoothed(loss)[-1]:.4g}" if len(loss) else None,
        "skipped updates": whole(skipped.max()) if len(skipped) else None,
    }
    return {name: text for name, text in found.items() if text is not None}


def _bits(run: Path) -> dict[str, str]:
    """What `ebbtide bits` found last."""
    file = run / "bits.json"
    if not file.is_file():
        return {}
    try:
        found = read_json(file)
        return {f"bits a dimension ({told(found)})": f"{found['bits']:.3f} ± {found['noise_error']:.3f}"}
    except DAMAGED:
        return {"bits a dimension": "bits.json is damaged"}


def _samples(run: Path, records: figures.RecordList) -> str:
    shown = picture(run / "pictures" / "final.png", "a grid of final samples")
    if shown is None:
        taken = [(step, shown) for step, path in _sampled(run, records)[-1:] if (shown := _sample(step, path, ""))]
        return section("Samples", taken[0][1] if taken else sentence("There are no samples yet."))
    return section("Final samples", shown)


def _over_training(run: Path, records: figures.RecordList) -> str:
    chosen = figures.evenly(_sampled(run, records), OVER_TRAINING)
    shown = [tag for step, path in chosen if (tag := _sample(step, path, "thumb"))]
    if len(shown) < 2:
        return ""  # a single picture is shown above
    return section("Samples over training", '<div class="row">' + "\n".join(shown) + "</div>")


def _sampled(run: Path, records: figures.RecordList) -> list[tuple[int, Path]]:
    """Step and picture in the order of updates: those on record, else those in the folder."""
    found: dict[int, Path] = {}
    for record in records:
        name = record.get("file") if record["kind"] == "sampled" else None
        path = run / name if isinstance(name, str) and "\0" not in name else run
        if path.is_file() and path.resolve().is_relative_to(run):  # a record may not reach outside its run
            found[record["step"]] = path
    if not found:
        for path in (run / "samples").glob("*.png"):
            digits = path.stem.removeprefix("step-")
            if digits.isascii() and digits.isdigit():
                found[int(digits)] = path
    return sorted(found.items())


def _sample(step: int, path: Path, kind: str) -> str | None:
    return picture(path, f"samples at update {step}", f"update {step:,}", kind)


def _picture_section(run: Path, name: str, title: str, kind: str = "") -> str:
    shown = picture(run / "pictures" / f"{name}.png", title, kind=kind)
    return section(title, shown) if shown else ""


def _other_pictures(run: Path) -> str:
    """Every further picture of the run, under its file name."""
    told = ("final", "film", "restored", "evaluation", "neighbours", "doctor", "race")
    others = [path for path in sorted((run / "pictures").glob("*.png")) if path.stem not in told]
    shown = [(path.stem, picture(path, path.stem, kind="other")) for path in others]
    return "\n".join(section(name.replace("-", " ").capitalize(), tag) for name, tag in shown if tag)


def _chart(title: str, draw: Callable[[Any], Any], records: figures.RecordList, alt: str) -> str:
    try:
        tag = picture(figures.png_bytes(draw(records)), alt, kind="chart")
    except EbbtideError:  # the figure says so where it finds nothing to draw
        tag = None
    return section(title, tag or sentence("Nothing is on record for this curve yet."))


def _events(records: figures.RecordList) -> str:
    events = [record for record in records if record["kind"] == "event"]
    shown = events[-MOST_EVENTS:]
    if not shown:
        return section("Events", sentence("Nothing out of the ordinary was written down."))
    lines = [
        f"<li><b>update {record['step']:,}</b><span>{escape(str(record.get('message', '')))}</span></li>"
        for record in shown
    ]
    left_out = len(events) - len(shown)
    note = [sentence(f"{left_out:,} earlier events are left out; metrics.jsonl has them all.")] if left_out else []
    return section("Events", *note, '<ol class="events">' + "\n".join(lines) + "</ol>")


def _machine(about: Mapping[str, Any]) -> str:
    data = {name: _shortened(value) for name, value in about["data"].items()}
    versions = {"ebbtide": about.get("ebbtide"), "recipe format": about.get("format")}
    values = {"data": data, "machine": about["machine"], "versions": versions}
    return section("Data, machine and versions", table(values))


def _shortened(value: Any) -> Any:
    """Long lists, such as a thousand class names, with their middle left out."""
    if isinstance(value, list) and len(value) > 24:
        return [*value[:10], f"… ({len(value) - 12} more)", *value[-2:]]
    return value


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
