"""The options of a command: the fields of a dataclass, each explained by the docstring under it.

run: Positional[Path]                         sample RUN
n: Annotated[int, Short("-n")] = 64           --n 3, -n 3
gif: bool = False                             --gif, --no-gif
label: str | None = None                      --label 7, --label None
recipe: Annotated[Recipe, Nameless()]         fields of a dataclass: --training.batch 64, --data.no-flip
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import cache, reduce
from itertools import pairwise
from operator import or_
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from ebbtide.data.images import Size

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Place:
    """An argument that is known by its place, not by a name."""


@dataclass(frozen=True)
class Nameless:
    """A dataclass whose own name does not stand before those of its fields."""


@dataclass(frozen=True)
class Short:
    """A second name."""

    flag: str


Positional = Annotated[Kind, Place()]
WORDS: dict[Any, str] = {
    Size: "a number of pixels (32) or height and width (32x48)",
    int: "a whole number",
    float: "a number",
    str: "a word",
    Path: "a path",
    bool: "true or false",
}


@dataclass(frozen=True)
class Option:
    """One option.

    path: of the field, in nested dataclasses; name: as it is written. kind: its type, without None; many: a tuple of
    that type. default: MISSING where one must be given.
    """

    path: tuple[str, ...]
    name: str
    kind: Any
    many: bool
    optional: bool
    default: Any
    about: str
    positional: bool
    short: str | None

    @property
    def off(self) -> str:
        """The name that says no: --no-gif, --data.no-flip."""
        head, dot, last = self.name.removeprefix("--").rpartition(".")
        return f"--{head}{dot}no-{last}"

    @property
    def switch(self) -> bool:
        """Whether it is on or off and takes no value."""
        return self.kind is bool and not self.many

    @property
    def names(self) -> tuple[str, ...]:
        """All its names, the one to speak of it by first."""
        return (self.name, self.off) if self.switch else (self.short, self.name) if self.short else (self.name,)

    @property
    def nested(self) -> bool:
        """Whether it belongs to a part of what the command is told, such as a recipe."""
        return len(self.path) > 1

    @property
    def choices(self) -> tuple[str, ...]:
        """The words that may be chosen among, if it is one of them."""
        words = get_args(self.kind)
        return words if all(isinstance(word, str) for word in words) else ()

    @property
    def expected(self) -> str:
        """What may come, in words."""
        one = f"one of {', '.join(self.choices)}" if self.choices else WORDS[self.kind]
        return one + (" or None" if self.optional and self.kind not in (str, Path) else "")


def options_of(
    kind: type, default: Any = None, path: tuple[str, ...] = (), before: tuple[str, ...] = ()
) -> Iterator[Option]:
    """The options of a dataclass, in its order. default: an instance, whose values are then the defaults."""
    hints, abouts = get_type_hints(kind, include_extras=True), docstrings(kind)
    for field in fields(kind):
        hint, *marks = get_args(hints[field.name]) if _is_marked(hints[field.name]) else (hints[field.name],)
        value = _default(field) if default is None else getattr(default, field.name)
        here, words = (*path, field.name), before if Nameless() in marks else (*before, field.name)
        if is_dataclass(hint):
            yield from options_of(hint, value, here, words)  # type: ignore[arg-type]
            continue
        optional = NoneType in get_args(hint)
        if optional:
            hint = reduce(or_, (one for one in get_args(hint) if one is not NoneType))
        many, positional = get_origin(hint) is tuple, Place() in marks
        yield Option(
            path=here,
            name=field.name.upper() if positional else "--" + ".".join(words).replace("_", "-"),
            kind=get_args(hint)[0] if many else hint,
            many=many,
            optional=optional,
            default=value,
            about=abouts.get(field.name, ""),
            positional=positional,
            short=next((mark.flag for mark in marks if isinstance(mark, Short)), None),
        )


def made(kind: type, values: dict[tuple[str, ...], Any], default: Any = None, path: tuple[str, ...] = ()) -> Any:
    """The dataclass with these values, by path; what is not among them is as in the default."""
    hints, given = get_type_hints(kind), {}
    for field in fields(kind):
        here = (*path, field.name)
        if here in values:
            given[field.name] = values[here]
        elif is_dataclass(hints[field.name]):
            value = _default(field) if default is None else getattr(default, field.name)
            given[field.name] = made(hints[field.name], values, value, here)
        elif default is not None:
            given[field.name] = getattr(default, field.name)
    return kind(**given)


@cache
def docstrings(kind: type) -> dict[str, str]:
    """The docstring under each field of a dataclass, in one line."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for field, text in pairwise(tree.body):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            assert isinstance(field.target, ast.Name)
            found[field.target.id] = " ".join(str(text.value.value).split())
    return found


def _is_marked(hint: Any) -> bool:
    return get_origin(hint) is Annotated


def _default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()
