"""The loop: batch -> losses -> update. It yields a record after each; stopping, saving and printing are the caller's.

Every random number of update k comes from (seed, k): data order, flips, times, noise, dropout. So a run that is resumed
does exactly what it would have done, and nothing of the generators has to be saved.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import nn

from ebbtide.data.dataset import Batch, Dataset
from ebbtide.errors import TrainingStopped
from ebbtide.objectives import Losses, Objective
from ebbtide.randomness import generator_of, seed_of
from ebbtide.threads import piece
from ebbtide.training.order import batch_indices
from ebbtide.training.rates import rate_factor
from ebbtide.training.state import Trainee

PATIENCE = 5
"""Updates in a row that may be skipped for losses or gradients that are not finite."""


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """batch: examples an update and process, in `accumulate` parts. rate: the peak. Ends after `updates` or seconds."""

    batch: int = 128
    accumulate: int = 1
    rate: float = 1e-3
    warmup: int = 100
    decay: float = 0.3
    clip: float = 1.0
    updates: int | None = None
    seconds: float | None = None
    seed: int = 0

    def progress(self, step: int, seconds: float) -> float:
        """How far the run is, 0 to 1, by whichever budget is nearer its end."""
        by_updates = step / self.updates if self.updates is not None else 0.0
        by_time = seconds / self.seconds if self.seconds is not None else 0.0
        return min(1.0, max(by_updates, by_time))


@dataclass(frozen=True, kw_only=True)
class Update:
    """What one update did. skipped: its loss or gradient was not finite, and the weights are as before."""

    step: int
    images: int
    loss: float
    rate: float
    grad_norm: float
    skipped: bool
    progress: float
    images_per_second: float


def fit(
    trainee: Trainee, objective: Objective, dataset: Dataset, settings: FitSettings, accelerator: Accelerator
) -> Iterator[Update]:
    """Train until the budget is spent, yielding after each update, when `trainee` is whole and may be saved.

    Raises TrainingStopped when several updates in a row were not finite.
    """
    network, optimizer = accelerator.prepare(trainee.network, trainee.optimizer)
    network.train()
    clock, kind = time.perf_counter(), object()
    while (progress := settings.progress(trainee.counters.step, trainee.counters.seconds)) < 1:
        counters, started = trainee.counters, time.perf_counter()
        rate = settings.rate * rate_factor(counters.step, progress, warmup=settings.warmup, decay=settings.decay)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
        with piece(kind, accelerator.device):
            losses, names = _gradients(network, objective, dataset, settings, accelerator, counters.step)
            loss, grad_norm = _step(trainee, network, optimizer, losses, settings, accelerator)
        now = time.perf_counter()
        counters.seconds = _agreed(accelerator, counters.seconds + now - clock)
        clock = now
        yield Update(
            step=counters.step,
            images=counters.images,
            loss=loss,
            rate=rate,
            grad_norm=grad_norm,
            skipped=counters.skipped_in_a_row > 0,
            progress=settings.progress(counters.step, counters.seconds),
            images_per_second=settings.batch * accelerator.num_processes / (now - started),
        )
        if counters.skipped_in_a_row >= PATIENCE:
            raise TrainingStopped(_not_finite(counters.step, losses, names, grad_norm))


def _step(
    trainee: Trainee,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    losses: Losses,
    settings: FitSettings,
    accelerator: Accelerator,
) -> tuple[float, float]:
    """The weights' step along their gradients, unless these or the loss are not finite; the mean loss and the norm."""
    counters, seen = trainee.counters, settings.batch * accelerator.num_processes
    norm = accelerator.clip_grad_norm_(network.parameters(), settings.clip)
    mean = accelerator.reduce(losses.values.mean(), "mean")
    # the one moment of an update in which the host waits for the device
    loss, grad_norm, *values = torch.cat([torch.stack([mean, norm]), losses.values]).tolist()
    counters.step += 1
    counters.images += seen
    if math.isfinite(loss) and math.isfinite(grad_norm):
        optimizer.step()
        counters.skipped_in_a_row = 0
        trainee.average.update(trainee.network, batch=seen, images=counters.images)
        trainee.bins.add(torch.tensor(values), losses.times)
    else:
        counters.skipped += 1
        counters.skipped_in_a_row += 1
    return loss, grad_norm


def _agreed(accelerator: Accelerator, seconds: float) -> float:
    """The first process's clock: all must end at the same update and share one learning rate."""
    if accelerator.num_processes == 1:
        return seconds
    return float(broadcast(torch.tensor(seconds, dtype=torch.float64, device=accelerator.device)))


def _gradients(
    network: nn.Module,
    objective: Objective,
    dataset: Dataset,
    settings: FitSettings,
    accelerator: Accelerator,
    step: int,
) -> tuple[Losses, tuple[str, ...]]:
    """The gradients of one update, over its parts; the losses of all of them."""
    parts: list[Losses] = []
    names: tuple[str, ...] = ()
    size = settings.batch // settings.accumulate
    for part in range(settings.accumulate):
        number = (step * settings.accumulate + part) * accelerator.num_processes + accelerator.process_index
        batch = _batch(dataset, settings.seed, size, number).to(accelerator.device)
        last = part == settings.accumulate - 1
        quiet = contextlib.nullcontext() if last else accelerator.no_sync(network)
        with quiet, _seeded(seed_of(settings.seed, "dropout", number), accelerator.device):
            generator = generator_of(settings.seed, "noise", number)
            losses = objective(network, batch.x0, batch.condition, generator)
            accelerator.backward(losses.values.mean() / settings.accumulate)
        parts.append(Losses(losses.values.detach(), losses.times))
        names += batch.names
    return Losses(torch.cat([p.values for p in parts]), torch.cat([p.times for p in parts])), names


def _batch(dataset: Dataset, seed: int, size: int, number: int) -> Batch:
    indices = batch_indices(seed, len(dataset), size, number)
    return dataset.batch(indices, generator_of(seed, "flip", number))


@contextlib.contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Dropout draws from torch's own generator: seed it for this part, and give the caller's back afterwards."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def _not_finite(step: int, losses: Losses, names: tuple[str, ...], grad_norm: float) -> str:
    bad = ~torch.isfinite(losses.values.cpu())
    suspects = bad if bool(bad.any()) else torch.ones_like(bad)
    times = losses.times[suspects]
    files = [name for name, suspect in zip(names, suspects.tolist(), strict=True) if suspect]
    shown = ", ".join(files[:4]) + (f" and {len(files) - 4} more" if len(files) > 4 else "")
    what = f"{int(bad.sum())} of {len(names)} losses" if bool(bad.any()) else f"the gradient (norm {grad_norm})"
    return (
        f"training stopped at update {step}: {PATIENCE} updates in a row were not finite; in the last one {what}, at "
        f"noise levels t={float(times.min()):.3f} to {float(times.max()):.3f}, from {shown}. None of them reached the "
        "weights. Look at those files, or lower the learning rate"
    )
