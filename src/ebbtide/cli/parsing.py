"""The words of a command line, parted by argparse, become values; what cannot be read is told in one line."""

from __future__ import annotations

import re
from argparse import SUPPRESS, ArgumentError, ArgumentParser
from collections.abc import Mapping, Sequence
from dataclasses import MISSING
from difflib import get_close_matches
from typing import Any

from ebbtide.cli.fields import Option
from ebbtide.data.images import Size
from ebbtide.errors import EbbtideError, near_misses
from ebbtide.json_files import shown

NUMBER = re.compile(r"-(\.?\d|inf\b|nan\b)", re.IGNORECASE)
LARGEST = 2**63 - 1


def read(options: Sequence[Option], arguments: Sequence[str], renamed: Mapping[str, str]) -> dict[tuple[str, ...], Any]:
    """The values that came, by the paths of their fields. renamed: the new names of options that had others before."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    words = [re.sub("^--[^=]+", lambda name: name[0].replace("_", "-"), word) for word in arguments[:end]]
    named = {name: option for option in options if not option.positional for name in option.names}
    try:
        found, left = _parser(options).parse_known_args(words)
    except ArgumentError as error:  # argparse itself refuses only a value for a switch
        name = str(error.argument_name)
        word = next(word for word in words if word.startswith(f"{name}="))
        raise EbbtideError(f"{word[:60]} came, but {_no_value(name, named)}") from None
    for word in left:
        if word.startswith("-") and word != "-" and not NUMBER.match(word):
            raise EbbtideError(_unknown(word.partition("=")[0], named, renamed))
    given, left = vars(found), [*left, *arguments[end + 1 :]]
    for option in options:
        if option.positional and left:
            given[option.name], left = (left, []) if option.many else (left[0], left[1:])
        elif option.positional and option.default is MISSING:
            raise EbbtideError(f"{option.name} is missing ({option.about.rstrip('.')}).")
    if left:
        before = ["", *words][words.index(left[0])] if left[0] in words else ""
        raise EbbtideError(f"{shown(left[0])} came, but {_no_value(before, named) or 'it is one argument too many.'}")
    return {option.path: _value(option, given[option.name]) for option in options if option.name in given}


def _parser(options: Sequence[Option]) -> ArgumentParser:
    """Of the options that have a name; an option that came without a value is None."""
    parser = ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False, argument_default=SUPPRESS)
    parser._negative_number_matcher = NUMBER  # its own does not know -1e-3 and -inf
    for option in options:
        if option.switch:
            parser.add_argument(option.name, dest=option.name, action="store_true")
            parser.add_argument(option.off, dest=option.name, action="store_false")
        elif not option.positional:
            parser.add_argument(*option.names, dest=option.name, nargs="*" if option.many else "?")
    return parser


def _value(option: Option, came: Any) -> Any:
    """What came for an option (a word, words, None where a word is missing), in the option's own type."""
    if option.switch:
        return came
    if isinstance(came, list):
        return tuple(_value(option, word) for word in came)
    name = option.names[0]
    if came is None:
        raise EbbtideError(f"{name} came without a value, expected {option.expected}.")
    if option.optional and came == "None":
        return None
    try:
        kind = {word: word for word in option.choices}.__getitem__ if option.choices else option.kind
        value: Any = READERS.get(kind, kind)(came)
    except (ValueError, KeyError):
        near = near_misses(came, option.choices)
        raise EbbtideError(f"{name} {shown(came)} came, expected {option.expected}.{near}") from None
    if option.kind is int and abs(value) > LARGEST:
        raise EbbtideError(f"{name} {shown(came)} came, which is too large.")
    return value


def _size(word: str) -> Size:
    """32, or 32x48: height and width in pixels."""
    if re.fullmatch("[0-9]{1,6}(x[0-9]{1,6})?", word) is None:
        raise ValueError(word)
    sides = [int(side) for side in word.split("x")]
    return sides[0] if len(sides) == 1 else (sides[0], sides[1])


READERS = {Size: _size, bool: lambda word: {"true": True, "false": False}[word.lower()]}
"""What makes a value of a word where the type itself does not."""


def _no_value(name: str, named: Mapping[str, Option]) -> str:
    """What is said where a switch got a value; nothing of other words."""
    option = named.get(name)
    return f"{name} takes no value: {option.name} or {option.off}." if option and option.switch else ""


def _unknown(name: str, named: Mapping[str, Option], renamed: Mapping[str, str]) -> str:
    """With the nearest names; those of fields also by their last part: --chanels is near --network.channels."""
    if name in renamed:
        return f"{name} came, which is now called {renamed[name]}."
    known = {"--" + one.removeprefix("--").rpartition(".")[2]: one for one in named if "." in one}
    known |= {one: one for one in named}
    close = dict.fromkeys(known[one] for one in get_close_matches(name[:60], known, n=3, cutoff=0.6))
    return f"there is no option {name[:60]}." + (f" Did you mean {' or '.join(close)}?" if close else "")
