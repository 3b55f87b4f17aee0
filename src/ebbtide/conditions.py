"""What a denoiser may be told beside the noisy value: labels now; text, images and more later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ebbtide.errors import require

NO_LABEL = -1


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One record for a whole batch; a field that is None was not given at all.

    label: class indices of shape (batch,), int64; NO_LABEL (-1) marks an example whose label is withheld, so that
    one network learns the conditional and the unconditional model at once (Ho & Salimans 2022, arXiv:2207.12598).
    """

    label: Int[Tensor, " batch"] | None = None

    def dropped(self, drop: Bool[Tensor, " batch"]) -> Condition:
        """The same condition with the marked examples' information withheld."""
        if self.label is None:
            return self
        return replace(self, label=torch.where(drop, torch.full_like(self.label, NO_LABEL), self.label))

    def __getitem__(self, index: slice | Tensor) -> Condition:
        """The condition of some of the batch's examples."""
        return Condition(**{name: None if value is None else value[index] for name, value in self._items()})

    def to(self, device: torch.device | str) -> Condition:
        """The condition on another device."""
        return Condition(**{name: None if value is None else value.to(device) for name, value in self._items()})

    def _items(self) -> list[tuple[str, Tensor | None]]:
        return [(field.name, getattr(self, field.name)) for field in fields(self)]


def concatenate(conditions: Sequence[Condition]) -> Condition:
    """One batch out of several; each field must be given in all of them or in none."""
    merged: dict[str, Tensor | None] = {}
    for field in fields(Condition):
        values = [getattr(condition, field.name) for condition in conditions]
        given = [value for value in values if value is not None]
        require(
            not given or len(given) == len(values),
            f"condition '{field.name}' is given for some batches and not for others",
        )
        merged[field.name] = torch.cat(given) if given else None
    return Condition(**merged)
