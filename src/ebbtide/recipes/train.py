"""Train a run: what is checked, tried and said before the first update, then the session."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from accelerate import Accelerator

from ebbtide.corruptions import ColdCorruption
from ebbtide.data import Dataset
from ebbtide.evaluation.records import keep_until
from ebbtide.files import clear_disk_errors
from ebbtide.objectives import ReadObjective
from ebbtide.recipes.build import build_data, build_trainee
from ebbtide.recipes.corruptions import fitted_start, objective_of
from ebbtide.recipes.cost import check_memory, cost_of, expectation
from ebbtide.recipes.doctor import first_look
from ebbtide.recipes.draw import check_drawing
from ebbtide.recipes.recipe import Recipe, check
from ebbtide.recipes.resume import check_empty, check_new, data_again, held, restored
from ebbtide.recipes.run import DataFacts, Run, open_run
from ebbtide.recipes.run_data import in_full
from ebbtide.recipes.session import Happening, Note, Session
from ebbtide.recipes.trial import WORTH, Trial, precision_by_hardware, tried
from ebbtide.training import Trainee
from ebbtide.training.machine import accelerator_of, compiled, describe, memory_of


def train(
    recipe: Recipe,
    out: Path,
    *,
    resume: bool = False,
    new_data: bool = False,
    device: str = "auto",
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Happening]:
    """Train into the folder `out`, yielding what happens; nothing is written before the input has been checked.

    resume: go on from the newest checkpoint in `out`, with the recipe given (its budget may be larger).
    new_data: the recipe's data may be others than those the run was trained on, of the same shape and classes.
    device: see `training.machine.device_of`; all processes of a run share it.
    stop: asked after each update; True ends training with a checkpoint.
    """
    check(recipe)
    if not resume:
        check_new(out)
    accelerator = accelerator_of(recipe.training.precision, device)
    with contextlib.ExitStack() as stack:
        said = stack.enter_context(held(out, accelerator)) if resume else []  # before anything of the run is read
        dataset = data_again(out, recipe.data, new_data) if resume else build_data(recipe.data)
        recipe = in_full(recipe)
        run = Run(path=out, recipe=recipe, data=DataFacts.of(dataset), machine={})
        check_drawing(run)
        check_memory(cost_of(recipe, run.data.event_shape, len(run.data.classes)), memory_of(accelerator.device))
        objective = objective_of(recipe, run.data.event_shape, run.limits)
        trial = _trial(recipe, dataset, open_run(out) if resume else None, accelerator)
        accelerator = accelerator_of(trial.precision, device)
        run = replace(run, machine=describe(accelerator))
        network = run.network().to(accelerator.device)
        trainee = build_trainee(recipe.training, network)
        why_not = compiled(network, recipe.training.compile)
        notes = _first_notes(run, dataset, objective, trainee, trial)
        if why_not:
            notes.append(Note(why_not, trouble=True))
        said += restored(run, trainee) if resume else stack.enter_context(held(out, accelerator))
        notes += [Note(text) for text in said]
        start = run.start() if resume else None
        stack.enter_context(clear_disk_errors(out))
        if accelerator.is_main_process:
            if not resume:
                check_empty(out)  # another training may have begun and ended in the meantime
            # what was written after the checkpoint, or without one, is taken back
            keep_until(run.metrics, trainee.counters.step or -1)
            run.write()
            if isinstance(objective.corruption, ColdCorruption) and start is None:
                run.write_start(fitted_start(objective.corruption, dataset))
        yield from notes
        yield from Session(run, dataset, objective, trainee, accelerator, stop).go(notes)


def _trial(recipe: Recipe, dataset: Dataset, before: Run | None, accelerator: Accelerator) -> Trial:
    """Which precision to train in, and how fast; a run that goes on stays in the one it began in.

    Several processes have to agree, and short runs are over sooner than a trial: there the hardware alone decides.
    """
    if before is not None and recipe.training.precision == before.recipe.training.precision:
        recipe = replace(
            recipe, training=replace(recipe.training, precision=before.precision_on(accelerator.device.type))
        )
    short = recipe.training.updates is not None and recipe.training.updates <= WORTH
    if short or accelerator.num_processes > 1:
        return Trial(precision=precision_by_hardware(recipe, accelerator.device.type))
    return tried(recipe, dataset, accelerator.device.type)


def _first_notes(run: Run, dataset: Dataset, objective: ReadObjective, trainee: Trainee, trial: Trial) -> list[Note]:
    """What is worth knowing before the first update."""
    parameters = sum(parameter.numel() for parameter in trainee.network.parameters())
    notes = [
        Note(
            f"{dataset.name}: {len(dataset):,} examples of shape {'x'.join(map(str, dataset.event_shape))}"
            + (f", {len(run.data.classes)} classes" if run.data.classes else "")
            + f"; {parameters:,} parameters; {run.machine['device']}, {trial.words()}"
        ),
    ]
    if dataset.held_out:
        notes.append(
            Note(
                f"{dataset.held_out:.0%} of the data, chosen by content, is kept aside to test with, as there is no "
                "test split (--data.held-out 0 learns from all)"
            )
        )
    if trial.speed is not None:
        notes.append(Note(f"to expect: {expectation(trial.speed, run.recipe.training)}"))
    for finding in first_look(dataset, objective.corruption):
        if finding.verdict != "fine":
            notes.append(Note(finding.text, trouble=finding.verdict == "wrong"))
    return notes
