import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from ebbtide.errors import EbbtideError
from ebbtide.evaluation.records import Records, keep_until, read_diary, read_records


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new folder" / "metrics.jsonl"


def write(path: Path, steps: list[int]) -> None:
    records = Records(path)
    for step in steps:
        records.append("update", step, loss=1.0 / (step + 1))


def test_what_is_appended_is_read_back_in_order(path):
    records = Records(path)
    records.append("update", 1, loss=0.5, name="a\nb — ü", flag=True, nothing=None)
    records.append("levels", 1, edges=np.linspace(0, 1, 3), loss=torch.tensor([1.0, math.nan]), count=[1, 0])
    records.append("sampled", 2, file=Path("samples") / "x.png", scale=np.float32(0.25))
    assert read_records(path) == [
        {"kind": "update", "step": 1, "loss": 0.5, "name": "a\nb — ü", "flag": True, "nothing": None},
        {"kind": "levels", "step": 1, "edges": [0.0, 0.5, 1.0], "loss": [1.0, None], "count": [1, 0]},
        {"kind": "sampled", "step": 2, "file": "samples/x.png", "scale": 0.25},
    ]


def test_each_record_is_on_disk_when_append_returns(path):
    records = Records(path)
    for step in range(3):
        records.append("event", step, message="x")
        assert len(path.read_text().splitlines()) == step + 1


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, np.float64("nan"), torch.tensor(math.inf)])
def test_what_is_not_finite_becomes_null_and_the_file_strict_json(path, bad):
    Records(path).append("update", 1, loss=bad, inner={"a": [bad, (1.5, bad)]})

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    record = json.loads(path.read_text(), parse_constant=refuse)
    assert record["loss"] is None
    assert record["inner"] == {"a": [None, [1.5, None]]}


def test_a_value_of_no_json_type_is_refused_and_nothing_written(path):
    with pytest.raises(EbbtideError, match=r"'thing'.*object"):
        Records(path).append("update", 1, thing=object())
    assert read_records(path) == []


@pytest.mark.parametrize("length", [1, 2, 10, -2])
def test_a_cut_last_line_is_passed_over_and_dropped_when_appending_goes_on(path, length):
    write(path, [0, 1, 2])
    first, second, third = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + second + third[:length])
    assert [record["step"] for record in read_records(path)] == [0, 1]
    Records(path).append("update", 7)
    assert [record["step"] for record in read_records(path)] == [0, 1, 7]


def test_a_whole_last_line_without_its_end_is_kept(path):
    write(path, [0, 1])
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    Records(path).append("update", 2)
    assert [record["step"] for record in read_records(path)] == [0, 1, 2]


DAMAGED = [
    b"{broken",
    b"[1, 2]",
    b'{"kind": "update"}',
    b'{"step": 1}',
    b"\xff\xfe",
    b"[" * 3000,
    b'{"kind": "event", "step": -1}',
    b'{"kind": "event", "step": %s}' % (b"9" * 5000),
    b'{"kind": "update", "step": 1, "step": 2}',
    b'{"kind": "update", "step": 1, "loss": "low"}',
    b'{"kind": "update", "step": 1, "images": 1.5}',
    b'{"kind": "update", "step": 1, "seconds": [1]}',
    b'{"kind": "levels", "step": 1, "edges": [0, null], "loss": [1]}',
    b'{"kind": "levels", "step": 1, "count": {}}',
    b'{"kind": "sampled", "step": 1, "file": 3}',
    b'{"kind": "event", "step": 1, "message": ["x"]}',
]


@pytest.mark.parametrize("line", DAMAGED)
def test_a_damaged_line_in_the_middle_is_passed_over_counted_and_kept(path, line):
    write(path, [0, 1, 2])
    first, *rest = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + line + b"\n" + b"".join(rest))
    diary = read_diary(path)
    assert [record["step"] for record in diary.records] == [0, 1, 2]
    assert diary.damaged == (2,)
    assert "line 2" in diary.trouble
    keep_until(path, 1)
    assert path.read_bytes() == first + line + b"\n" + rest[0], "what cannot be read is nobody's to delete"
    Records(path).append("update", 2)
    assert [record["step"] for record in read_records(path)] == [0, 1, 2]


def test_numbers_that_are_not_finite_and_unknown_fields_are_no_damage(path):
    lines = ['{"kind": "update", "step": 1, "loss": NaN, "more": {}}', '{"kind": "new", "step": 2, "loss": "x"}']
    path.parent.mkdir()
    path.write_text("\n".join(lines) + "\n")
    diary = read_diary(path)
    assert [record.get("loss") for record in diary.records] == [None, "x"]
    assert (diary.damaged, diary.trouble) == ((), "")


def test_a_missing_file_is_an_error_to_read_and_nothing_to_keep(path):
    with pytest.raises(EbbtideError, match="no file of records"):
        read_records(path)
    keep_until(path, 3)
    assert not path.exists()


@pytest.mark.parametrize("step", [-1, 0, 3, 5, 100])
def test_keep_until_drops_what_came_later_and_leaves_the_rest_untouched(path, step):
    write(path, list(range(6)))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines) + b'{"kind": "upd')
    keep_until(path, step)
    assert path.read_bytes() == b"".join(lines[: step + 1])
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_resuming_writes_the_same_file_as_never_stopping(path, tmp_path):
    write(path, list(range(10)))
    write(tmp_path / "other.jsonl", list(range(8)))
    keep_until(tmp_path / "other.jsonl", 4)
    write(tmp_path / "other.jsonl", list(range(5, 10)))
    assert (tmp_path / "other.jsonl").read_bytes() == path.read_bytes()
