"""A recipe as JSON and back: what is unknown is refused by name, and nothing that is read can run code."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ebbtide.errors import EbbtideError, require
from ebbtide.json_files import read_json, shown, typed
from ebbtide.recipes.recipe import Recipe, check

FORMAT = 1
"""Version of the JSON layout; another one is refused."""


def to_json(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain JSON."""
    return asdict(recipe)


def from_json(value: Any) -> Recipe:
    """The recipe back; unknown fields, wrong types and unknown words are refused by name."""
    return check(typed(Recipe, value, "recipe"))


def read_recipe(path: Path) -> Recipe:
    """A recipe from a JSON file: the recipe itself, or a run's recipe.json."""
    value = read_json(path)
    if isinstance(value, dict) and "recipe" in value:
        found = value.get("format")
        require(found == FORMAT, f"{path} has format {shown(found)}, expected {FORMAT}")
        value = value["recipe"]
    try:
        return from_json(value)
    except EbbtideError as error:
        raise EbbtideError(f"{path}: {error}") from None
