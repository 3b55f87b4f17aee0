"""JSON that could hang, fill memory or mislead is refused in a line that names the file; what is read has its type."""

import json
import math
import os
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from ebbtide.errors import EbbtideError
from ebbtide.json_files import DEEPEST, LARGEST, parse_json, read_json, typed, write_json

HOSTILE = {
    "nothing": b"",
    "cut": b'{"a": [1, 2',
    "deep lists": b"[" * 3000 + b"]" * 3000,
    "deep objects": b'{"a":' * 100_000,
    "a little too deep": b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1),
    "forty digits": b'{"a": %s}' % (b"7" * 40),
    "5,000 digits": b'{"a": -%s}' % (b"7" * 5000),
    "65 bits": b'{"a": %d}' % 2**64,
    "NaN": b'{"a": NaN}',
    "Infinity": b'{"a": -Infinity}',
    "beyond floats": b'{"a": 1e999}',
    "a name twice": b'{"a": 1, "b": 2, "a": 3}',
    "no UTF-8": b'{"a": "\xff\xfe"}',
    "half a character": b'{"a": "\\ud800"}',
    "half a character in a name": b'{"\\udfff": 1}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "two values": b"1 2",
    "too large": b"[" + b"0," * (LARGEST // 2) + b"0]",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_no_healthy_file_holds_is_one_line_that_names_the_file(tmp_path, what):
    file = tmp_path / "some.json"
    file.write_bytes(HOSTILE[what])
    with pytest.raises(EbbtideError) as raised:
        read_json(file)
    said = str(raised.value)
    assert str(file) in said
    assert len(said) < len(str(file)) + 250
    said.encode()
    assert "\n" not in said


def test_what_is_no_file_is_refused_without_waiting_for_it(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("fifo", "loop", "nowhere", ".", "x" * 300):
        with pytest.raises(EbbtideError, match=name):
            read_json(tmp_path / name)


@pytest.mark.parametrize("value", [None, True, -(2**64) + 1, 1e308, "é𝄞", {"a": [{}, [], "b"]}, [[]]])
def test_what_is_written_is_read_back(tmp_path, value):
    assert read_json(write_json(tmp_path / "a.json", value)) == value


def test_a_number_that_is_not_finite_is_written_as_null_and_may_be_read_as_none(tmp_path):
    file = write_json(tmp_path / "a.json", {"a": [math.nan, (1.0, -math.inf)], "b": math.inf})
    assert json.loads(file.read_text()) == {"a": [None, [1.0, None]], "b": None}
    assert parse_json(b'{"a": [NaN, -Infinity]}', constants=True) == {"a": [None, None]}


@dataclass(frozen=True)
class Inner:
    words: tuple[str, ...] = ()
    pair: tuple[int, float] = (1, 2.0)


@dataclass(frozen=True)
class Outer:
    flag: bool
    whole: int | None
    inner: Inner = Inner()
    choice: Literal["a", "b", 3] = "a"
    table: dict[str, list[float]] | None = None
    anything: Any = None


GOOD = {
    "flag": True,
    "whole": 3,
    "inner": {"words": ["x"], "pair": [2, 3]},
    "choice": 3,
    "table": {"a": [1, 2.5]},
    "anything": {},
}


def test_a_value_takes_the_types_that_are_asked_for():
    made = typed(Outer, GOOD, "it")
    assert made == Outer(True, 3, Inner(("x",), (2, 3.0)), 3, {"a": [1.0, 2.5]}, {})
    assert isinstance(made.inner.pair[1], float)
    assert typed(Outer, {"flag": False, "whole": None}, "it") == Outer(False, None)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        *(("it.flag", bad) for bad in (1, "yes", None, [])),
        *(("it.whole", bad) for bad in (True, 3.0, "3", {})),
        *(("it.inner", bad) for bad in (None, [], "x", {"word": []})),
        *(("it.inner.words", bad) for bad in ("x", None, {}, [3])),
        *(("it.inner.pair", bad) for bad in ([1], [1, 2, 3], [1.5, 2], [1, True], [1, None])),
        *(("it.choice", bad) for bad in ("c", True, 3.0, None, [])),
        *(("it.table", bad) for bad in ([], {"a": 1}, {"a": ["1"]})),
        ("it.more", 1),
    ],
)
def test_another_type_is_refused_by_its_place(place, value):
    *sections, name = place.split(".")[1:]
    spoilt = json.loads(json.dumps(GOOD))
    section = spoilt
    for part in sections:
        section = section[part]
    section[name] = value
    with pytest.raises(EbbtideError, match=r"it" if name == "more" else place):
        typed(Outer, spoilt, "it")


def test_a_field_without_a_default_must_be_there():
    with pytest.raises(EbbtideError, match="it lacks the field whole"):
        typed(Outer, {"flag": True}, "it")


def test_a_long_value_is_not_repeated_whole():
    with pytest.raises(EbbtideError) as raised:
        typed(Outer, {"flag": "x" * 10_000, "whole": 1}, "it")
    assert len(str(raised.value)) < 200


@pytest.mark.parametrize(("value", "read"), [(32, 32), ([32, 48], (32, 48)), (None, None)])
def test_one_of_several_types_will_do(value, read):
    assert typed(int | tuple[int, int] | None, value, "it") == read


@pytest.mark.parametrize("value", ["32x48", [32], [1, 2, 3], 3.5, True, {}])
def test_none_of_several_types_is_refused_with_all_of_them(value):
    with pytest.raises(EbbtideError, match=r"it is .*, expected int or a list of 2"):
        typed(int | tuple[int, int] | None, value, "it")
