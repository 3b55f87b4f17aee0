"""What a recipe costs before anything is trained: parameters, FLOPs and memory, counted; a budget in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ebbtide.conditions import Condition
from ebbtide.errors import require
from ebbtide.recipes.build import build_network, outputs_of
from ebbtide.recipes.recipe import Recipe, TrainingRecipe
from ebbtide.training.machine import is_bf16

BYTES_A_WEIGHT = 4 * 5
"""float32, of the weight, its average, its gradient and at most two moments."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """parameters: how many. flops: of training, an image (forward and backward). memory: bytes while training.

    state: bytes of that for weights, average, gradients and moments; the rest is what one part of a batch keeps for its
    backward pass.
    """

    parameters: int
    flops: float
    memory: int
    state: int


def cost_of(recipe: Recipe, event_shape: Sequence[int], classes: int) -> Cost:
    """Counted on tensors that have a shape but no content: nothing is computed, and no memory is taken."""
    part = recipe.training.batch // recipe.training.accumulate
    with torch.device("meta"):
        network = build_network(recipe.network, event_shape, classes, seed=0, outputs=outputs_of(recipe.objective))
        x, t = torch.zeros(part, *event_shape), torch.zeros(part)
        condition = Condition(label=torch.zeros(part, dtype=torch.int64)) if classes else Condition()
    weights = list(network.parameters())
    kept = _Kept(weights)
    with FlopCounterMode(display=False) as counter:
        with torch.autograd.graph.saved_tensors_hooks(kept.note, lambda tensor: tensor):
            loss = network(x, t, condition).square().mean()
        loss.backward()
    parameters = sum(weight.numel() for weight in weights)
    state = parameters * BYTES_A_WEIGHT
    memory = state + (kept.bytes // 2 if is_bf16(recipe.training.precision) else kept.bytes)
    return Cost(parameters=parameters, flops=counter.get_total_flops() / part, memory=memory, state=state)


def check_memory(cost: Cost, available: int | None) -> None:
    """That training can come to so many bytes at all; what is counted may be off by a factor of two."""
    fits = available is None or cost.memory <= 2 * available
    require(
        fits,
        f"training takes about {cost.memory / 2**30:,.3g} GiB, {cost.state / 2**30:,.3g} of them for the network's "
        f"{cost.parameters:,} weights, but there are {(available or 0) / 2**30:,.3g}: give a smaller network or batch, "
        "or take it in parts (training.accumulate)",
    )


def in_words(cost: Cost, training: TrainingRecipe, speed: float | None) -> dict[str, str]:
    """The cost, and what the recipe's budget comes to at a speed in images/s."""
    part = training.batch // training.accumulate
    expected = {} if speed is None else {"to expect here": expectation(speed, training)}
    return {
        "parameters": f"{cost.parameters:,}",
        "compute": f"{cost.flops / 1e9:.3g} GFLOP an image of training, forward and backward",
        "memory": f"about {cost.memory / 2**20:,.0f} MiB in training: {cost.state / 2**20:,.0f} for weights, average, "
        f"gradients and moments, the rest for {part} images at a time (and torch itself)",
        **expected,
    }


def expectation(speed: float, training: TrainingRecipe) -> str:
    """How far a budget of minutes goes, or how long one of updates takes."""
    updates = speed / training.batch
    if training.minutes is not None:
        count = updates * 60 * training.minutes
        return f"about {speed:,.3g} images/s, {count:,.3g} updates in {training.minutes:g} minutes"
    assert training.updates is not None
    return f"about {speed:,.3g} images/s, {duration(training.updates / updates)} for {training.updates:,} updates"


def duration(seconds: float) -> str:
    """In the unit that fits."""
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.3g} {unit}"
    return f"{seconds:.3g} seconds"


class _Kept:
    """Counts the bytes that a forward pass keeps for the backward pass, each storage once, weights not."""

    def __init__(self, weights: Sequence[Tensor]) -> None:
        self.seen = {weight.untyped_storage()._cdata for weight in weights}
        self.bytes = 0

    def note(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self.seen:
            self.seen.add(storage._cdata)
            self.bytes += storage.nbytes()
        return tensor
