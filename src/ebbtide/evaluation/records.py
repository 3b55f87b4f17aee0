"""The diary of a run: one JSON object a line, each with a "kind" and a "step"."""

import json
import math
from pathlib import Path
from typing import Any

from ebbtide.errors import EbbtideError, require
from ebbtide.files import write_atomically


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


def read_records(path: Path | str) -> list[dict[str, Any]]:
    """All records in the order written. A broken last line (a run was killed as it wrote) is passed over.

    Raises EbbtideError where the file is missing, or a line before the last is no record (with its number).
    """
    path = Path(path)
    require(path.is_file(), f"no file of records at {path}; a run writes it as metrics.jsonl in its folder")
    return [record for record, _ in _read(path)[0]]


def keep_until(path: Path | str, step: int) -> None:
    """Drop, atomically, every record after the given step and a cut last line. A missing file stays missing.

    For resuming from a checkpoint: what the lost part of the run had written is taken back.
    """
    path = Path(path)
    if path.is_file():
        kept = [line for record, line in _read(path)[0] if record["step"] <= step]
        write_atomically(path, b"".join(kept))


def _read(path: Path) -> tuple[list[tuple[dict[str, Any], bytes]], bool]:
    """Pairs of record and its line (with line end), and whether the last line was cut."""
    lines = [(number, line) for number, line in enumerate(path.read_bytes().split(b"\n"), 1) if line.strip()]
    pairs = []
    for number, line in lines:
        record = _parse(line)
        if record is not None:
            pairs.append((record, line + b"\n"))
        elif number == lines[-1][0]:
            return pairs, True
        else:
            raise EbbtideError(
                f'{path}, line {number}: expected a JSON object with "kind" and a whole "step", '
                f"got {line[:60].decode(errors='replace')!r}; mend or delete that line"
            )
    return pairs, False


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None
    good = isinstance(record, dict) and isinstance(record.get("kind"), str) and type(record.get("step")) is int
    return record if good else None


def _mend(path: Path) -> None:
    data = path.read_bytes()
    if not data:
        return
    pairs, cut = _read(path)
    if cut or not data.endswith(b"\n"):
        write_atomically(path, b"".join(line for _, line in pairs))


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
