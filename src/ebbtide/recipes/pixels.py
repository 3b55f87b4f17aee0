"""Train the small last decoder of a finished run, once; it is kept in the run's folder (item E11)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from ebbtide.data import Dataset
from ebbtide.data.dataset import spread
from ebbtide.denoisers import GaussianDenoiser
from ebbtide.errors import EbbtideError
from ebbtide.files import write_atomically
from ebbtide.networks import PixelDecoder
from ebbtide.objectives.pixels import PixelObjective
from ebbtide.randomness import seed_of
from ebbtide.recipes.run import Run
from ebbtide.tensors import check_tensors, layout_of, read_tensors
from ebbtide.training import FitSettings, Update, checkpoints, fit
from ebbtide.training.average import Average
from ebbtide.training.machine import accelerator_of
from ebbtide.training.state import Trainee

SETTINGS = FitSettings(batch=64, rate=2e-3, warmup=20, decay=0.5, updates=400)
MOST_PIXELS = 8192
"""Of all channels, an update: the 256 values of each take 30 kB; large images come in smaller batches."""


def decoder_file(run: Run) -> Path:
    """Where it is kept."""
    return run.path / "pixel-decoder.safetensors"


def find_decoder(run: Run, first: float, others: str = "") -> PixelDecoder | None:
    """The decoder of this run's newest checkpoint for z1 at t = first, if it was trained before.

    others: the fingerprint of the data it was trained on, if these were not the run's own.
    """
    file = decoder_file(run)
    if not file.is_file():
        return None
    network = PixelDecoder(run.data.event_shape[0])
    try:
        weights, about = read_tensors(file)
        check_tensors(weights, layout_of(network.state_dict()))
    except EbbtideError:  # damaged, or of another architecture: it is trained anew
        return None
    if about.get("made for") != _made_for(run, first, others):
        return None
    network.load_state_dict(weights)
    return network.eval()


def train_decoder(
    run: Run, denoiser: GaussianDenoiser, dataset: Dataset, first: float, device: str = "auto", others: str = ""
) -> Iterator[Update]:
    """400 updates on the training images, then the file is written. device: where the denoiser is; others: as in
    find_decoder."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed_of(run.recipe.training.seed, "pixels"))
        network = PixelDecoder(run.data.event_shape[0])
        network.frequencies.copy_(_log_frequencies(dataset))
    accelerator = accelerator_of("fp32", device)
    network.to(accelerator.device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=SETTINGS.rate, weight_decay=0.0)
    trainee = Trainee(network, optimizer, Average(network, 10_000))
    objective = PixelObjective(denoiser=denoiser, first=first, range=run.data.value_range)
    settings = replace(SETTINGS, batch=max(1, min(SETTINGS.batch, MOST_PIXELS // math.prod(run.data.event_shape))))
    yield from fit(trainee, objective, dataset, settings, accelerator)
    weights = {name: value.contiguous().cpu() for name, value in trainee.average.network.state_dict().items()}
    write_atomically(decoder_file(run), save(weights, {"made for": _made_for(run, first, others)}))


def _log_frequencies(dataset: Dataset) -> Tensor:
    """How often each byte occurs in a thousand images, counted from one half."""
    some = dataset.values[spread(len(dataset), 1000)]
    counts = np.bincount(some.reshape(-1), minlength=256) + 0.5
    return torch.from_numpy(np.log(counts / counts.sum())).float()


def _made_for(run: Run, first: float, others: str) -> str:
    return f"{checkpoints.latest(run.checkpoints).name} t={first:.6g}{others and ' data=' + others}"
