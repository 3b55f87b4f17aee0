"""Errors say what to do."""

import pytest

from ebbtide.errors import EbbtideError, near_misses, printable, require


def test_only_a_broken_requirement_is_an_error():
    require(True, "never said")
    with pytest.raises(EbbtideError, match="expected more"):
        require(False, "expected more")


def test_a_typo_is_answered_with_the_word_that_was_meant():
    assert near_misses("cosin", ["linear", "cosine"]) == " Did you mean cosine?"
    assert near_misses("xyzzy", ["linear", "cosine"]) == ""


def test_what_a_terminal_should_not_be_sent_is_escaped():
    assert printable("pic\u00fcres/猫 1.png") == "pic\u00fcres/猫 1.png"
    assert printable("a\udce9\ud800\n\x1b[2J\u202e") == r"a\xe9\ud800\n\x1b[2J\u202e"
