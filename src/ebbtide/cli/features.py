"""The features that sets are compared in: found, or trained first under a progress bar."""

from __future__ import annotations

from pathlib import Path

from rich.progress import Progress, track

from ebbtide.cli.options import screen
from ebbtide.data import Dataset
from ebbtide.recipes.evaluate import MOST_REAL, Sides, Sketch
from ebbtide.recipes.features import (
    Features,
    FeaturesName,
    Values,
    find_classifier,
    kind_for,
    train_classifier,
    updates_for,
)
from ebbtide.recipes.inception import Inception


def sketch_of(dataset: Dataset, features: Features, words: str) -> Sketch:
    """A set told in these features, under a progress bar."""
    with Progress(console=screen, disable=not screen.is_terminal, transient=True) as progress:
        task = progress.add_task(f"looking at {words}", total=min(len(dataset), MOST_REAL))
        for sketch in Sketch.growing(dataset, features):
            progress.update(task, completed=sketch.count)
    return sketch


def features_of(both: Sides, wanted: FeaturesName, weights_file: Path | None = None, device: str = "auto") -> Features:
    """What is wanted, of these data. weights_file: Inception's. device: where a classifier is trained."""
    data = both.train
    kind = kind_for(data, wanted)
    if kind == "inception":
        return Inception(weights_file)
    if kind == "values":
        return Values(int(data.values[0].size))
    found = find_classifier(data, kind)
    if found is None:
        updates = track(
            train_classifier(data, both.unseen if both.split == "test" else None, kind, device),
            "training the features",
            total=updates_for(data),
            console=screen,
            disable=not screen.is_terminal,
        )
        for _ in updates:
            pass
        found = find_classifier(data, kind)
    assert found is not None
    return found
