"""The data of a run, found again: that they are still those it learned from is held against their fingerprint."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from ebbtide.data import Dataset, ValueRange
from ebbtide.data.fingerprint import fingerprint
from ebbtide.data.source import is_missing, located
from ebbtide.errors import require
from ebbtide.recipes.build import build_data
from ebbtide.recipes.recipe import DataRecipe, Recipe
from ebbtide.recipes.run import DataFacts, Run


@dataclass(frozen=True, kw_only=True)
class RunData:
    """What a run learned from, or what was given in its place.

    recipe: with the source where they were found. train: as the run is trained on them. own: whether these are the
    examples, and the labels it learned, that it was trained on.
    """

    run: Run
    recipe: DataRecipe
    train: Dataset
    own: bool

    @property
    def mark(self) -> str:
        """The fingerprint of the examples, and of their labels if the run learned labels."""
        return _mark(self.run.data, self.train)

    def whole(
        self, split: Literal["train", "test"], *, labels: bool | None = None, held_out: float | None = None
    ) -> Dataset:
        """One split without limit and flips. None: as the recipe says."""
        asked = {"labels": labels, "held_out": held_out}
        given: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
        recipe = replace(self.recipe, limit=None, flip=False, **given)
        if split == "train" and recipe == replace(self.recipe, flip=False):
            return replace(self.train, flip=False)
        if self.train.held_out and self.train.is_image:
            # what is kept aside has as many channels, whatever its own pictures need
            recipe = replace(recipe, colour="grey" if self.train.event_shape[0] == 1 else "rgb")
        return build_data(recipe, split, _range_of(self.run))

    def name(self, stem: str) -> str:
        """What a result on these data is called in the run's folder: the run's own keep the name to themselves."""
        if self.own:
            return stem
        known = re.sub(r"[^\w.-]+", "-", self.train.name)[:40]
        return f"{stem}-on-{known}-{self.mark[:6]}"

    def told(self) -> str:
        """What is said of other data than the run's own."""
        name = self.name("...")
        return (
            f"{self.train.name} ({self.recipe.source}) is not what {self.run.path} was trained on "
            f"({self.run.data.name}): what is found is kept apart, as {name}, and the report leaves it out"
        )

    def record(self) -> dict[str, str | bool]:
        """Whose data a result is about, for its file."""
        return {"source": self.recipe.source, "fingerprint": self.mark, "own": self.own}


def data_of(run: Run, source: str | None = None) -> RunData:
    """The run's data, or those of `source`, which may be others; of the same shape in any case.

    Raises EbbtideError if they are not where they were, or without a source are not those it was trained on.
    """
    found = find_data(run, source)
    check_shape(found)
    require(found.own or source is not None, changed(run, found.train))
    return found


def find_data(run: Run, source: str | None = None) -> RunData:
    """The same, whether or not they have changed, of any shape."""
    recipe = run.recipe.data if source is None else replace(run.recipe.data, source=source)
    require(source is not None or not is_missing(recipe.source), moved(run))
    train = build_data(recipe, "train", _range_of(run))
    recipe = replace(recipe, source=located(recipe.source))
    return RunData(run=run, recipe=recipe, train=train, own=is_same(run.data, train, recipe))


def check_shape(data: RunData) -> None:
    """That the examples have the shape of those that the run was trained on."""
    run, train = data.run, data.train
    shapes = ["x".join(map(str, shape)) for shape in (train.event_shape, run.data.event_shape)]
    require(
        train.event_shape == run.data.event_shape,
        f"{train.name} has examples of shape {shapes[0]}, but {run.path} was trained on {shapes[1]}: give data of "
        "that shape (--data)",
    )


def is_same(facts: DataFacts, train: Dataset, recipe: DataRecipe) -> bool:
    """Whether these are the examples that the facts are about. A run of before has no fingerprint: there the number of
    examples and, of images, their mean and deviation must do."""
    if facts.fingerprint:
        labelled = train.labels is not None or not facts.classes
        return labelled and _mark(facts, train) == facts.fingerprint
    same = len(train) == facts.examples and train.event_shape == facts.event_shape
    if not train.is_image or recipe.low is not None:
        return same
    standard = ValueRange.standard(train.values)
    return same and bool(np.allclose((standard.low, standard.high), facts.range, rtol=1e-5))


def in_full(recipe: Recipe) -> Recipe:
    """The recipe with its sources' paths in full: a run names the same data from any folder."""
    data = replace(recipe.data, source=located(recipe.data.source))
    return replace(recipe, data=data, corruption=replace(recipe.corruption, other=located(recipe.corruption.other)))


def moved(run: Run) -> str:
    """What is said where the run's data are not to be found."""
    return (
        f"the data that {run.path} was trained on are no longer at {run.recipe.data.source}: say where they are now "
        "(--data)"
    )


def changed(run: Run, train: Dataset) -> str:
    """What is said where there are other data now."""
    counts = (
        f"{run.data.examples:,} examples then, {len(train):,} now"
        if run.data.examples != len(train)
        else f"{len(train):,} examples as before, of other content"
    )
    return (
        f"the data at {run.recipe.data.source} have changed since {run.path} was trained on them ({counts}): bring the "
        f"old ones back or say where they are (--data); --data {run.recipe.data.source} takes what is there now"
    )


def _mark(facts: DataFacts, train: Dataset) -> str:
    """The fingerprint that the facts would have of these examples."""
    return fingerprint(train, labels=bool(facts.classes) and train.labels is not None)


def _range_of(run: Run) -> ValueRange | None:
    return run.data.value_range if run.data.is_image else None
