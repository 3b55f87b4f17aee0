"""Words of the command line become the options of a command; one line says which word could not be read, and why."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass
from difflib import get_close_matches
from typing import Any

from ebbtide.cli.fields import Option
from ebbtide.data.images import Size
from ebbtide.errors import EbbtideError, near_misses
from ebbtide.json_files import shown

NUMBER = re.compile(r"-(\.?\d|inf\b|nan\b)", re.IGNORECASE)
LARGEST = 2**63 - 1
TRUTH = {"true": True, "false": False}


@dataclass
class Words:
    """What is left to be read, and what was. The options of `command` are known by their names."""

    command: str
    options: Sequence[Option]
    renamed: Mapping[str, str]

    def __post_init__(self) -> None:
        self.values: dict[tuple[str, ...], Any] = {}
        self.places = [option for option in self.options if option.positional]
        self.named: dict[str, tuple[Option, bool]] = {}
        for option in self.options:
            if not option.positional:
                self.named |= {name: (option, True) for name in (option.name, option.short) if name}
                self.named |= {option.off: (option, False)} if option.switch else {}

    def read(self, arguments: Sequence[str]) -> dict[tuple[str, ...], Any]:
        """The values that came, by the paths of their fields."""
        left, last = list(arguments), ""
        while left:
            word = left.pop(0)
            if word == "--":
                self._take_places(left, "")
                break
            if _is_name(word):
                self._take_named(word, left)
            else:
                self._take_places([word, *_values(left)], last)
            last = word
        for option in self.places:
            if option.path not in self.values and option.default is MISSING:
                raise self._refused(f"{option.name} is missing ({option.about.rstrip('.')})")
        return self.values

    def _take_named(self, word: str, left: list[str]) -> None:
        name, given, value = word.partition("=")
        name = name.replace("_", "-")
        if name in self.renamed:
            raise self._refused(f"{name} came, which is now called {self.renamed[name]}")
        if word[:2] in self.named and word[1] != "-":  # -n5
            name, given, value = word[:2], word[2:], word[2:].removeprefix("=")
        if name not in self.named:
            raise self._refused(f"there is no option {name[:60]}.{self._near(name[:60])}")
        option, on = self.named[name]
        if option.switch:
            if given:
                raise self._refused(f"{word[:60]} came, but {name} takes no value: {option.name} or {option.off}")
            self.values[option.path] = on
        elif option.many:
            words = [value] if given else _values(left)
            self.values[option.path] = tuple(self._one(option, name, one) for one in words)
        else:
            if not given and (not left or _is_name(left[0])):
                raise self._refused(f"{name} came without a value, expected {option.expected}")
            self.values[option.path] = self._one(option, name, value if given else left.pop(0))

    def _take_places(self, words: list[str], last: str) -> None:
        """Words without a name: for the next places, the last of which may take many."""
        for word in words:
            free = [option for option in self.places if option.many or option.path not in self.values]
            if not free:
                switch = self.named.get(last.replace("_", "-"))
                why = f"{last} takes no value" if switch and switch[0].switch else "it is one argument too many"
                raise self._refused(f"{shown(word)} came, but {why}")
            option, value = free[0], self._one(free[0], free[0].name, word)
            before = self.values.get(option.path, ())
            self.values[option.path] = (*before, value) if option.many else value

    def _one(self, option: Option, name: str, word: str) -> Any:
        """The value of a word."""
        if option.optional and word == "None":
            return None
        known = option.choices or (list(TRUTH) if option.kind is bool else [])
        try:
            if option.choices:
                return known[known.index(word)]
            if option.kind is bool:
                return TRUTH[word.lower()]
            value: Any = read_size(word) if option.kind == Size else option.kind(word)
        except (ValueError, KeyError):
            near = near_misses(word, list(known))
            raise self._refused(f"{name} {shown(word)} came, expected {option.expected}.{near}") from None
        if option.kind is int and abs(value) > LARGEST:
            raise self._refused(f"{name} {shown(word)} came, which is too large")
        return value

    def _near(self, name: str) -> str:
        """The nearest names; those of fields also by their last part: --chanels is near --network.channels."""
        tails = {"--" + known.removeprefix("--").rpartition(".")[2]: known for known in self.named if "." in known}
        known = tails | {known: known for known in self.named}
        close = dict.fromkeys(known[word] for word in get_close_matches(name, known, n=3, cutoff=0.6))
        return f" Did you mean {' or '.join(close)}?" if close else ""

    def _refused(self, message: str) -> EbbtideError:
        end = "" if message.endswith(("?", ".")) else "."
        return EbbtideError(f"{message}{end} All options: ebbtide {self.command} --help")


def read_size(word: str) -> Size:
    """32, or 32x48: height and width in pixels. Raises ValueError for anything else."""
    found = re.fullmatch(r"([0-9]{1,6})(?:x([0-9]{1,6}))?", word)
    if found is None:
        raise ValueError(word)
    height, width = found.groups()
    return int(height) if width is None else (int(height), int(width))


def _is_name(word: str) -> bool:
    """Whether it is the name of an option; a negative number is none, nor is a single dash."""
    return word.startswith("-") and word != "-" and not NUMBER.match(word)


def _values(left: list[str]) -> list[str]:
    """The words up to the next name, which are taken away."""
    count = next((index for index, word in enumerate(left) if _is_name(word)), len(left))
    taken, left[:] = left[:count], left[count:]
    return taken
