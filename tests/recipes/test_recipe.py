"""A recipe becomes JSON and back unchanged; whatever is wrong in it is refused by name."""

import json
import math
from dataclasses import fields, is_dataclass
from typing import Literal, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebbtide.errors import EbbtideError
from ebbtide.levels import KINDS
from ebbtide.recipes.as_json import FORMAT, from_json, read_recipe, to_json
from ebbtide.recipes.presets import PRESETS
from ebbtide.recipes.recipe import (
    DataRecipe,
    NetworkRecipe,
    ObjectiveRecipe,
    Recipe,
    SamplingRecipe,
    ScheduleRecipe,
    TrainingRecipe,
)

SHARES, POSITIVE, WHOLE = st.floats(0, 1), st.floats(1e-12, 1), st.integers(1, 10**6)
MAYBE = st.none() | WHOLE


@st.composite
def trainings(draw):
    accumulate, parts = draw(st.integers(1, 9)), draw(st.integers(1, 99))
    return TrainingRecipe(
        updates=draw(WHOLE),
        minutes=draw(st.none() | POSITIVE),
        batch=accumulate * parts,
        accumulate=accumulate,
        rate=draw(POSITIVE),
        decay=draw(SHARES),
        precision=draw(st.sampled_from(["auto", "fp32", "bf16"])),
        checkpoint_updates=draw(MAYBE),
        seed=draw(st.integers(0, 2**63 - 1)),
    )


RECIPES = st.builds(
    Recipe,
    name=st.text(
        st.characters(codec="utf-8", categories=("L", "N", "P", "S"), exclude_characters="/\\."),
        min_size=1,
        max_size=20,
    ),
    data=st.builds(
        DataRecipe,
        source=st.text(),
        size=st.none() | st.integers(1, 8192) | st.tuples(st.integers(1, 8192), st.integers(1, 8192)),
        held_out=st.floats(0, 0.99),
        colour=st.sampled_from(["auto", "grey", "rgb"]),
        flip=st.booleans(),
        limit=MAYBE,
        low=st.floats(-2, 0),
    ),
    schedule=st.builds(
        ScheduleRecipe,
        name=st.sampled_from(["cosine", "sigmoid", "linear", "lecture", "constant", "list"]),
        steps=MAYBE,
        beta=st.floats(1e-4, 1),
        betas=st.lists(SHARES).map(tuple),
    ),
    network=st.builds(
        NetworkRecipe,
        name=st.sampled_from(["auto", "unet", "mlp", "upside-down"]),
        multipliers=st.lists(st.integers(1, 64), max_size=4).map(tuple),
        attention=st.lists(st.booleans(), max_size=4).map(tuple),
        dropout=st.floats(0, 0.99),
    ),
    objective=st.builds(
        ObjectiveRecipe,
        predicts=st.sampled_from(KINDS),
        measured=st.none() | st.sampled_from(KINDS),
        drop_labels=SHARES,
    ),
    training=trainings(),
    sampling=st.builds(SamplingRecipe, sampler=st.sampled_from(["ddim", "ancestral"]), steps=WHOLE, eta=SHARES),
)


# beartype, which looks at random items of what the strategies build, draws from `random`
@pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisDeprecationWarning")
@settings(max_examples=50, deadline=None)
@given(RECIPES)
def test_it_comes_back_from_json_unchanged(recipe):
    assert from_json(json.loads(json.dumps(to_json(recipe)))) == recipe


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_comes_back_from_json_unchanged(name):
    recipe = PRESETS[name].recipe
    assert from_json(json.loads(json.dumps(to_json(recipe)))) == recipe


def test_what_is_left_out_takes_its_default():
    recipe = from_json({"training": {"updates": 3}, "network": {}})
    assert recipe == Recipe(training=TrainingRecipe(updates=3))


def every_field(kind=Recipe, path=()):
    """All fields of the recipe that are values, with their types: (path, type)."""
    hints = get_type_hints(kind)
    for field in fields(kind):
        here = (*path, field.name)
        if is_dataclass(hints[field.name]):
            yield from every_field(hints[field.name], here)
        else:
            yield here, hints[field.name]


FIELDS = list(every_field())
WORDS = [
    path
    for path, kind in FIELDS
    if any(get_origin(option) is Literal for option in (kind, *get_args(kind)))  # X or X | None
]


def at(path, value):
    """A recipe that is whole but for the value at this path."""
    recipe = to_json(Recipe(training=TrainingRecipe(updates=3, minutes=1.0)))
    *sections, name = path
    section = recipe
    for part in sections:
        section = section[part]
    section[name] = value
    return recipe


def refused(path, value):
    with pytest.raises(EbbtideError) as raised:
        from_json(at(path, value))
    return str(raised.value)


def test_there_are_words_to_choose_among():
    assert len(WORDS) >= 8


@pytest.mark.parametrize("path", WORDS, ids=".".join)
@pytest.mark.parametrize("word", ["", "Auto", "ddimm", "fp16", 3, True])
def test_an_unknown_word_is_refused_by_the_field_and_the_known_words(path, word):
    message = refused(path, word)
    assert ".".join(path) in message
    assert repr(word) in message
    assert "expected one of" in message


@pytest.mark.parametrize("path", [path for path, _ in FIELDS], ids=".".join)
@pytest.mark.parametrize("value", [{}, {"steps": 3}])
def test_an_object_in_the_place_of_a_value_is_refused_by_the_field(path, value):
    assert ".".join(path) in refused(path, value)


@pytest.mark.parametrize(("path", "kind"), FIELDS, ids=[".".join(path) for path, _ in FIELDS])
def test_null_is_for_fields_that_may_be_left_open(path, kind):
    if type(None) in get_args(kind):
        from_json(at(path, None))
    else:
        assert ".".join(path) in refused(path, None)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("training.batch", "64"),
        ("training.batch", 64.0),
        ("training.batch", True),
        ("training.rate", "fast"),
        ("training.rate", False),
        ("data.flip", 1),
        ("data.flip", "yes"),
        ("data.source", 3),
        ("data.size", 8.5),
        ("network.multipliers", 2),
        ("network.multipliers", [1, 2.5]),
        ("network.multipliers", "12"),
        ("network.attention", [0, 1]),
        ("schedule.betas", ["0.1"]),
        ("training", 3),
        ("training", []),
        ("training", None),
    ],
)
def test_a_wrong_type_is_refused_by_the_field(path, value):
    assert path in refused(path.split("."), value)


def test_a_whole_number_will_do_for_a_real_one():
    assert from_json(at(("training", "clip"), 2)).training.clip == 2.0
    assert isinstance(from_json(at(("training", "clip"), 2)).training.clip, float)


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("traning", "training"),
        ("training.bach", "batch"),
        ("training.checkpoint_update", "checkpoint_updates"),
        ("sampling.ets", "eta"),
        ("network.chanels", "channels"),
    ],
)
def test_an_unknown_field_is_refused_with_the_nearest_known_ones(path, near):
    message = refused(path.split("."), 3)
    assert repr(path.split(".")[-1]) in message
    assert f"Did you mean {near}" in message or f"or {near}" in message


@pytest.mark.parametrize(
    ("path", "value"),
    [
        *((f"training.{name}", 0) for name in ("updates", "batch", "accumulate", "keep", "checkpoint_updates")),
        *((f"training.{name}", -1) for name in ("warmup", "pictures", "half_life", "seed", "weight_decay")),
        *((f"training.{name}", 0) for name in ("minutes", "rate", "clip", "checkpoint_minutes")),
        *((f"training.{name}", math.nan) for name in ("minutes", "rate", "clip", "decay")),
        *((f"training.{name}", math.inf) for name in ("minutes", "rate", "checkpoint_minutes")),
        *((path, bad) for path in ("training.decay", "objective.drop_labels") for bad in (-0.1, 1.1)),
        *(("sampling.eta", bad) for bad in (-0.1, 2, math.nan)),
        *((path, 0) for path in ("sampling.steps", "schedule.steps", "data.size", "data.limit")),
        *((f"network.{name}", 0) for name in ("channels", "blocks", "heads", "width", "depth", "patch")),
        *(("network.dropout", bad) for bad in (-0.1, 1.0, math.nan)),
        ("network.multipliers", [1, 0]),
        ("data.size", [32, 0]),
        *(("data.held_out", bad) for bad in (-0.1, 1.0, math.nan)),
    ],
)
def test_a_number_out_of_range_is_refused_by_the_field(path, value):
    message = refused(path.split("."), value)
    assert path in message
    assert "expected" in message


def test_a_recipe_of_before_is_read_by_its_fields_old_names_and_written_by_the_new_ones():
    recipe = from_json({"training": {"steps": 3, "checkpoint_steps": 2}, "sampling": {"steps": 7}})
    assert recipe == Recipe(training=TrainingRecipe(updates=3, checkpoint_updates=2), sampling=SamplingRecipe(steps=7))
    assert not {"steps", "checkpoint_steps"} & set(to_json(recipe)["training"])


def test_a_field_by_both_its_names_is_refused():
    with pytest.raises(EbbtideError, match="steps and updates"):
        from_json({"training": {"steps": 3, "updates": 4}})


NAMES = [
    "",
    " ",
    "a ",
    ".",
    "..",
    ".hidden",
    "../x",
    "/x",
    "a/b",
    "a\\b",
    "[/b]",
    "a\nb",
    "\x1b[2J",
    "\udc80",
    "\u202e",
    "é" * 51,
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_no_folder_should_have_is_refused(name):
    message = refused(("name",), name)
    assert "the name" in message
    assert message.isprintable()


@pytest.mark.parametrize("name", ["[b]", "a b", "ünï 𝄞", "-x", ":smile:", "é" * 50, "a..b"])
def test_other_names_are_taken(name):
    assert from_json(at(("name",), name)).name == name


def test_parts_must_divide_the_batch():
    with pytest.raises(EbbtideError, match=r"batch=10 .* 4 parts"):
        from_json({"training": {"updates": 3, "batch": 10, "accumulate": 4}})


def test_a_recipe_must_end():
    with pytest.raises(EbbtideError, match=r"training\.updates or training\.minutes"):
        from_json({})


@pytest.mark.parametrize("value", [None, 3, "digits", [], [{}]])
def test_what_is_no_object_is_refused(value):
    with pytest.raises(EbbtideError, match="expected an object"):
        from_json(value)


def test_a_file_may_hold_the_recipe_or_a_whole_run(tmp_path):
    recipe = PRESETS["moons"].recipe
    path = tmp_path / "recipe.json"
    for content in (to_json(recipe), {"format": FORMAT, "recipe": to_json(recipe), "data": {}}):
        path.write_text(json.dumps(content))
        assert read_recipe(path) == recipe


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"{", "is no JSON"),
        (b"\xff\x00\x81", "is no JSON"),
        (b"", "is no JSON"),
        (json.dumps({"format": FORMAT + 1, "recipe": {}}).encode(), f"has format {FORMAT + 1}"),
        (json.dumps({"recipe": {}}).encode(), "has format None"),
    ],
)
def test_a_file_that_holds_none_is_refused_by_name(tmp_path, content, says):
    path = tmp_path / "recipe.json"
    path.write_bytes(content)
    with pytest.raises(EbbtideError, match=says) as raised:
        read_recipe(path)
    assert str(path) in str(raised.value)


def test_a_file_that_is_not_there_is_refused_by_name(tmp_path):
    with pytest.raises(EbbtideError, match="cannot be read"):
        read_recipe(tmp_path / "nowhere.json")
