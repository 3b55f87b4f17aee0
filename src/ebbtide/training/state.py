"""What changes while a model trains, and how it becomes a checkpoint and back."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ebbtide.errors import EbbtideError
from ebbtide.training.average import Average
from ebbtide.training.bins import LevelBins
from ebbtide.training.checkpoints import Checkpoint

GROUPS = ("network", "average", "optimizer")


@dataclass
class Counters:
    """step: updates tried (those skipped included). images: examples seen. seconds: time spent training, all told."""

    step: int = 0
    images: int = 0
    seconds: float = 0.0
    skipped: int = 0
    skipped_in_a_row: int = 0


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
        """Go on from a checkpoint of the same recipe."""
        try:
            self.network.load_state_dict(dict(checkpoint.tensors["network"]))
            self.average.network.load_state_dict(dict(checkpoint.tensors["average"]))
        except RuntimeError as error:
            raise EbbtideError(f"the checkpoint's weights do not fit the recipe's network: {error}") from None
        self.optimizer.load_state_dict(_unflatten(checkpoint.tensors["optimizer"], checkpoint.state["optimizer"]))
        self._lay_out_moments()
        self.counters = Counters(**checkpoint.state["counters"])
        self.bins.restore(checkpoint.state["bins"])

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
        raise TypeError(f"the optimizer keeps {not_tensors[0]} as no tensor: checkpoints cannot hold it")
    return tensors, state["param_groups"]


def _unflatten(tensors: Any, groups: list[dict[str, Any]]) -> dict[str, Any]:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    return {"state": state, "param_groups": groups}
