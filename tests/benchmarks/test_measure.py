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
    page = "x\n<!-- one:begin -->\nold\n<!-- one:end -->\ny\n<!-- two:begin -->\nkept\n<!-- two:end -->\n"
    filled = publish.filled(page)
    assert "| 1 | 2 |" in filled
    assert "old" not in filled
    assert filled.startswith("x\n<!-- one:begin -->\n*Title")
    assert filled.endswith("<!-- one:end -->\ny\n<!-- two:begin -->\nkept\n<!-- two:end -->\n")
    assert publish.filled(filled) == filled
