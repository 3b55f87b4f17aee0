"""Recipe -> parts. The one place that knows all the parts by name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, assert_never, cast

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from ebbtide.corruptions import GaussianCorruption
from ebbtide.data import Dataset, ValueRange, load
from ebbtide.denoisers import GaussianDenoiser
from ebbtide.errors import EbbtideError, require
from ebbtide.grids import GRIDS, spread_grid, uniform_grid
from ebbtide.guidance import Clipped, Thresholded
from ebbtide.levels import STEP_KINDS, StepKind
from ebbtide.networks import Hourglass, Mlp, UNet, UpsideDown
from ebbtide.objectives import (
    BoundWeight,
    DenoisingObjective,
    GaussianObjective,
    MinSnr,
    StepObjective,
    VarianceObjective,
    Weight,
)
from ebbtide.randomness import seed_of
from ebbtide.recipes.recipe import (
    DataRecipe,
    NetworkRecipe,
    ObjectiveRecipe,
    SamplingRecipe,
    ScheduleRecipe,
    TrainingRecipe,
)
from ebbtide.schedules import (
    LAST_LOG_SNR,
    CosineSchedule,
    NormalSchedule,
    Schedule,
    SigmoidSchedule,
    constant_schedule,
    discretised,
    lecture_schedule,
    linear_schedule,
    table,
)
from ebbtide.times import Stepped
from ebbtide.training import FitSettings
from ebbtide.training.average import Average
from ebbtide.training.optimizers import muon_for
from ebbtide.training.state import Trainee


def build_data(
    recipe: DataRecipe, split: Literal["train", "test"] = "train", range: ValueRange | None = None
) -> Dataset:
    """The examples. range: what a run was trained with; None: as the recipe says."""
    given = (recipe.low is None) == (recipe.high is None)
    require(given, f"data.low={recipe.low} and data.high={recipe.high} came: give both of them or neither")
    if range is None and recipe.low is not None and recipe.high is not None:
        range = ValueRange(low=recipe.low, high=recipe.high)
    require(
        bool(recipe.source), "this preset has no data of its own: give --data FOLDER (or an array, IDX, hf: source)"
    )
    dataset = load(
        recipe.source,
        split=split,
        size=recipe.size,
        colour=recipe.colour,
        flip=recipe.flip,
        labels=recipe.labels,
        limit=recipe.limit,
        held_out=recipe.held_out,
    )
    return replace(dataset, range=range or ValueRange.standard(dataset.values)) if dataset.is_image else dataset


def build_schedule(recipe: ScheduleRecipe) -> Schedule:
    """The schedule."""
    require(
        recipe.name == "list" or not recipe.betas,
        f"schedule.betas came for the schedule {recipe.name!r}: only 'list' takes them",
    )
    steps = recipe.steps
    match recipe.name:
        case "normal":
            last = LAST_LOG_SNR if steps is None else -math.inf
            normal = NormalSchedule(mean=recipe.mean, std=recipe.std, last_log_snr=last)
            return normal if steps is None else discretised(normal, steps, "normal")
        case "cosine":
            whole = CosineSchedule(last_log_snr=-math.inf)
            return CosineSchedule() if steps is None else discretised(whole, steps, "cosine")
        case "sigmoid":
            whole_ = SigmoidSchedule(last_log_snr=-math.inf)
            return SigmoidSchedule() if steps is None else discretised(whole_, steps, "sigmoid")
        case "linear":
            return linear_schedule(steps or 1000)
        case "lecture":
            return lecture_schedule(steps or 1000)
        case "constant":
            return constant_schedule(recipe.beta, steps)
        case "list":
            require(
                steps is None or steps == len(recipe.betas),
                f"schedule.steps={steps} came with {len(recipe.betas)} betas: leave steps out",
            )
            return table(recipe.betas)
        case _:
            assert_never(recipe.name)


def build_network(
    recipe: NetworkRecipe, event_shape: Sequence[int], classes: int, seed: int, outputs: int = 1
) -> nn.Module:
    """The network with its first weights, which the seed alone decides.

    outputs: the answer has this many times the channels (the first axis) of an example.
    """
    name = recipe.name
    if name == "auto":
        name = "unet" if len(event_shape) == 3 else "mlp"
    expected = {"unet": (3,), "hourglass": (3,), "mlp": (1,), "upside-down": (1, 3)}[name]
    if len(event_shape) not in expected:
        raise EbbtideError(
            f"network.name={name!r} came for examples of shape {tuple(event_shape)}: unet and hourglass want images, "
            "mlp vectors, upside-down takes both"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(seed, "weights"))
        if name in ("unet", "hourglass"):
            fits = all(side % recipe.patch == 0 for side in event_shape[1:])
            require(
                fits, f"network.patch={recipe.patch} came, which does not divide images of {tuple(event_shape[1:])}"
            )
            common: dict[str, Any] = {
                "patch": recipe.patch,
                "channels": recipe.channels,
                "multipliers": recipe.multipliers,
                "blocks": recipe.blocks,
                "dropout": recipe.dropout,
                "classes": classes,
                "outputs": outputs,
            }
            if name == "hourglass":
                return Hourglass(event_shape[0], **common)
            return UNet(event_shape[0], **common, attention=recipe.attention, heads=recipe.heads, lean=recipe.lean)
        linear: dict[str, Any] = {"width": recipe.width, "depth": recipe.depth, "dropout": recipe.dropout}
        if name == "mlp":
            return Mlp(event_shape[0], **linear, classes=classes, outputs=outputs)
        return UpsideDown(event_shape, **linear, classes=classes, outputs=outputs)


def build_objective(recipe: ObjectiveRecipe, schedule: Schedule) -> GaussianObjective:
    """What is minimised."""
    of_steps = recipe.predicts in STEP_KINDS or recipe.measured in STEP_KINDS or recipe.variance == "learned"
    what = f"objective.predicts={recipe.predicts!r}, measured={recipe.measured!r}, variance={recipe.variance!r}"
    require(
        schedule.steps is not None or not of_steps,
        f"{what} came, which is about single steps, with a schedule in continuous time: give --schedule.steps 1000",
    )
    common: dict[str, Any] = {"corruption": GaussianCorruption(schedule), "drop_condition": recipe.drop_labels}
    if recipe.target == "sampled":
        plain = recipe.weight == "none" and recipe.measured is None and recipe.variance == "fixed"
        require(
            plain and recipe.predicts in STEP_KINDS,
            f"objective.target='sampled' came with {what}, weight={recipe.weight!r}: expected one of "
            f"{' or '.join(STEP_KINDS)} predicted, and nothing else changed",
        )
        return StepObjective(predicts=cast(StepKind, recipe.predicts), **common)
    measured, weight = recipe.measured, _weight(recipe)
    if weight is not None:
        require(
            measured in (None, "x0"),
            f"objective.weight={recipe.weight!r} came with measured={measured!r}: it weighs errors of x0",
        )
        measured = "x0"
    kind = VarianceObjective if recipe.variance == "learned" else DenoisingObjective
    return kind(predicts=recipe.predicts, measured=measured, weight=weight, **common)


def _weight(recipe: ObjectiveRecipe) -> Weight | None:
    match recipe.weight:
        case "none":
            return None
        case "bound":
            return BoundWeight()
        case "min-snr":
            return MinSnr()
        case _:
            assert_never(recipe.weight)


def outputs_of(recipe: ObjectiveRecipe) -> int:
    """How many times the data's channels the network gives."""
    return 2 if recipe.variance == "learned" else 1


def build_trainee(recipe: TrainingRecipe, network: nn.Module) -> Trainee:
    """The network with its optimizer and average, before the first update."""
    return Trainee(network, _optimizer(recipe, network), Average(network, recipe.half_life))


def _optimizer(recipe: TrainingRecipe, network: nn.Module) -> torch.optim.Optimizer:
    match recipe.optimizer:
        case "muon":
            return muon_for(network, rate=recipe.rate, weight_decay=recipe.weight_decay)
        case "adamw":
            return torch.optim.AdamW(network.parameters(), lr=recipe.rate, weight_decay=recipe.weight_decay, fused=True)
        case _:
            assert_never(recipe.optimizer)


def build_settings(recipe: TrainingRecipe) -> FitSettings:
    """The loop's settings."""
    return FitSettings(
        batch=recipe.batch,
        accumulate=recipe.accumulate,
        rate=recipe.rate,
        warmup=recipe.warmup,
        decay=recipe.decay,
        clip=recipe.clip,
        updates=recipe.updates,
        seconds=None if recipe.minutes is None else 60 * recipe.minutes,
        seed=recipe.seed,
    )


def plain_grid(recipe: SamplingRecipe, stepped: Stepped, start: float = 1.0) -> Float64[Tensor, " points"]:
    """The times of a corruption that has no levels of noise: even in t."""
    require(
        recipe.grid in ("auto", "uniform"),
        f"grid {recipe.grid!r} came, which goes by levels of noise, for a corruption without: uniform",
    )
    require(
        recipe.threshold is None,
        f"sampling.threshold={recipe.threshold} came for a corruption without noise, whose estimates are always held "
        "within the data's range: leave it out",
    )
    every = None if stepped.steps is None else round(start * stepped.steps)
    require(
        recipe.sampler != "previous" or recipe.steps == every,
        f"{recipe.steps} sampling steps came for the sampler previous, which takes every one: give {every}",
    )
    return uniform_grid(stepped, recipe.steps, start)


def build_grid(
    recipe: SamplingRecipe,
    schedule: Schedule,
    start: float = 1.0,
    density: tuple[Tensor, Tensor] | None = None,
) -> Float64[Tensor, " points"]:
    """The times that sampling walks down, from `start` to 0, in the recipe's number of steps.

    density: for the grid "measured", where steps err (samplers.local_error); None: karras stands in for it.
    """
    if recipe.grid == "measured" and density is not None:
        return spread_grid(schedule, recipe.steps, *density, start)
    usual = "karras" if schedule.steps is None or recipe.grid == "measured" else "uniform"
    return GRIDS[usual if recipe.grid in ("auto", "measured") else recipe.grid](schedule, recipe.steps, start)


def guided(denoiser: GaussianDenoiser, recipe: SamplingRecipe, range: tuple[float, float] | None) -> GaussianDenoiser:
    """The denoiser with what the recipe wraps around it: images are held within the data's range (None: no images)."""
    if range is None:
        return denoiser
    if recipe.threshold is not None:
        return Thresholded(denoiser, *range, recipe.threshold)
    return Clipped(denoiser, *range) if recipe.clip else denoiser
