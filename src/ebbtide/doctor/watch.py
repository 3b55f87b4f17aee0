"""Trouble as it appears in training: a loss that rises, and levels at which nothing is learned."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from jaxtyping import Float64
from torch import Tensor

from ebbtide.denoisers.wiener import LinearDenoiser
from ebbtide.objectives import DenoisingObjective
from ebbtide.schedules import Schedule
from ebbtide.times import nearest
from ebbtide.training import Update
from ebbtide.training.bins import BINS, LevelBins

SHARE = 0.02
"""Of an update in the running mean of the loss."""
WARM_UP = 100
"""Updates before which nothing is said."""
RISEN = 2.0
"""Times the best running mean."""
WORSE = 1.1
"""Times the loss of the best constant, or at the end of the best linear denoiser."""
SEEN = 500
"""Examples of a level without which nothing is said about it."""
FROM = 0.25
"""Share of the run before which nothing is said of levels: there is no learning without a beginning."""
LOOKS = 3
"""Looks in a row, each over newer examples, that must find a level bad before it is told while training goes on."""


@dataclass
class LossWatch:
    """Says once that the loss has risen far above what it was."""

    mean: float = 0.0
    best: float = float("inf")
    updates: int = 0
    said: bool = False

    def take(self, update: Update) -> str | None:
        """A sentence, the first time there is something to say."""
        if update.skipped:
            return None
        self.updates += 1
        self.mean += max(SHARE, 1 / self.updates) * (update.loss - self.mean)
        if self.updates < WARM_UP:
            return None
        self.best = min(self.best, self.mean)
        if self.said or self.mean <= RISEN * self.best:
            return None
        self.said = True
        return (
            f"the loss has risen from {self.best:.3g} to {self.mean:.3g}: the learning rate {update.rate:.2g} is "
            "probably too high"
        )


@dataclass
class LevelWatch:
    """What the loss in each bin of t would be with the best constant and the best linear denoiser; 0: no bar.

    Squared errors of x0 are turned into the objective's own loss by its weight at each time.
    """

    constant: list[float]
    linear: list[float]
    said: set[str] = field(default_factory=set)
    in_a_row: list[int] = field(default_factory=lambda: [0] * BINS)

    @classmethod
    def of(cls, objective: DenoisingObjective, *linear: LinearDenoiser, points: int = 64) -> LevelWatch:
        """The mean over each bin's times: a table's own, or the middles of `points` equal parts. Of several denoisers,
        made of parts of the data, the mean."""
        watch = cls([0.0] * BINS, [0.0] * BINS)
        if any(one.knows_all for one in linear):
            return watch
        constant = sum(one.constant_error for one in linear) / len(linear)
        for index in range(BINS):
            t = _times_of_bin(objective.corruption.schedule, index, points)
            counts = objective.per_x0(t)
            error = torch.stack([one.error(objective.corruption.level(t)) for one in linear]).mean(0)
            watch.constant[index] = constant * float(counts.mean())
            watch.linear[index] = float((error * counts).mean())
        return watch

    def record(self) -> dict[str, Any]:
        """For the record of losses by level."""
        return {"constant": self.constant, "linear": self.linear}

    def look(self, bins: LevelBins, progress: float) -> str | None:
        """A sentence where a level is no better than without a network. progress: share of the run that is behind.

        On the way only a constant is the bar, and only levels count that `LOOKS` looks in a row have found no better;
        at the end what is found then is told, of the linear denoiser too.
        """
        if progress < FROM:
            return None
        guessing = self._no_better(bins, self.constant)
        self.in_a_row = [count + 1 if index in guessing else 0 for index, count in enumerate(self.in_a_row)]
        if progress < 1:
            lasting = [index for index in guessing if self.in_a_row[index] >= LOOKS]
            return self._told(bins, lasting, "constant")
        return self._told(bins, guessing, "constant") or self._told(bins, self._no_better(bins, self.linear), "linear")

    def _no_better(self, bins: LevelBins, bar: list[float]) -> list[int]:
        """The levels that were seen often enough, have a bar and lie above it."""
        return [
            index
            for index, (loss, count) in enumerate(zip(bins.losses, bins.counts, strict=True))
            if count >= SEEN and bar[index] > 0 and loss > WORSE * bar[index]
        ]

    def _told(self, bins: LevelBins, bad: list[int], name: Literal["constant", "linear"]) -> str | None:
        """Once of each bar."""
        if not bad or name in self.said:
            return None
        self.said.add(name)
        bar = self.constant if name == "constant" else self.linear
        words = "guessing the mean of the data" if name == "constant" else "the best linear denoiser"
        worst = max(bins.losses[index] / bar[index] for index in bad)
        return (
            f"at {len(bad)} of {BINS} noise levels (t from {bad[0] / BINS:.2f} to {(bad[-1] + 1) / BINS:.2f}) "
            f"the network is no better than {words} (loss up to {worst:.2g} times as large)"
        )


def _times_of_bin(schedule: Schedule, index: int, points: int) -> Float64[Tensor, " times"]:
    """Those that training draws there; of a table so short that it draws none, the nearest."""
    if schedule.steps is None:
        return (index + (torch.arange(points, dtype=torch.float64) + 0.5) / points) / BINS
    known = torch.arange(1, schedule.steps + 1, dtype=torch.float64) / schedule.steps
    inside = known[(known * BINS).ceil() == index + 1]
    return inside if len(inside) else nearest(schedule, torch.tensor([(index + 0.5) / BINS], dtype=torch.float64))
