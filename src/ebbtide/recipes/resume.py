"""Begin in a folder, or go on with the run that is in it: who may train there, and what must have stayed as it was."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from ebbtide.data import Dataset
from ebbtide.data.source import is_missing, located
from ebbtide.errors import require
from ebbtide.recipes.build import build_data
from ebbtide.recipes.lock import FILE, check_free, training_lock
from ebbtide.recipes.recipe import DataRecipe
from ebbtide.recipes.run import Run, open_run
from ebbtide.recipes.run_data import changed, in_full, is_same, moved
from ebbtide.training import Trainee, checkpoints
from ebbtide.training.state import GROUPS

HOW = ("batch", "accumulate", "rate", "weight_decay", "warmup", "decay", "clip", "half_life", "precision")
"""Fields of training that a resume may change; the run is then no longer the one that never stopped."""


def check_new(out: Path) -> None:
    """That no process trains in the folder, and nothing is in it."""
    check_free(out)
    check_empty(out)


def check_empty(out: Path) -> None:
    """That nothing is in the folder but a lock."""
    taken = out.is_dir() and any(path.name != FILE for path in out.iterdir())
    require(not taken, f"{out} is not empty: go on with --resume, or choose another --out")


@contextlib.contextmanager
def held(out: Path, accelerator: Accelerator) -> Iterator[list[str]]:
    """The folder locked for this training, by the first of its processes; yields what is to be said about it."""
    if not accelerator.is_main_process:
        accelerator.wait_for_everyone()  # until the first one holds it
        yield []
        return
    with training_lock(out) as left:
        accelerator.wait_for_everyone()
        yield [] if left is None else [f"{left} ended without letting go of {out}: taken over"]


def data_again(out: Path, recipe: DataRecipe, new_data: bool) -> Dataset:
    """The data to go on with, in the range that the run was trained with.

    Refused are data that are no longer there, or no longer those of before, unless they were named anew.
    """
    before = open_run(out)
    named = new_data or located(recipe.source) != located(before.recipe.data.source)
    require(named or not is_missing(recipe.source), moved(before))
    same_range = (recipe.low, recipe.high) == (before.recipe.data.low, before.recipe.data.high)
    limits = before.data.value_range if before.data.is_image and same_range else None
    dataset = build_data(recipe, "train", limits)
    asked_for = replace(before.recipe.data, source=recipe.source, flip=recipe.flip)
    require(named or recipe != asked_for or is_same(before.data, dataset, recipe), changed(before, dataset))
    return dataset


def restored(run: Run, trainee: Trainee) -> list[str]:
    """Load the newest checkpoint; the data and network must be those it was made with. Returns what is to be said."""
    before = open_run(run.path)
    # other data may have been named; fewer of the same ones are a slip
    fewer = run.recipe.data.limit != before.recipe.data.limit
    for what, old, new in (
        ("data shape", before.data.event_shape, run.data.event_shape),
        ("number of examples", before.data.examples, run.data.examples if fewer else before.data.examples),
        ("classes", before.data.classes, run.data.classes),
        ("range of values", before.data.range, run.data.range),
        ("network", before.recipe.network, run.recipe.network),
        ("corruption", in_full(before.recipe).corruption, run.recipe.corruption),
        ("schedule", before.recipe.schedule, run.recipe.schedule),
        ("objective", before.recipe.objective, run.recipe.objective),
        ("seed", before.recipe.training.seed, run.recipe.training.seed),
        ("optimizer", before.recipe.training.optimizer, run.recipe.training.optimizer),
    ):
        require(old == new, f"cannot resume {run.path}: its {what} {_difference(old, new)}")
    if not checkpoints.everything(run.checkpoints):
        return ["no checkpoint was made yet: starting from the beginning"]
    trainee.restore(checkpoints.load(checkpoints.latest(run.checkpoints), GROUPS))
    was, now = before.recipe.training, run.recipe.training
    changed = [name for name in HOW if getattr(was, name) != getattr(now, name)]
    told = ", ".join(f"{name} {getattr(now, name)} instead of {getattr(was, name)}" for name in changed)
    if before.data.fingerprint and before.data.fingerprint != run.data.fingerprint:
        told = ", ".join(filter(None, [told, f"other data: {run.data.name} ({run.recipe.data.source})"]))
    return [f"resumed from update {trainee.counters.step}", *([f"from here on with {told}"] if told else [])]


def _difference(old: Any, new: Any) -> str:
    """What changed, without what did not."""
    if not dataclasses.is_dataclass(old):
        return f"was {old}, now it is {new}"
    names = [field.name for field in dataclasses.fields(old) if getattr(old, field.name) != getattr(new, field.name)]
    return " and ".join(f"had {name} {getattr(old, name)}, now {getattr(new, name)}" for name in names)
