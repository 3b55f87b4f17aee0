"""Options of ebbtide train that say the same thing twice: each is heeded, or both are refused."""

import pytest

from ebbtide.cli import train as command
from ebbtide.errors import EbbtideError
from ebbtide.recipes.objectives import OBJECTIVES
from ebbtide.recipes.recipe import ObjectiveRecipe
from trials import refusal


def recipe_of(monkeypatch, *options):
    """What would be trained."""
    chosen = []

    def enough(recipe, *rest, **more):
        chosen.append(recipe)
        raise EbbtideError("enough")

    monkeypatch.setattr(command, "train_run", enough)
    assert "enough" in refusal("train", "swiss-roll", *options)
    return chosen[0]


@pytest.mark.parametrize(
    ("field", "word"),
    [
        ("predicts", "x0"),
        ("measured", "eps"),
        ("weight", "none"),
        ("target", "sampled"),
        ("variance", "learned"),
        ("error", "absolute"),
        ("drop_labels", "0.25"),
    ],
)
def test_a_field_given_beside_a_named_loss_changes_that_field_alone(monkeypatch, field, word):
    """Also to what it would be without the name: bound's weight to none."""
    option = f"--objective.{field.replace('_', '-')}"
    for options in (("--objective", "bound", option, word), (option, word, "--objective", "bound")):
        found = recipe_of(monkeypatch, *options).objective
        assert str(getattr(found, field)) == word
        others = set(ObjectiveRecipe.__dataclass_fields__) - {field, "drop_labels"}
        named = OBJECTIVES["bound"].recipe
        assert all(getattr(found, other) == getattr(named, other) for other in others)


def test_a_loss_about_single_steps_has_a_table_unless_the_user_gives_one(monkeypatch):
    assert recipe_of(monkeypatch, "--objective", "hybrid").schedule.steps == 1000
    assert recipe_of(monkeypatch, "--objective", "simple", "--objective.variance", "learned").schedule.steps == 1000
    assert recipe_of(monkeypatch, "--objective", "hybrid", "--schedule.steps", 30).schedule.steps == 30
    listed = recipe_of(monkeypatch, "--objective", "hybrid", "--schedule.name", "list", "--schedule.betas", 0.1, 0.9)
    assert listed.schedule.steps is None


@pytest.mark.parametrize(
    ("short", "field", "one", "other"),
    [
        ("--updates", "--training.updates", 7, 8),
        ("--minutes", "--training.minutes", 7, 8),
        ("--seed", "--training.seed", 7, 8),
        ("--data", "--data.source", "moons", "mixture"),
    ],
)
def test_an_option_and_its_field_may_not_contradict_one_another(monkeypatch, short, field, one, other):
    line = refusal("train", "swiss-roll", short, one, field, other)
    assert f"{short} {one}" in line
    assert f"{field} {other}" in line
    recipe_of(monkeypatch, short, one, field, one)
