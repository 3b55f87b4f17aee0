"""No number makes a recipe that crashes or trains to NaN: each field, by reflection."""

import contextlib
import math
import types
from dataclasses import fields, replace
from typing import get_args, get_type_hints

import pytest

from ebbtide.errors import EbbtideError
from ebbtide.recipes.bounds import BOUNDS
from ebbtide.recipes.objectives import with_objective
from ebbtide.recipes.recipe import Recipe, check
from ebbtide.recipes.train import train
from ebbtide.training import Update
from trials import small

BASE = small("swiss-roll")


def numbers_of(section: str) -> dict[str, type]:
    """The fields of a section that are numbers or lists of them, and which kind."""
    found = {}
    for field, hint in get_type_hints(get_type_hints(Recipe)[section]).items():
        kinds = get_args(hint) if isinstance(hint, types.UnionType) or get_args(hint) else (hint,)
        for kind in (float, int):
            if kind in kinds:
                found[f"{section}.{field}"] = kind
    return found


FIELDS = {}
for part in fields(Recipe)[1:]:
    FIELDS |= numbers_of(part.name)
REALS = [name for name, kind in FIELDS.items() if kind is float]


def with_number(name: str, number) -> Recipe:
    section, field = name.split(".")
    part = getattr(BASE, section)
    listed = isinstance(getattr(part, field), tuple)
    return replace(BASE, **{section: replace(part, **{field: (number,) if listed else number})})


def test_every_number_has_bounds():
    assert set(FIELDS) == set(BOUNDS)


@pytest.mark.parametrize("name", FIELDS)
def test_what_nobody_can_mean_is_refused_by_name_in_one_line(name):
    wrong = [10**40, -(10**40)] + ([math.nan, math.inf, -math.inf, 1e300] if FIELDS[name] is float else [])
    for number in wrong + ([-1] if BOUNDS[name][0] >= 0 else []):
        with pytest.raises(EbbtideError, match=f"^{name}=.* came, expected a number from") as refused:
            check(with_number(name, number))
        assert "\n" not in str(refused.value)
        assert len(str(refused.value)) < 200


@pytest.mark.parametrize("name", REALS)
@pytest.mark.parametrize("end", [0, 1])
def test_at_its_bounds_it_trains_or_says_why_not(tmp_path, name, end):
    """An update whose loss is a number, or one line."""
    recipe = with_number(name, BOUNDS[name][end])
    with contextlib.suppress(EbbtideError):
        for happening in train(recipe, tmp_path / "run"):
            if isinstance(happening, Update):
                assert math.isfinite(happening.loss)
                assert not happening.skipped
                break


def test_decay_that_takes_all_of_the_weights_is_refused():
    recipe = replace(BASE, training=replace(BASE.training, rate=0.5, weight_decay=2.0))
    with pytest.raises(EbbtideError, match="take 100% of the weights away"):
        check(recipe)


@pytest.mark.parametrize(
    "change",
    [{"network": {"channels": 8192, "multipliers": (64, 64)}}, {"training": {"batch": 10**6}}],
    ids=["network", "batch"],
)
def test_what_no_memory_holds_is_refused_before_any_is_taken(tmp_path, change):
    recipe = with_objective(small(), "hybrid")
    for section, values in change.items():
        recipe = replace(recipe, **{section: replace(getattr(recipe, section), **values)})
    with pytest.raises(EbbtideError, match=r"training takes about .* GiB"):
        next(train(recipe, tmp_path / "run"))
    assert not (tmp_path / "run").exists()
