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

RENAMED = {"training": {"steps": "updates", "checkpoint_steps": "checkpoint_updates"}}
"""What a section's fields were called before: old files are read, and written with the new names."""


def to_json(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain JSON."""
    return asdict(recipe)


def from_json(value: Any) -> Recipe:
    """The recipe back; unknown fields, wrong types and unknown words are refused by name."""
    return check(typed(Recipe, _by_new_names(value), "recipe"))


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


def _by_new_names(value: Any) -> Any:
    for section, renamed in RENAMED.items():
        if isinstance(value, dict) and isinstance(value.get(section), dict):
            fields = value[section]
            for old, new in renamed.items():
                both = old in fields and new in fields
                require(not both, f"recipe.{section} has {old} and {new}, its new name: expected one of them")
            value = value | {section: {renamed.get(name, name): content for name, content in fields.items()}}
    return value
