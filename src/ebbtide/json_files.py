"""Files of JSON: read with bounds on all that could hang, fill memory or mislead; held against types; written strictly.

Whatever is wrong with a file is one EbbtideError that names it. Beyond strict JSON (RFC 8259) refused are: names that
come twice in one object, numbers that are not finite or have more than 64 bits, text that is no Unicode.
"""

from __future__ import annotations

import contextlib
import json
import math
import stat
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NoReturn, Union, get_args, get_origin, get_type_hints

from ebbtide.errors import EbbtideError, near_misses, require
from ebbtide.files import write_atomically

LARGEST = 4 * 2**20
"""Bytes of a file: read, they may take fifty times as much memory."""
DEEPEST = 64
"""Objects and lists within one another."""
LONGEST = 64
"""Bits of a whole number."""


def read_json(path: Path | str) -> Any:
    """What a file holds; an EbbtideError in one line where it cannot be read or is no such JSON."""
    path = Path(path)
    try:
        found = path.stat()
        require(stat.S_ISREG(found.st_mode), f"{path} is no regular file: expected a file of JSON")
        fits = found.st_size <= LARGEST
        require(fits, f"{path} has {found.st_size:,} bytes, expected at most {LARGEST:,}: ebbtide did not write it")
        return parse_json(path.read_bytes())
    except OSError as error:
        raise EbbtideError(f"{path} cannot be read: {error.strerror}") from None
    except EbbtideError:
        raise
    except ValueError as error:
        raise EbbtideError(f"{path} is no JSON, or damaged ({error}): mend it, or restore it from a backup") from None


def parse_json(data: bytes, *, constants: bool = False) -> Any:
    """The value of bytes of JSON; ValueError with the reason where they are none.

    constants: NaN and Infinity, which other programs write, are read as None.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is no UTF-8") from None
    try:
        value = json.loads(
            text,
            parse_constant=(lambda word: None) if constants else _no_constant,
            parse_int=_whole,
            parse_float=_real,
            object_pairs_hook=_object,
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    _check(value, DEEPEST)
    return value


def write_json(path: Path | str, value: Any, indent: int | None = 1) -> Path:
    """Write a file of strict JSON, whole or not at all: a number that is not finite becomes null. Returns the path."""
    return write_atomically(path, json.dumps(finite_or_null(value), indent=indent, allow_nan=False) + "\n")


def finite_or_null(value: Any) -> Any:
    """The value with None for every float in it that is not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: finite_or_null(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite_or_null(item) for item in value]
    return value


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number of JSON")


def _whole(digits: str) -> int:
    # the length first: to read a number takes time that grows with its square
    if len(digits) > LONGEST or int(digits).bit_length() > LONGEST:
        raise ValueError(f"a whole number begins with {digits[:12]} and has {len(digits)} digits")
    return int(digits)


def _real(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:24]} is too large")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{shown(twice)} comes twice in one object")
    return found


def _check(value: Any, depth: int) -> None:
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise ValueError(f"{shown(value)} holds half of a character")
    elif isinstance(value, dict | list):
        if depth == 0:
            raise ValueError(f"it is nested more than {DEEPEST} deep")
        for item in [*value, *value.values()] if isinstance(value, dict) else value:
            _check(item, depth - 1)


def shown(value: Any) -> str:
    """A value in a message: what it is, but never a page of it."""
    text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    return text if len(text) <= 80 else f"{text[:70]}..."


def typed(kind: Any, value: Any, where: str) -> Any:
    """The value as the type that it should have, an EbbtideError that names the place where it has another.

    kind: bool, int, float, str, None, Any, a dataclass (an object with its fields and no others), dict[str, X],
    list[X], tuple[X, ...], tuple[X, Y], Literal, or X | Y | None. A whole number will do for a float. where: the name
    of the place, such as training.batch.
    """
    origin, options = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if is_dataclass(kind):
        return _dataclass(kind, value, where)
    if origin in (UnionType, Union):
        return _one_of(options, value, where)
    if origin is Literal:
        fits = any(value == option and type(value) is type(option) for option in options)
        require(fits, f"{where} is {shown(value)}, expected one of {', '.join(map(str, options))}")
        return value
    if origin in (tuple, list):
        require(isinstance(value, list | tuple), f"{where} is {shown(value)}, expected a list")
        if origin is list or options[-1] is Ellipsis:
            kinds = [options[0]] * len(value)
        else:
            kinds = list(options)
            require(len(value) == len(kinds), f"{where} is {shown(value)}, expected a list of {len(kinds)}")
        return origin(typed(one, item, where) for one, item in zip(kinds, value, strict=True))
    if origin is dict:
        require(isinstance(value, dict), f"{where} is {shown(value)}, expected an object")
        return {name: typed(options[1], item, f"{where}.{name}") for name, item in value.items()}
    if kind is float and type(value) is int:
        return float(value)
    fits = isinstance(value, kind) and not (isinstance(value, bool) and kind is not bool)
    require(fits, f"{where} is {shown(value)}, expected {kind.__name__}")
    return value


def _one_of(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    """The value as the first of the types that it fits."""
    if value is None and NoneType in kinds:
        return None
    kinds = tuple(kind for kind in kinds if kind is not NoneType)
    if len(kinds) == 1:
        return typed(kinds[0], value, where)
    for kind in kinds:
        with contextlib.suppress(EbbtideError):
            return typed(kind, value, where)
    names = (f"a list of {len(get_args(kind))}" if get_origin(kind) is tuple else kind.__name__ for kind in kinds)
    raise EbbtideError(f"{where} is {shown(value)}, expected {' or '.join(names)}")


def _dataclass(kind: Any, value: Any, where: str) -> Any:
    require(isinstance(value, dict), f"{where} is {shown(value)}, expected an object with fields")
    hints, known = get_type_hints(kind), {field.name: field for field in fields(kind)}
    for name in value:
        require(name in known, f"{where} has no field {shown(name)}.{near_misses(name, list(known))}")
    for name, field in known.items():
        optional = field.default is not MISSING or field.default_factory is not MISSING
        require(name in value or optional, f"{where} lacks the field {name}")
    return kind(**{name: typed(hints[name], value[name], f"{where}.{name}") for name in known if name in value})
