"""The diary of a run: one JSON object a line, each with a "kind" and a "step"."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ebbtide.errors import EbbtideError, require
from ebbtide.files import write_atomically
from ebbtide.json_files import parse_json, typed

LONGEST = 2**20
"""Bytes of a line."""
_NUMBER, _NUMBERS = float | None, list[float | None]
FIELDS: Mapping[str, Mapping[str, Any]] = {
    "update": {
        **dict.fromkeys(("loss", "rate", "grad_norm", "images_per_second", "seconds"), _NUMBER),
        **dict.fromkeys(("images", "skipped"), int),
    },
    "levels": {"edges": list[float], "count": list[int]} | dict.fromkeys(("loss", "constant", "linear"), _NUMBERS),
    "sampled": {"file": str},
    "event": {"message": str},
    "done": {"seconds": _NUMBER},
}
"""What the fields of each kind of record are, where they are there; other kinds and fields may be anything."""


class Records:
    """Appends to a file of records, created with its folder where missing.

    A last line that a kill has cut is dropped first, so that the next record starts on a line of its own.
    The file is opened anew for each record: nothing is left to close, and a record is on its way to the disk
    when `append` returns.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch()
        _mend(self.path)

    def __repr__(self) -> str:
        return f"Records({str(self.path)!r})"

    def append(self, kind: str, step: int, **values: Any) -> None:
        """Write one line. Values: numbers, strings, None, lists, dicts, paths, arrays and tensors.

        A number that is not finite becomes null, since strict JSON knows no NaN.
        Raises EbbtideError for a value of another type.
        """
        record = {"kind": kind, "step": step} | {name: _plain(name, value) for name, value in values.items()}
        line = json.dumps(record, allow_nan=False) + "\n"
        with self.path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(line)


@dataclass(frozen=True)
class Diary:
    """What a file of records holds: the records in the order written, and the numbers of lines that are none."""

    records: list[dict[str, Any]]
    damaged: tuple[int, ...] = ()

    @property
    def trouble(self) -> str:
        """What was passed over, in words; empty where nothing was."""
        if not self.damaged:
            return ""
        some = ", ".join(map(str, self.damaged[:5])) + (", ..." if len(self.damaged) > 5 else "")
        return f"Of the records {len(self.damaged):,} that are damaged were passed over (metrics.jsonl, line {some})."


def read_diary(path: Path | str) -> Diary:
    """All that can be read. A line that is no record is passed over and counted; the last, if a kill has cut it, is
    passed over only.

    Raises EbbtideError where the file is missing.
    """
    path = Path(path)
    require(path.is_file(), f"no file of records at {path}; a run writes it as metrics.jsonl in its folder")
    lines = _read(path)
    records = [line.record for line in lines if line.record is not None]
    return Diary(records, tuple(line.number for line in lines if line.record is None and not line.cut))


def read_records(path: Path | str) -> list[dict[str, Any]]:
    """The records of `read_diary`."""
    return read_diary(path).records


def keep_until(path: Path | str, step: int) -> None:
    """Drop, atomically, every record after the given step and a cut last line. A missing file stays missing.

    For resuming from a checkpoint: what the lost part of the run had written is taken back.
    """
    path = Path(path)
    if path.is_file():
        kept = [line for line in _read(path) if not line.cut and (line.record is None or line.record["step"] <= step)]
        write_atomically(path, b"".join(line.content for line in kept))


@dataclass(frozen=True)
class _Line:
    """content: with its end. record: None where there is none. cut: the last line, and no record."""

    number: int
    content: bytes
    record: dict[str, Any] | None
    cut: bool = False


def _read(path: Path) -> list[_Line]:
    with path.open("rb") as file:
        lines = [
            _Line(number, line.rstrip(b"\n") + b"\n", _parse(line))
            for number, line in enumerate(file, 1)
            if line.strip()
        ]
    if lines and lines[-1].record is None:
        lines[-1] = replace(lines[-1], cut=True)
    return lines


def _parse(line: bytes) -> dict[str, Any] | None:
    """The record of a line; None where it has no kind and step, or a value of another type than its kind's."""
    if len(line) > LONGEST:
        return None
    try:
        record = typed(dict[str, Any], parse_json(line, constants=True), "record")
        step = typed(int, record.get("step"), "step")
        for name, kind in FIELDS.get(typed(str, record.get("kind"), "kind"), {}).items():
            if name in record:
                typed(kind, record[name], name)
    except ValueError:
        return None
    return record if 0 <= step < 2**53 else None


def _mend(path: Path) -> None:
    data = path.read_bytes()
    lines = _read(path)
    if (lines and lines[-1].cut) or (data and not data.endswith(b"\n")):
        write_atomically(path, b"".join(line.content for line in lines if not line.cut))


def _plain(name: str, value: Any) -> Any:
    """The value as JSON can hold it."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _plain(name, item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(name, item) for item in value]
    if isinstance(value, Path):
        return value.as_posix()
    if hasattr(value, "tolist"):  # arrays and tensors, and their scalars
        return _plain(name, value.tolist())
    raise EbbtideError(
        f"record value {name!r}: got {type(value).__name__}, "
        "expected a number, string, None, list, dict, path, array or tensor"
    )
