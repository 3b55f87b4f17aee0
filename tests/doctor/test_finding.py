"""Findings in the order in which they are to be read, and names cut short."""

from itertools import permutations

import pytest

from ebbtide.doctor.finding import fine, in_order, note, shown, wrong

FOUND = [fine("d", "-"), note("c", "-"), wrong("b", "-"), wrong("a", "-", "a cause")]


@pytest.mark.parametrize("findings", list(permutations(FOUND)))
def test_causes_come_first_then_what_else_is_wrong_then_notes_then_what_is_fine(findings):
    assert [finding.check for finding in in_order(list(findings))] == ["a", "b", "c", "d"]


def test_findings_of_a_kind_stay_in_the_order_in_which_they_were_found():
    assert [finding.text for finding in in_order([note("c", text) for text in "zaq"])] == list("zaq")


@pytest.mark.parametrize(
    ("names", "expected"),
    [([], ""), ("a", "a"), ("ab", "a, b"), ("abc", "a, b and 1 more"), ("a" * 1234, "a, a and 1,232 more")],
)
def test_names_beyond_the_most_are_counted(names, expected):
    assert shown(tuple(names), 2) == expected
