"""Options are read as they are written; what cannot be is one line: what came, what was expected, where to look."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import pytest

from ebbtide.cli.fields import Nameless, Positional, Short
from ebbtide.cli.options import parse
from ebbtide.data.images import Size
from ebbtide.errors import EbbtideError
from trials import grey_run, refusal


@dataclass(frozen=True)
class Part:
    batch: int = 64
    half_life: float = 0.5
    flags: tuple[bool, ...] = (True,)
    flip: bool = True


@dataclass(frozen=True)
class Whole:
    name: str = "whole"
    part: Part = field(default_factory=Part)


@dataclass(frozen=True)
class Options:
    """For these tests."""

    run: Positional[Path]
    """The run's folder."""
    images: Positional[tuple[Path, ...]] = ()
    """Pictures."""
    n: Annotated[int, Short("-n")] = 64
    level: float | None = None
    label: str | None = None
    size: Size | None = None
    split: Literal["train", "test"] | None = None
    samplers: tuple[Literal["ddim", "heun"], ...] = ("ddim",)
    gif: bool = False
    whole: Annotated[Whole, Nameless()] = field(default_factory=Whole)


def read(*words):
    return parse(Options, "try", ["run", *words])


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ([], {}),
        (["-n", "3"], {"n": 3}),
        (["-n3"], {"n": 3}),
        (["-n=3"], {"n": 3}),
        (["--n", "-3"], {"n": -3}),
        (["--n=-3"], {"n": -3}),
        (["--level", "-inf"], {"level": float("-inf")}),
        (["--level", ".5", "--level", "None"], {"level": None}),
        (["--label", "none"], {"label": "none"}),
        (["--label=-x=y"], {"label": "-x=y"}),
        (["--label", ""], {"label": ""}),
        (["--size", "32"], {"size": 32}),
        (["--size", "32x48"], {"size": (32, 48)}),
        (["--split", "test"], {"split": "test"}),
        (["--samplers", "heun", "ddim"], {"samplers": ("heun", "ddim")}),
        (["--samplers", "--gif"], {"samplers": (), "gif": True}),
        (["--gif", "--no-gif"], {"gif": False}),
        (["a.png", "--gif", "b.png"], {"images": (Path("a.png"), Path("b.png")), "gif": True}),
        (["--", "-a.png", "--gif"], {"images": (Path("-a.png"), Path("--gif"))}),
        (["--name", "x", "--part.batch", "3"], {"whole": Whole(name="x", part=Part(batch=3))}),
        (["--part.half-life", "1e-3"], {"whole": Whole(part=Part(half_life=1e-3))}),
        (["--part.half_life", "2"], {"whole": Whole(part=Part(half_life=2.0))}),
        (
            ["--part.no-flip", "--part.flags", "true", "False"],
            {"whole": Whole(part=Part(64, 0.5, (True, False), False))},
        ),
    ],
)
def test_what_is_written_is_what_is_read(words, values):
    assert read(*words) == Options(**({"run": Path("run")} | values))


def test_what_is_not_given_is_as_in_the_default():
    default = Options(run=Path("x"), n=5, whole=Whole(name="mine", part=Part(batch=7)))
    found = parse(Options, "try", ["y", "--part.no-flip"], default)
    assert found == Options(run=Path("y"), n=5, whole=Whole(name="mine", part=Part(batch=7, flip=False)))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--split", "tset"], "--split 'tset' came, expected one of train, test or None. Did you mean test?"),
        (["--samplers", "ddim", "huen"], "--samplers 'huen' came, expected one of ddim, heun. Did you mean heun?"),
        (["-n", "abc"], "-n 'abc' came, expected a whole number."),
        (["-n", "1.5"], "-n '1.5' came, expected a whole number."),
        (["-n", "9" * 40], "too large"),
        (["-n", "9" * 9999], "expected a whole number"),
        (["--size", "3x"], "--size '3x' came, expected a number of pixels (32) or height and width (32x48) or None."),
        (["--level", "much"], "--level 'much' came, expected a number or None."),
        (["--part.flags", "yes"], "--part.flags 'yes' came, expected true or false."),
        (["-n"], "-n came without a value, expected a whole number."),
        (["--label", "--gif"], "--label came without a value, expected a word."),
        (["--lebel", "3"], "there is no option --lebel. Did you mean --level or --label?"),
        (["--bach", "3"], "there is no option --bach. Did you mean --part.batch?"),
        (["--part.bach", "3"], "there is no option --part.bach. Did you mean --part.batch"),
        (["-x"], "there is no option -x."),
        (["--gif", "a.png", "--no-gif=1"], "--no-gif=1 came, but --no-gif takes no value: --gif or --no-gif."),
    ],
)
def test_what_cannot_be_read_is_told_in_words(words, said):
    with pytest.raises(EbbtideError) as raised:
        read(*words)
    assert said in str(raised.value)
    assert str(raised.value).endswith(" All options: ebbtide try --help")
    assert len(str(raised.value)) < 300


COMMANDS = {
    "a bad choice": (("sample", "--sampler", "ddimm"), "expected one of dpm2m, dpm3m", "Did you mean ddim"),
    "an unknown option": (("sample", "--stesp", 3), "there is no option --stesp", "Did you mean --steps"),
    "a missing value": (("sample", "-n"), "-n came without a value, expected a whole number", "sample --help"),
    "a bad number": (("sample", "-n", "many"), "-n 'many' came, expected a whole number", "sample --help"),
    "one word too many": (("sample", "more"), "'more' came, but it is one argument too many", "sample --help"),
    "a value for a switch": (("sample", "--gif", "yes"), "'yes' came, but --gif takes no value", "sample --help"),
}


@pytest.mark.parametrize("case", COMMANDS)
def test_a_command_says_it_in_one_clean_line(case):
    (name, *words), *said = COMMANDS[case]
    line = refusal(name, grey_run(), *words)
    assert all(part in line for part in said)
    assert "nvalid" not in line


@pytest.mark.parametrize("name", ["sample", "restore", "evaluate", "bits", "race", "report"])
def test_a_missing_run_is_named(name):
    assert f"RUN is missing (The run's folder). All options: ebbtide {name} --help" in refusal(name)
