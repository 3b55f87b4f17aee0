"""A recipe as JSON and back: what is unknown is refused by name, and nothing that is read can run code."""

from __future__ import annotations

import json
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from ebbtide.errors import EbbtideError, near_misses, require
from ebbtide.recipes.recipe import Recipe, check

FORMAT = 1
"""Version of the JSON layout; another one is refused."""


def to_json(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain JSON."""
    return asdict(recipe)


def from_json(value: Any) -> Recipe:
    """The recipe back; unknown fields, wrong types and unknown words are refused by name."""
    result = _read(Recipe, value, "recipe")
    assert isinstance(result, Recipe)
    return check(result)


def read_recipe(path: Path) -> Recipe:
    """A recipe from a JSON file: the recipe itself, or a run's recipe.json."""
    try:
        value = json.loads(path.read_text())
    except OSError as error:
        raise EbbtideError(f"recipe {path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise EbbtideError(f"recipe {path} is no JSON: {error}") from None
    if isinstance(value, dict) and "recipe" in value:
        require(value.get("format") == FORMAT, f"{path} has format {value.get('format')!r}, expected {FORMAT}")
        value = value["recipe"]
    return from_json(value)


def _read(kind: Any, value: Any, where: str) -> Any:
    if is_dataclass(kind):
        require(isinstance(value, dict), f"{where} is {value!r}, expected an object with fields")
        hints = get_type_hints(kind)
        known = [field.name for field in fields(kind)]
        for name in value:
            require(name in known, f"{where} has no field {name!r}.{near_misses(name, known)}")
        made: Any = kind
        return made(**{name: _read(hints[name], value[name], f"{where}.{name}") for name in known if name in value})
    options = get_args(kind)
    if options and any(option is type(None) for option in options):  # X | None
        if value is None:
            return None
        rest = [option for option in options if option is not type(None)]
        return _read(rest[0], value, where)
    if options and all(isinstance(option, str) for option in options):  # Literal
        require(value in options, f"{where} is {value!r}, expected one of {', '.join(options)}")
        return value
    if options and options[-1] is Ellipsis:  # tuple[X, ...]
        require(isinstance(value, list | tuple), f"{where} is {value!r}, expected a list")
        return tuple(_read(options[0], item, where) for item in value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    fits = isinstance(value, kind) and not (kind is int and isinstance(value, bool))
    require(fits, f"{where} is {value!r}, expected {kind.__name__}")
    return value
