"""A bound with its last decoder: trained first where it is to be, and measured under a progress bar."""

from __future__ import annotations

from rich.progress import Progress, track

from ebbtide.cli.options import screen
from ebbtide.data import Dataset
from ebbtide.errors import EbbtideError
from ebbtide.likelihood.bound import Bound
from ebbtide.likelihood.reconstruction import Reconstruction
from ebbtide.recipes.bits import Asked, join, measure
from ebbtide.recipes.pixels import SETTINGS, find_decoder, train_decoder
from ebbtide.recipes.run_data import data_of

FIRST_NOISE = {"bins": 1.0, "trained": 4.0}
"""Noise at the last step, in bytes."""


def reconstruction_of(asked: Asked, trained: bool) -> Reconstruction:
    """Bins of a Gaussian (a density, for points), or the small network of this run, which is found or trained."""
    if not trained:
        return asked.reconstruction()
    from ebbtide.likelihood.pixels import TrainedPixels

    run, first = asked.run, asked.ladder.first
    data, others = _training_data(asked)
    network = find_decoder(run, first, others)
    if network is None:
        steps = track(
            train_decoder(run, asked.denoiser, data, first, asked.settings.device, others),
            "training the last decoder",
            total=SETTINGS.updates,
            console=screen,
            disable=not screen.is_terminal,
        )
        for _ in steps:
            pass
        network = find_decoder(run, first, others)
    assert network is not None
    return TrainedPixels(run.data.value_range, network.to(asked.settings.device))


def _training_data(asked: Asked) -> tuple[Dataset, str]:
    """The run's own; where they are gone, those that were given instead, and their fingerprint."""
    if asked.data.own:
        return asked.data.train, ""
    try:
        return data_of(asked.run).train, ""
    except EbbtideError:
        return asked.data.train, asked.data.mark


def bound_of(asked: Asked, reconstruction: Reconstruction) -> Bound:
    """The bound of all examples that are asked for."""
    with Progress(console=screen, disable=not screen.is_terminal) as progress:
        task = progress.add_task("measuring bits", total=len(asked.examples))
        parts = []
        for part in measure(asked, reconstruction):
            parts.append(part)
            progress.advance(task, len(part))
    return join(parts)
