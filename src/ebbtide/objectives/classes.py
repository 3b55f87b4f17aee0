"""The loss of a classifier: cross-entropy, nats an example. Classes are the data's labels, or turns of the picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from ebbtide.conditions import Condition
from ebbtide.errors import require
from ebbtide.objectives.objective import Losses
from ebbtide.waist import check_labels

TURNS = 4


@dataclass(frozen=True)
class LabelObjective:
    """-log p(label | x0)."""

    def __call__(
        self,
        network: Callable[..., Tensor],
        x0: Float[Tensor, "batch channels height width"],
        condition: Condition,
        generator: torch.Generator,
    ) -> Losses:
        """Examples without a label weigh nothing."""
        label = condition.label
        require(label is not None, "data without labels came, expected labels: a classifier learns them")
        assert label is not None
        logits = _logits(network, x0)
        check_labels(label, len(x0), logits.shape[1])
        losses = F.cross_entropy(logits, label, ignore_index=-1, reduction="none")
        return Losses(losses.float(), torch.zeros(len(x0), dtype=torch.float64))


@dataclass(frozen=True)
class TurnObjective:
    """-log p(turn | x0 turned by 0, 90, 180 or 270 degrees): for images without labels.

    Gidaris, Singh & Komodakis 2018 (arXiv:1803.07728): who sees which way up a picture is has seen what is in it.
    """

    def __call__(
        self,
        network: Callable[..., Tensor],
        x0: Float[Tensor, "batch channels size size"],
        condition: Condition,
        generator: torch.Generator,
    ) -> Losses:
        """Each example is turned at random."""
        turn = torch.randint(TURNS, (len(x0),), generator=generator).to(x0.device)
        logits = _logits(network, turned(x0, turn))
        require(
            logits.shape[1] == TURNS, f"a classifier of {logits.shape[1]} classes came, expected one of {TURNS} turns"
        )
        losses = F.cross_entropy(logits, turn, reduction="none")
        return Losses(losses.float(), torch.zeros(len(x0), dtype=torch.float64))


def _logits(network: Callable[..., Tensor], x: Tensor) -> Float[Tensor, "batch classes"]:
    logits = network(x)
    require(
        logits.ndim == 2 and len(logits) == len(x),
        f"a classifier's answer of shape {tuple(logits.shape)} came for {len(x)} pictures, expected (batch, classes)",
    )
    return logits


def turned(
    x: Float[Tensor, "batch channels size size"], turn: Int[Tensor, " batch"]
) -> Float[Tensor, "batch channels size size"]:
    """Each image turned by its own number of quarters."""
    out = x.clone()
    for quarters in range(1, TURNS):
        chosen = turn == quarters
        out[chosen] = torch.rot90(x[chosen], quarters, (2, 3))
    return out
