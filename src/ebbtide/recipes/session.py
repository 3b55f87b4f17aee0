"""One sitting of training: the loop with its checkpoints, records and pictures."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator

from ebbtide.data import Dataset
from ebbtide.doctor.watch import LevelWatch, LossWatch
from ebbtide.errors import TrainingStopped
from ebbtide.evaluation.records import Records
from ebbtide.objectives import DenoisingObjective, ReadObjective
from ebbtide.recipes import board, showing
from ebbtide.recipes.build import build_settings
from ebbtide.recipes.linear import LEAST_FOR_LINEAR, both_ways
from ebbtide.recipes.run import Run
from ebbtide.training import Trainee, Update, checkpoints, fit
from ebbtide.training.machine import is_compiled

WATCHED_EXAMPLES, WATCHED_NUMBERS = 5000, 1024
"""Examples, and numbers each, up to which the covariance is taken whole for the bars that losses are held against."""


@dataclass(frozen=True)
class Note:
    """Something that the user should know; trouble if it may need mending."""

    text: str
    trouble: bool = False


@dataclass(frozen=True)
class Ended:
    """Training is over: finished, or stopped on request with a checkpoint to resume from."""

    run: Run
    finished: bool


Happening = Note | Update | Ended


class Session:
    """The loop, and all that is written down on the way."""

    def __init__(
        self,
        run: Run,
        dataset: Dataset,
        objective: ReadObjective,
        trainee: Trainee,
        accelerator: Accelerator,
        stop: Callable[[], bool],
    ) -> None:
        self.run, self.dataset, self.objective, self.trainee = run, dataset, objective, trainee
        self.accelerator, self.stop = accelerator, stop
        self.training = run.recipe.training
        self.settings = build_settings(self.training)
        self.saved_at = self.shown_at = time.monotonic()
        self.showing_took = 0.0
        self.loss_watch = LossWatch()
        self.level_watch: LevelWatch | None = None
        self.records = Records(run.metrics) if accelerator.is_main_process else None
        self.board = board.open_board(run.path / "tensorboard") if accelerator.is_main_process else None

    def go(self, notes: list[Note]) -> Iterator[Happening]:
        for note in notes:
            self._record("event", message=note.text)
        if self.board is None and self.accelerator.is_main_process:
            yield Note('records: metrics.jsonl; for TensorBoard as well: pip install "ebbtide[tensorboard]"')
        before = self._progress()
        compiling = is_compiled(self.trainee.network)
        update_images = self.settings.batch * self.accelerator.num_processes
        try:
            for update in fit(self.trainee, self.objective, self.dataset, self.settings, self.accelerator):
                self._log(update)
                if compiling:
                    seconds = update_images / update.images_per_second
                    yield Note(
                        f"torch compiled the network: the first update took {seconds:.0f} s; the next run finds it"
                    )
                    compiling = False
                if update.skipped:
                    yield self._noted(f"update {update.step} was skipped: its loss or gradient was not finite")
                risen = self.loss_watch.take(update)
                if risen:
                    yield self._noted(risen)
                yield update
                ended = update.progress >= 1
                stopped = not ended and self._stop_everywhere()
                if ended or stopped or self._checkpoint_due(update.step):
                    self._save()
                if stopped:
                    yield Ended(self.run, finished=False)
                    return
                if self._picture_due(before, update.progress):
                    trouble = self._show(update)
                    if trouble:
                        yield self._noted(trouble)
                before = update.progress
        except TrainingStopped as error:
            # None of the bad updates reached the weights: what was learned before them is kept.
            self.trainee.counters.skipped_in_a_row = 0
            self._save()
            self._record("event", message=str(error))
            last = checkpoints.latest(self.run.checkpoints)
            raise TrainingStopped(f"{error}; the last good checkpoint is {last}") from None
        yield from self._finish()

    def _finish(self) -> Iterator[Happening]:
        if self.accelerator.is_main_process:
            self._record("done", seconds=self.trainee.counters.seconds)
            yield Note("drawing the final pictures")
            showing.final(self.run, self.run.wrap(self.trainee.average.network), self.dataset, self.accelerator.device)
        if self.board is not None:
            self.board.close()
        yield Ended(self.run, finished=True)

    def _progress(self) -> float:
        counters = self.trainee.counters
        return self.settings.progress(counters.step, counters.seconds)

    def _log(self, update: Update) -> None:
        """All of the first updates, then each tenth: the same ones whether or not training was interrupted."""
        if update.step > 1000 and update.step % 10 and not update.skipped and update.progress < 1:
            return
        counters = self.trainee.counters
        values: dict[str, Any] = {
            "images": update.images,
            "seconds": round(counters.seconds, 3),
            "loss": update.loss,
            "rate": update.rate,
            "grad_norm": update.grad_norm,
            "images_per_second": round(update.images_per_second, 1),
            "skipped": counters.skipped,
        }
        self._record("update", **values)
        if self.board is not None:
            for name in ("loss", "rate", "grad_norm", "images_per_second"):
                self.board.add_scalar(f"train/{name}", values[name], update.step)

    def _record(self, kind: str, **values: Any) -> None:
        if self.records is not None:
            self.records.append(kind, self.trainee.counters.step, **values)

    def _noted(self, text: str) -> Note:
        self._record("event", message=text)
        return Note(text, trouble=True)

    def _picture_due(self, before: float, now: float) -> bool:
        """At even shares of the run; of a budget of time, pictures take a tenth at most (the last comes after it)."""
        count = self.training.pictures
        paid_for = time.monotonic() - self.shown_at >= 9 * self.showing_took
        may = self.training.minutes is None or now >= 1 or paid_for
        return may and int(before * count) < int(now * count)

    def _show(self, update: Update) -> str | None:
        """A grid of samples with the averaged weights, and the loss in bins of t; trouble in words, if any."""
        if not self.accelerator.is_main_process:
            return None
        step, bars = update.step, self._bars()
        begun = time.monotonic()
        denoiser = self.run.wrap(self.trainee.average.network)
        path = showing.progress_picture(self.run, denoiser, self.dataset, step, self.accelerator.device)
        self._record("sampled", file=path.relative_to(self.run.path).as_posix())
        self._record("levels", **self.trainee.bins.record(), **(bars.record() if bars else {}))
        if self.board is not None:
            board.add_picture(self.board, path, step)
        self.shown_at = time.monotonic()
        self.showing_took = self.shown_at - begun
        return bars.look(self.trainee.bins, update.progress) if bars else None

    def _bars(self) -> LevelWatch | None:
        """What losses by level are held against, made when it is first asked for; None where it is not known."""
        objective, data = self.objective, self.dataset
        known = len(data) >= LEAST_FOR_LINEAR and (data.is_image or data.values[0].size <= WATCHED_NUMBERS)
        # no subclass: it would add to the squared error
        if self.level_watch is None and type(objective) is DenoisingObjective and known:
            linear = both_ways(data, objective.corruption, WATCHED_EXAMPLES, WATCHED_NUMBERS)
            self.level_watch = LevelWatch.of(objective, *linear)
        return self.level_watch

    def _checkpoint_due(self, step: int) -> bool:
        if self.training.checkpoint_updates is not None:
            return step % self.training.checkpoint_updates == 0
        due = time.monotonic() - self.saved_at >= 60 * self.training.checkpoint_minutes
        return self._anywhere(due)

    def _save(self) -> None:
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            checkpoints.save(self.run.checkpoints, self.trainee.checkpoint(), self.training.keep)
        self.accelerator.wait_for_everyone()
        self.saved_at = time.monotonic()

    def _stop_everywhere(self) -> bool:
        return self._anywhere(self.stop())

    def _anywhere(self, flag: bool) -> bool:
        """True on every process if it is true on any: processes must agree on when to save and when to stop."""
        if self.accelerator.num_processes == 1:
            return flag
        votes = self.accelerator.reduce(torch.tensor(float(flag), device=self.accelerator.device), "sum")
        return bool(votes > 0)
