"""Command lines that nobody should type: any command with any of its options and hostile values."""

from __future__ import annotations

import dataclasses
from random import Random
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from ebbtide.cli.bits import BitsOptions
from ebbtide.cli.corrupt import CorruptOptions
from ebbtide.cli.doctor import DoctorOptions
from ebbtide.cli.evaluate import EvaluateOptions
from ebbtide.cli.main import COMMANDS
from ebbtide.cli.race import RaceOptions
from ebbtide.cli.restore import RestoreOptions
from ebbtide.cli.sample import SampleOptions
from ebbtide.cli.show import InfoOptions, ReportOptions
from ebbtide.cli.train import TrainOptions
from ebbtide.recipes.recipe import Recipe
from mutations import WORDS

OPTIONS: dict[str, Any] = {
    "train": TrainOptions,
    "sample": SampleOptions,
    "restore": RestoreOptions,
    "corrupt": CorruptOptions,
    "race": RaceOptions,
    "evaluate": EvaluateOptions,
    "doctor": DoctorOptions,
    "bits": BitsOptions,
    "info": InfoOptions,
    "report": ReportOptions,
}
TARGETS = ("run", "run", "run", "digits", "photo.png", "nowhere", ".", "/dev/null", "run/recipe.json", "x" * 5000)
HOSTILE = ("-1", "0", "nan", "inf", "-inf", "1e300", "1e-300", "1" * 40, "7" * 5000, "0x10", "1_0", "٣", "--", "-", "=")
WRITES = ("--out", "--npz")
ENOUGH = {
    "train": ("--training.updates", "1", "--training.pictures", "0"),
    "sample": ("-n", "1", "--steps", "1"),
    "corrupt": ("--examples", "1"),
    "evaluate": ("--samples", "64", "--bits", "0"),
    "doctor": ("--examples", "16", "--samples", "16"),
    "bits": ("--examples", "4", "--levels", "4"),
    "race": ("--samples", "64", "--samplers", "ddim", "--evaluations", "2"),
}
"""What comes last, so that what is possible ends soon."""
SLOW = ("evaluate", "doctor", "bits", "race")
"""Three in four of these are only begun, with an option that nobody has."""


def fields_of(kind: Any, prefix: str = "--") -> list[tuple[str, tuple[str, ...]]]:
    """Options that have a name, each with values that it may well take."""
    found = []
    hints = get_type_hints(kind, include_extras=True)
    for one in dataclasses.fields(kind):
        if dataclasses.is_dataclass(one.default):
            found += fields_of(type(one.default), f"{prefix}{one.name}.")
        elif "Positional" not in str(one.type) and "arg(name=" not in str(one.type):
            found.append((prefix + one.name.replace("_", "-"), _likely(hints[one.name])))
    return found


def _likely(kind: Any) -> tuple[str, ...]:
    options = get_args(kind)
    if get_origin(kind) is Literal:
        return tuple(map(str, options))
    if options:
        return tuple(word for option in options if option is not ... for word in _likely(option))
    return {int: ("1", "2", "7"), float: ("0.5", "1"), bool: (), NoneType: ("None",)}.get(kind, ("digits", "run", "a"))


def command_line(random: Random) -> list[str]:
    """The words after `ebbtide`."""
    name = random.choice(sorted(COMMANDS))
    if random.random() < 0.03:
        return [random.choice(("", "--", "trian", "[/b]", "\x1b[2J", "\udcff", "x" * 5000)), "x"]
    if name not in OPTIONS:
        return [name, *_some(random, [("--x", ("a",))])]
    known = fields_of(OPTIONS[name]) + (fields_of(Recipe) if name == "train" else [])
    words = [name, random.choice(TARGETS) if random.random() < 0.9 else random.choice(WORDS + HOSTILE)]
    words += _some(random, known)
    ending = ENOUGH.get(name, ())
    if name in SLOW and random.random() < 0.75:
        ending = ("--no-such-option",)
    return [word.replace("\0", "") for word in (*words, *ending)]


def _some(random: Random, known: list[tuple[str, tuple[str, ...]]]) -> list[str]:
    words = []
    for option, likely in random.sample(known, min(len(known), random.choice((0, 1, 1, 2, 3)))):
        words.append(option if random.random() < 0.97 else option + "x")
        places = ("new", "photo.png", "run", "x" * 5000, "/dev/null/x", "a\nb", "[/b]")
        usual = places if option in WRITES else random.choice((HOSTILE, WORDS, likely, likely))
        if usual:
            words.append(random.choice(usual))
    return words
