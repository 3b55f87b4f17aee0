"""Turns, ratios, and tables that find their place."""

import pytest

import measure
import publish


def test_all_take_turns_and_the_order_turns_too():
    calls = []
    works = {name: (lambda name=name: calls.append(name)) for name in "abc"}
    found = measure.interleaved(works, 3, warmup=1)
    assert "".join(calls) == "abc" + "abc" + "bca" + "cab"
    assert {name: len(times) for name, times in found.items()} == {"a": 3, "b": 3, "c": 3}


def test_ratios_are_taken_round_by_round():
    """A slow round slows both: it does not count."""
    spread = measure.ratios([2.0, 20.0, 2.0, 2.2], [1.0, 10.0, 1.0, 1.0])
    assert (spread.median, spread.low) == (2.0, 2.0)
    assert spread.high == pytest.approx(2.05)
    assert measure.Spread.of([3.0]) == measure.Spread(3.0, 3.0, 3.0)


def test_a_table_goes_between_its_markers_and_nowhere_else(tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "RESULTS", tmp_path)
    measure.show("one", "Title", ("a", "b"), [("1", "2")])
    old = f"*Old ({measure.processor()}, 2 threads, fp32)*\n"
    page = f"x\n<!-- one:begin -->\n{old}<!-- one:end -->\ny\n<!-- two:begin -->\nkept\n<!-- two:end -->\n"
    filled = publish.filled(page)
    assert "| 1 | 2 |" in filled
    assert "Old" not in filled
    assert filled.startswith("x\n<!-- one:begin -->\n*Title")
    assert filled.endswith("<!-- one:end -->\ny\n<!-- two:begin -->\nkept\n<!-- two:end -->\n")
    assert publish.filled(filled) == filled


def test_a_table_takes_the_place_of_one_from_the_same_kind_of_processor_only(tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "RESULTS", tmp_path)
    page = "<!-- one:begin -->\n<!-- one:end -->\n"
    for processor, value in (("A(R) B with AMX", "1"), ("C", "2"), ("A(R) B", "3"), ("C", "4")):
        monkeypatch.setattr(measure, "processor", lambda processor=processor: processor)
        measure.show("one", "Title (of something)", ("a",), [(value,)])
        page = publish.filled(page)
    rows = [line for line in page.splitlines() if line.startswith("| ") and "a" not in line]
    assert rows == ["| 4 |", "| 3 |", "| 1 |"]
