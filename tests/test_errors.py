"""Errors say what to do."""

import pytest

from ebbtide.errors import EbbtideError, near_misses, require


def test_only_a_broken_requirement_is_an_error():
    require(True, "never said")
    with pytest.raises(EbbtideError, match="expected more"):
        require(False, "expected more")


def test_a_typo_is_answered_with_the_word_that_was_meant():
    assert near_misses("cosin", ["linear", "cosine"]) == " Did you mean cosine?"
    assert near_misses("xyzzy", ["linear", "cosine"]) == ""
