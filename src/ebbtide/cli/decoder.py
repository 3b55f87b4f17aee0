"""A bound with its last decoder: trained first where it is to be, and measured under a progress bar."""

from __future__ import annotations

from dataclasses import replace

from rich.progress import Progress, track

from ebbtide.cli.options import screen
from ebbtide.data import Dataset
from ebbtide.errors import EbbtideError
from ebbtide.likelihood.bound import Bound
from ebbtide.likelihood.reconstruction import Reconstruction
from ebbtide.recipes.bits import Asked, join, measure
from ebbtide.recipes.build import build_data
from ebbtide.recipes.pixels import SETTINGS, find_decoder, train_decoder

FIRST_NOISE = {"bins": 1.0, "trained": 4.0}
"""Noise at the last step, in bytes."""


def reconstruction_of(asked: Asked, trained: bool) -> Reconstruction:
    """Bins of a Gaussian (a density, for points), or the small network of this run, which is found or trained."""
    if not trained:
        return asked.reconstruction()
    from ebbtide.likelihood.pixels import TrainedPixels

    run, first = asked.run, asked.ladder.first
    network = find_decoder(run, first)
    if network is None:
        steps = track(
            train_decoder(run, asked.denoiser, _training_data(asked), first, asked.settings.device),
            "training the last decoder",
            total=SETTINGS.updates,
            console=screen,
            disable=not screen.is_terminal,
        )
        for _ in steps:
            pass
        network = find_decoder(run, first)
    assert network is not None
    return TrainedPixels(run.data.value_range, network.to(asked.settings.device))


def _training_data(asked: Asked) -> Dataset:
    """The run's own; where they are gone, those of the source that was given instead."""
    recipe, source, limits = asked.run.recipe.data, asked.settings.source, asked.run.data.value_range
    try:
        return build_data(recipe, "train", limits)
    except EbbtideError:
        if source is None:
            raise
        return build_data(replace(recipe, source=source), "train", limits)


def bound_of(asked: Asked, reconstruction: Reconstruction) -> Bound:
    """The bound of all examples that are asked for."""
    with Progress(console=screen, disable=not screen.is_terminal) as progress:
        task = progress.add_task("measuring bits", total=len(asked.examples))
        parts = []
        for part in measure(asked, reconstruction):
            parts.append(part)
            progress.advance(task, len(part))
    return join(parts)
