"""A recipe tried out: a few real updates of it, timed here and now, in each precision that it may train in.

What a matrix product takes says little of a small network, and nothing of a busy machine. So nothing is estimated but
how the time grows with the batch, where a whole update would take long.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
import torch

from ebbtide.data import Dataset
from ebbtide.recipes.build import build_network, build_settings, build_trainee, outputs_of
from ebbtide.recipes.corruptions import objective_of
from ebbtide.recipes.cost import cost_of
from ebbtide.recipes.recipe import Recipe
from ebbtide.recipes.run import DataFacts
from ebbtide.training import fit
from ebbtide.training.machine import accelerator_of, device_of, native_bf16

Chosen = Literal["fp32", "bf16"]

WORTH = 50
"""Updates up to which a recipe is not tried out: it would take as long as the training."""
SECONDS, LEAST, MOST = 1.0, 4, 30
"""How long updates are timed in each precision, and how many at least and at most."""
LONG = 4.0
"""Seconds after which no further update is timed, be it the first."""
FLOPS = 6e10
"""Of an update that is timed whole. Larger ones are timed for fewer images, twice, and drawn out in a line."""
LARGE = 5e9
"""FLOPs an image from which the hardware alone decides: large products are what it has bf16 for."""
GAIN = 1.05
"""How many times as fast bf16 must be to be worth its rounding."""
EXAMPLES = 256
"""Made up, where there are no data yet."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """precision: the one to train in. speed: images/s of training in it; None where it was not tried. gain: how many
    times as fast bf16 was as fp32; None where only one of them came into question."""

    precision: Chosen
    speed: float | None = None
    gain: float | None = None

    def words(self) -> str:
        """The precision, and why it was chosen."""
        if self.gain is None:
            return self.precision
        how = f"{self.gain:.1f} times as fast as" if self.gain >= GAIN else "no faster than"
        return f"{self.precision} (bf16 is {how} fp32 here)"


def tried(recipe: Recipe, dataset: Dataset, device: str = "auto") -> Trial:
    """Train a copy of the recipe's network for a moment, on a CPU in both precisions if the choice is left to it.

    Nothing of it stays: the weights, the order of the data and all randomness of the run are as if it had not been.
    Not for one of several processes, which would wait for the others.
    """
    flops = cost_of(recipe, dataset.event_shape, len(dataset.classes)).flops
    batch = recipe.training.batch
    few = min(batch, max(1, int(FLOPS // max(flops, 1.0))))
    times = partial(_times, recipe, dataset, device_of(device))
    gain = None
    if recipe.training.precision != "auto" or not native_bf16(device) or flops > LARGE or device_of(device) != "cpu":
        chosen = precision_by_hardware(recipe, device)
        taken = times(chosen, few)
    else:
        both = {one: times(one, few) for one in ("bf16", "fp32")}
        # the quickest updates of each, which other work has disturbed the least
        gain = _quickest(both["fp32"]) / _quickest(both["bf16"])
        chosen = "bf16" if gain >= GAIN else "fp32"
        taken = both[chosen]
    seconds = _usual(taken)
    if few < batch:
        some = min(4 * few, batch)
        more = _usual(times(chosen, some))
        an_image = max(more - seconds, more / 50) / (some - few)  # noise must not make images free
        seconds = more + an_image * (batch - some)
    return Trial(precision=chosen, speed=batch / seconds, gain=gain)


def precision_by_hardware(recipe: Recipe, device: str) -> Chosen:
    """What `auto` means where nothing is tried out."""
    wanted = recipe.training.precision
    if wanted == "auto":
        return "bf16" if native_bf16(device) else "fp32"
    return wanted


def made_up(event_shape: Sequence[int], classes: int) -> Dataset:
    """Examples that look like nothing: speed does not depend on what is seen."""
    random = np.random.default_rng(0)
    labels = random.integers(0, classes, EXAMPLES) if classes else None
    names = tuple(map(str, range(classes)))
    if len(event_shape) == 1:
        values = random.standard_normal((EXAMPLES, *event_shape), dtype=np.float32)
        return Dataset(name="made up", values=values, labels=labels, classes=names)
    channels, height, width = event_shape
    pixels = random.integers(0, 256, (EXAMPLES, height, width, channels), dtype=np.uint8)
    return Dataset(name="made up", values=pixels, labels=labels, classes=names)


def _times(recipe: Recipe, dataset: Dataset, device: str, precision: Chosen, batch: int) -> dict[int, list[float]]:
    """The seconds of updates of so many images, by the number of threads that they were computed with."""
    training = replace(recipe.training, batch=batch, accumulate=1, updates=MOST, minutes=None)
    facts = DataFacts.of(dataset)
    objective = objective_of(recipe, facts.event_shape, facts.limits)
    accelerator = accelerator_of(precision, device)
    network = build_network(
        recipe.network, facts.event_shape, len(facts.classes), training.seed, outputs_of(recipe.objective)
    ).to(accelerator.device)
    taken: dict[int, list[float]] = {}
    started = time.perf_counter()
    for update in fit(build_trainee(training, network), objective, dataset, build_settings(training), accelerator):
        taken.setdefault(torch.get_num_threads(), []).append(batch / update.images_per_second)
        elapsed = time.perf_counter() - started
        if elapsed > LONG or (elapsed > SECONDS and update.step >= LEAST):
            break
    return taken


def _usual(taken: dict[int, list[float]]) -> float:
    """The seconds of an update in the best number of threads."""
    return min(statistics.median(seconds) for seconds in taken.values())


def _quickest(taken: dict[int, list[float]]) -> float:
    return min(min(seconds) for seconds in taken.values())
