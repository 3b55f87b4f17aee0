"""What changes while a model trains, and how it becomes a checkpoint and back."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ebbtide.errors import EbbtideError, require
from ebbtide.json_files import shown, typed
from ebbtide.tensors import check_tensors, layout_of
from ebbtide.training.average import Average
from ebbtide.training.bins import LevelBins
from ebbtide.training.checkpoints import Checkpoint, load_weights
from ebbtide.training.optimizers import moments

GROUPS = ("network", "average", "optimizer")


@dataclass
class Counters:
    """step: updates tried (those skipped included). images: examples seen. seconds: time spent training, all told."""

    step: int = 0
    images: int = 0
    seconds: float = 0.0
    skipped: int = 0
    skipped_in_a_row: int = 0

    def check(self, step: int) -> None:
        """That they can be those of a checkpoint at this step."""
        require(self.step == step, f"the counters say step {self.step}, the checkpoint is of step {step}")
        fits = 0 <= self.skipped_in_a_row <= self.skipped <= self.step and self.images >= 0 and self.seconds >= 0
        require(fits, f"the counters contradict one another: {shown(asdict(self))}")


@dataclass
class Trainee:
    """A network with its optimizer, its average and its counters: the only things that training changes."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    average: Average
    counters: Counters = field(default_factory=Counters)
    bins: LevelBins = field(default_factory=LevelBins)

    def checkpoint(self) -> Checkpoint:
        """All of it, as tensors and plain JSON. Random states are functions of (seed, step) and need no saving."""
        tensors, groups = _flatten(self.optimizer.state_dict())
        return Checkpoint(
            step=self.counters.step,
            tensors={
                "network": self.network.state_dict(),
                "average": self.average.network.state_dict(),
                "optimizer": tensors,
            },
            state={"counters": asdict(self.counters), "bins": self.bins.state(), "optimizer": groups},
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint of the same recipe: weights, counters and what the optimizer remembers.

        The optimizer's own settings stay those that the recipe gave it.
        """
        load_weights(self.network, checkpoint, "network")
        load_weights(self.average.network, checkpoint, "average")
        with checkpoint.told():
            self.counters = typed(Counters, checkpoint.state.get("counters"), "counters in state.json")
            self.counters.check(checkpoint.step)
            self.bins.restore(checkpoint.state.get("bins"))
            self._remember(checkpoint)

    def _remember(self, checkpoint: Checkpoint) -> None:
        """The optimizer's state, which must be of this optimizer and these parameters."""
        own = self.optimizer.state_dict()["param_groups"]
        groups = typed(list[dict[str, Any]], checkpoint.state.get("optimizer"), "optimizer in state.json")
        require(
            [group.get("params") for group in groups] == [group["params"] for group in own],
            "the optimizer has other groups of parameters than the recipe's",
        )
        found = checkpoint.tensors["optimizer"]
        expected = moments(self.optimizer) if self.counters.step > self.counters.skipped else {}
        if expected is not None:
            check_tensors(found, layout_of(expected))
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in found.items():
            index, name = key.split(".", 1)
            state.setdefault(int(index), {})[name] = value
        self.optimizer.load_state_dict({"state": state, "param_groups": own})
        self._lay_out_moments()

    def _lay_out_moments(self) -> None:
        """Files know no memory order, but fused AdamW walks memory: moments must lie as their parameters do."""
        for parameter, values in self.optimizer.state.items():
            for name, value in values.items():
                if value.shape == parameter.shape:
                    values[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _flatten(state: dict[str, Any]) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """An optimizer's state as named tensors, 'parameter.name', and its groups as plain JSON."""
    tensors = {f"{index}.{name}": value for index, values in state["state"].items() for name, value in values.items()}
    not_tensors = [name for name, value in tensors.items() if not isinstance(value, Tensor)]
    if not_tensors:
        raise EbbtideError(f"the optimizer keeps {not_tensors[0]} as no tensor: checkpoints cannot hold it")
    return tensors, state["param_groups"]
