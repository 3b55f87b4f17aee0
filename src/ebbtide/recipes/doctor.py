"""Examine data, a recipe or a run: which checks apply, and what they need. Findings come as they are found."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from ebbtide.conditions import Condition
from ebbtide.corruptions import Corruption, GaussianCorruption
from ebbtide.data import Dataset, ValueRange
from ebbtide.data.dataset import spread
from ebbtide.denoisers import GaussianDenoiser, LinearDenoiser
from ebbtide.doctor.data import check_data, quick_checks
from ebbtide.doctor.finding import Finding, Progress, fine, note, wrong
from ebbtide.doctor.network import Levels, Patient, check_network, measured
from ebbtide.doctor.records import FOLLOW, HARDLY, check_records
from ebbtide.doctor.samples import check_more_steps, check_samples
from ebbtide.doctor.schedule import check_end, check_steps
from ebbtide.doctor.weights import check_weights, standing
from ebbtide.errors import EbbtideError
from ebbtide.evaluation.records import Diary, read_diary
from ebbtide.guidance import bare
from ebbtide.levels import STEP_KINDS, KindName
from ebbtide.recipes.build import build_data, build_grid, build_schedule
from ebbtide.recipes.corruptions import GAUSSIAN, check_corruption
from ebbtide.recipes.draw import draw
from ebbtide.recipes.linear import LEAST_FOR_LINEAR, apart, linear_denoiser
from ebbtide.recipes.recipe import DataRecipe, Recipe, SamplingRecipe, ScheduleName, ScheduleRecipe
from ebbtide.recipes.run import DataFacts, Run, with_sampling
from ebbtide.recipes.run_data import RunData, changed, check_shape, find_data
from ebbtide.recipes.samplers import SAMPLERS, build_sampler
from ebbtide.schedules import Schedule
from ebbtide.training import checkpoints

Found = Finding | Levels | Progress | RunData
"""Data: whose they are, where a run is examined."""
MAKING = Progress("making the best linear denoiser")
LEAST_HELD_OUT = 8
"""Held-out examples from which errors by level are told; with fewer, training examples serve."""
SCHEDULES: tuple[ScheduleName, ...] = ("normal", "cosine", "sigmoid", "linear", "lecture")
"""Those that weights may have been trained with instead of the recipe's."""
RANGES = {"pixels from -1 to 1": (-1.0, 1.0), "pixels from 0 to 1": (0.0, 1.0), "pixels from 0 to 255": (0.0, 255.0)}
NOISE_KINDS: tuple[KindName, ...] = ("x0", "eps", "v")


@dataclass(frozen=True, kw_only=True)
class DoctorSettings:
    """How much is looked at."""

    examples: int = 256
    samples: int = 128
    source: str | None = None
    device: str = "cpu"


def first_look(dataset: Dataset, corruption: Corruption) -> Iterator[Finding]:
    """What takes no time and needs no network; training does it before the first update."""
    yield from quick_checks(dataset)
    if isinstance(corruption, GaussianCorruption):
        yield check_end(corruption, _examples(dataset, 256)[0])


def examine_data(recipe: DataRecipe) -> Iterator[Finding]:
    """The data alone."""
    train, held_out, trouble = _loaded(recipe)
    yield from trouble
    if train is not None:
        yield from check_data(train, held_out)


def examine_recipe(recipe: Recipe) -> Iterator[Found]:
    """The data, the schedule for them, and the sampler's steps."""
    train, held_out, trouble = _loaded(recipe.data)
    yield from trouble
    if train is not None:
        yield from check_data(train, held_out)
        yield MAKING
        yield from _schedule(recipe, train, _linear(recipe, train))


def examine_run(run: Run, settings: DoctorSettings) -> Iterator[Found]:
    """All of it; the errors by level come among the findings, for the picture."""
    training = run.recipe.training
    diary = read_diary(run.metrics) if run.metrics.is_file() else Diary([])
    if diary.damaged:
        yield note("training: records", diary.trouble)
    written = list(check_records(diary.records, training.optimizer, training.rate, run.data.examples))
    yield from written
    hardly = any(finding.cause == HARDLY for finding in written)
    train, held_out, trouble = None, None, []
    try:
        data = find_data(run, settings.source)
    except EbbtideError as error:
        trouble = [_unreadable(error)]
    else:
        check_shape(data)
        yield data
        train, held_out, trouble = data.train, *_unseen(data.recipe, data.train, run.data)
        if not data.own:
            trouble = [note("data: changed", data.told() if settings.source else changed(run, data.train)), *trouble]
    yield from trouble
    seen, linear = None, None
    if train is not None:
        yield from check_data(train, held_out)
        seen, rest = _looked_at(train, held_out, settings.examples)
        yield MAKING
        linear = _linear(run.recipe, rest)
        yield from _schedule(run.recipe, train, linear)
    # weights that do not fit the recipe are refused here; those that are NaN are a finding
    average = bare(run.denoiser(settings.device, finite=False))
    loaded = checkpoints.load(checkpoints.latest(run.checkpoints), ("network", "average"))
    first = run.network().state_dict()
    weights = list(check_weights(first, loaded.tensors["network"], loaded.tensors["average"]))
    yield from weights
    if train is None or seen is None or any(finding.cause == "weights that are NaN" for finding in weights):
        return
    if not isinstance(average.corruption, GaussianCorruption):
        name = run.recipe.corruption.name
        text = f"errors by level are held against what is known of Gaussian noise, and the run learned to undo {name}"
        yield note("levels", f"{text}: `ebbtide restore RUN --measure 500` says how well")
        return
    if linear is None:
        yield note(
            "levels", f"{len(train)} examples are too few to make a denoiser of that knows only their covariance"
        )
    else:
        unseen = held_out if seen is train else None
        patient = Patient(
            average=average,
            network=bare(run.denoiser(settings.device, "network", finite=False)),
            linear=linear,
            train=_examples(seen, settings.examples, settings.device),
            held_out=None if unseen is None else _examples(unseen, settings.examples, settings.device),
            standing=standing(first, loaded.tensors["network"], loaded.tensors["average"]),
            others=_other_ways(run, train, settings.device),
        )
        for found in _levels(patient):
            blameless = hardly and isinstance(found, Finding) and found.cause in FOLLOW
            yield replace(cast(Finding, found), cause=None) if blameless else found
    yield from _sampling(run, train, settings)


def _looked_at(train: Dataset, held_out: Dataset | None, examples: int) -> tuple[Dataset, Dataset]:
    """Training examples whose errors are measured, and those of which the linear denoiser is made.

    It must not know those that it is held against: where there is nothing held out, a third is kept apart from it.
    """
    if len(train) == 1 or (held_out is not None and len(held_out) >= LEAST_HELD_OUT):
        return train, train
    return apart(train, max(1, min(examples, len(train) // 3)))


def _linear(recipe: Recipe, dataset: Dataset) -> LinearDenoiser | None:
    """Where the recipe has Gaussian noise, and there are examples enough."""
    if recipe.corruption.name != GAUSSIAN or len(dataset) < LEAST_FOR_LINEAR:
        return None
    return linear_denoiser(dataset, GaussianCorruption(build_schedule(recipe.schedule)))


def _levels(patient: Patient) -> Iterator[Found]:
    """The errors by level, and what they say."""
    levels = yield from measured(patient)
    yield levels
    if bool(levels.average.values.isfinite().all() & levels.network.values.isfinite().all()):
        yield from check_network(patient, levels)
    else:
        text = "the network answers with NaN or infinite numbers, though its weights are finite"
        yield wrong("levels: finite", text, "answers that are not finite")


def _loaded(recipe: DataRecipe) -> tuple[Dataset | None, Dataset | None, list[Finding]]:
    """Both splits; what cannot be read is a finding, for that is what was asked."""
    try:
        train = build_data(recipe)
    except EbbtideError as error:
        return None, None, [_unreadable(error)]
    return train, *_unseen(recipe, train)


def _unreadable(error: EbbtideError) -> Finding:
    broken = re.search(r"\bnan\b", str(error), re.IGNORECASE)
    cause = "values that are not numbers in a file" if broken else "data that cannot be read"
    return wrong("data: files", str(error), cause)


def _unseen(recipe: DataRecipe, train: Dataset, facts: DataFacts | None = None) -> tuple[Dataset | None, list[Finding]]:
    """The test split, and what is to be said if there is none."""
    wanted = train.range if facts is None else facts.value_range
    if train.held_out and train.is_image:  # what is kept aside has as many channels, whatever its own pictures need
        recipe = replace(recipe, colour="grey" if train.event_shape[0] == 1 else "rgb")
    try:
        held_out = build_data(replace(recipe, limit=None), "test", wanted if train.is_image else None)
    except EbbtideError:
        text = "there is no test split: what is unseen cannot be told from what is learned"
        return None, [note("data: held-out", text)]
    return held_out if held_out.event_shape == train.event_shape else None, []


def _examples(dataset: Dataset, count: int, device: str = "cpu") -> tuple[Tensor, Condition | None]:
    some = dataset.subset(spread(len(dataset), count)) if len(dataset) > count else dataset
    batch = some.batch(torch.arange(len(some))).to(device)
    return batch.x0, batch.condition if dataset.labels is not None else None


def _schedule(recipe: Recipe, train: Dataset, linear: LinearDenoiser | None) -> Iterator[Finding]:
    if recipe.corruption.name != GAUSSIAN:
        check_corruption(recipe.corruption)
        return
    schedule = build_schedule(recipe.schedule)
    corruption = GaussianCorruption(schedule)
    yield check_end(corruption, _examples(train, 256)[0])
    sampling = _known_variance(recipe.sampling)
    try:
        grid = build_grid(sampling, schedule)
    except EbbtideError as error:
        yield wrong("sampling: steps", str(error), "sampling steps that the schedule does not have")
        return
    if linear is not None:
        yield check_steps(linear, build_sampler(sampling), grid)


def _known_variance(sampling: SamplingRecipe) -> SamplingRecipe:
    """A learned variance is the network's; without one, the posterior's."""
    return replace(sampling, variance="posterior") if sampling.variance == "learned" else sampling


def _other_ways(
    run: Run, train: Dataset, device: str
) -> dict[str, tuple[GaussianDenoiser, Callable[[Tensor], Tensor]]]:
    """The same weights under other schedules, kinds of prediction and ranges of values."""
    found: dict[str, tuple[GaussianDenoiser, Callable[[Tensor], Tensor]]] = {}
    recipe = run.recipe
    about_steps = recipe.objective.predicts in STEP_KINDS or recipe.objective.variance == "learned"
    for name in SCHEDULES:
        if name != recipe.schedule.name:
            # a step's own noise means nothing between the steps of a table
            steps = run.gaussian_objective().corruption.schedule.steps if about_steps else None
            schedule = ScheduleRecipe(name=name, steps=steps)
            found[f"schedule {name}"] = _with(run, replace(recipe, schedule=schedule), device), _as_is
    if recipe.objective.predicts in NOISE_KINDS and recipe.objective.variance == "fixed":
        for kind in NOISE_KINDS:
            if kind != recipe.objective.predicts:
                objective = replace(recipe.objective, predicts=kind, measured=None, weight="none")
                found[f"prediction {kind}"] = _with(run, replace(recipe, objective=objective), device), _as_is
    if run.data.is_image:
        own, ranges = run.data.range, RANGES | {"standardised pixels": _standard(train)}
        for words, other in ranges.items():
            if max(abs(a - b) for a, b in zip(own, other, strict=True)) > 0.05 * (own[1] - own[0]):
                found[words] = bare(run.denoiser(device)), partial(_stretched, own=own, other=other)
    return found


def _with(run: Run, recipe: Recipe, device: str) -> GaussianDenoiser:
    return bare(replace(run, recipe=recipe).denoiser(device))


def _standard(train: Dataset) -> tuple[float, float]:
    standard = ValueRange.standard(train.values)
    return standard.low, standard.high


def _as_is(x0: Tensor) -> Tensor:
    return x0


def _stretched(x0: Tensor, own: tuple[float, float], other: tuple[float, float]) -> Tensor:
    return (x0 - own[0]) / (own[1] - own[0]) * (other[1] - other[0]) + other[0]


def _sampling(run: Run, train: Dataset, settings: DoctorSettings) -> Iterator[Finding | Progress]:
    """Samples with the labels of some examples, beside these."""
    x0, condition = _examples(train, settings.samples)
    labels = None if condition is None or not run.data.classes else condition.label
    denoiser = run.denoiser(settings.device)
    options: dict[str, Any] = {"labels": labels, "device": settings.device}
    few = yield from _drawn(run, denoiser, len(x0), **options)
    yield from check_samples(few, x0)
    sampling, schedule = run.recipe.sampling, denoiser.corruption.schedule
    steady = not SAMPLERS[sampling.sampler].stochastic and not sampling.eta
    if steady and _has(schedule, 2 * sampling.steps) and bool(few.isfinite().all()):
        longer = with_sampling(run, replace(sampling, steps=2 * sampling.steps))
        many = yield from _drawn(longer, denoiser, len(x0), **options)
        yield check_more_steps(few, many, x0, sampling.steps)
    elif not steady and sampling.steps == schedule.steps:
        yield fine("sampling: more steps", f"all of the schedule's {schedule.steps:,} steps are taken")


def _drawn(run: Run, denoiser: Any, count: int, **options: Any) -> Generator[Progress, None, Tensor]:
    """Samples, as `draw_all`."""
    steps, ends, done = run.recipe.sampling.steps, [], 0
    for drawing in draw(run, denoiser, count, **options):
        done += len(drawing.step.x)
        yield Progress(f"samples in {steps} steps", done, steps * count)
        if drawing.step.t == 0:
            ends.append(drawing.step.x.cpu())
    return torch.cat(ends)


def _has(schedule: Schedule, steps: int) -> bool:
    return schedule.steps is None or steps <= schedule.steps
