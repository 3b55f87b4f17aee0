"""What sets of examples are compared in: the features of a network, always named beside the number they give.

"labels": a small classifier of the data's own labels, trained once and kept; "turns": the same, of which way up a
picture is, for data without labels; "values": the data's own numbers, for points; "inception": the network of Inception
scores and Fréchet distances in the literature, from torch-fidelity, where its weights are at hand.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from ebbtide.data import Dataset, ValueRange
from ebbtide.data.fingerprint import fingerprint
from ebbtide.errors import EbbtideError, require
from ebbtide.files import write_atomically
from ebbtide.networks.classifier import FEATURES, Classifier
from ebbtide.objectives import Objective
from ebbtide.objectives.classes import TURNS, LabelObjective, TurnObjective, turned
from ebbtide.randomness import generator_of, seed_of
from ebbtide.tensors import check_tensors, layout_of, read_tensors
from ebbtide.threads import piece
from ebbtide.training import FitSettings, Update, fit
from ebbtide.training.average import Average
from ebbtide.training.machine import accelerator_of
from ebbtide.training.state import Trainee

FeaturesName = Literal["auto", "labels", "turns", "values", "inception"]
VERSION = 1
"""Of the classifier and its training: another one gives other numbers."""
EPOCHS, LEAST_UPDATES, MOST_UPDATES, BATCH = 5, 600, 2500, 128


@runtime_checkable
class Features(Protocol):
    """Examples as bytes (n, height, width, channels), or as numbers (n, d), to features, and class probabilities if it
    has any."""

    @property
    def name(self) -> str: ...

    @property
    def dimensions(self) -> int: ...

    def __call__(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]: ...


@dataclass(frozen=True)
class Values:
    """The numbers themselves."""

    dimensions: int
    name: str = "the data's own numbers"

    def __call__(self, values: np.ndarray) -> tuple[np.ndarray, None]:
        return values.reshape(len(values), -1).astype(np.float32), None


@dataclass(frozen=True)
class ClassifierFeatures:
    """The means before a classifier's last layer; its probabilities, unless it only tells turns."""

    network: Classifier
    range: ValueRange
    name: str
    classes: int
    dimensions: int = FEATURES

    @torch.inference_mode()
    def __call__(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        x = as_input(values, self.range)
        with piece((self.name, x.shape)):
            found = self.network.features(x)
        if not self.classes:
            return found.numpy(), None
        return found.numpy(), self.network.head(found).double().softmax(1).numpy()


def as_input(values: np.ndarray, range: ValueRange) -> Tensor:
    """Bytes (n, height, width, channels) as a classifier reads them."""
    return range.encode(torch.from_numpy(values).permute(0, 3, 1, 2))


def kind_for(dataset: Dataset, wanted: FeaturesName) -> FeaturesName:
    """What "auto" means for these data; an error where what is wanted cannot be."""
    labels = dataset.labels is not None and len(dataset.classes) >= 2
    square = dataset.is_image and dataset.event_shape[1] == dataset.event_shape[2]
    if wanted == "auto":
        if not dataset.is_image or dataset.values[0].size < 32:
            return "values"
        return "labels" if labels else "turns" if square else "values"
    require(
        wanted != "labels" or (labels and dataset.is_image),
        f"features of labels came for {dataset.name}, which has no labelled images: choose turns or values",
    )
    require(wanted != "turns" or square, f"features of turns came for {dataset.name}: they are for square images")
    require(wanted != "inception" or dataset.is_image, f"inception came for {dataset.name}: it is for images")
    return wanted


def classifier_file(dataset: Dataset, kind: str) -> Path:
    """Where the classifier of these data is kept: under $EBBTIDE_CACHE, $XDG_CACHE_HOME/ebbtide or ~/.cache/ebbtide."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ebbtide"
    folder = Path(os.environ.get("EBBTIDE_CACHE") or home) / "features"
    return folder / f"{kind}-{mark(dataset, kind)}.safetensors"


def mark(dataset: Dataset, kind: str) -> str:
    """Of the examples, and of the labels where they are learned."""
    return fingerprint(dataset, labels=kind == "labels", about=f"{VERSION} {kind}")


def find_classifier(dataset: Dataset, kind: str) -> ClassifierFeatures | None:
    """The classifier of these data, if it was trained before."""
    file = classifier_file(dataset, kind)
    if not file.is_file():
        return None
    network = _new(dataset, kind)
    try:
        weights, about = read_tensors(file)
        check_tensors(weights, layout_of(network.state_dict()))
    except EbbtideError:  # damaged: it is trained anew
        return None
    network.load_state_dict(weights)
    words = "the data's labels" if kind == "labels" else "which way up a picture is"
    right = f"{about.get('right', '?')} right on {about.get('of', 'held-out')} images"
    name = f"a classifier of {words} ({file.stem.split('-')[-1]}, {right})"
    classes = len(dataset.classes) if kind == "labels" else 0
    return ClassifierFeatures(network.eval(), ValueRange.standard(dataset.values), name, classes)


def updates_for(dataset: Dataset) -> int:
    """How long a classifier is trained."""
    return min(MOST_UPDATES, max(LEAST_UPDATES, EPOCHS * len(dataset) // BATCH))


def train_classifier(dataset: Dataset, held_out: Dataset | None, kind: str, device: str = "auto") -> Iterator[Update]:
    """The training images alone decide it: the same data give the same features to every run that is compared.

    held_out: on which its share of right answers is measured, for its name; None, or without the labels that are
    learned: the training images.
    """
    data = replace(dataset, range=ValueRange.standard(dataset.values), flip=False)
    network = _new(dataset, kind)
    accelerator = accelerator_of("fp32", device)
    network.to(accelerator.device)
    settings = FitSettings(batch=BATCH, rate=2e-3, warmup=50, decay=0.7, updates=updates_for(dataset))
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.rate, weight_decay=0.05)
    objective: Objective = LabelObjective() if kind == "labels" else TurnObjective()
    yield from fit(Trainee(network, optimizer, Average(network, 0)), objective, data, settings, accelerator)
    network.cpu().eval()
    judged, of = dataset, "training"
    if held_out is not None and (kind != "labels" or held_out.labels is not None):
        judged, of = held_out, "held-out"
    right = _right(network, judged, data.range, kind)
    weights = {name: value.contiguous() for name, value in network.state_dict().items()}
    write_atomically(classifier_file(dataset, kind), save(weights, {"right": f"{right:.1%}", "of": of}))


def _new(dataset: Dataset, kind: str) -> Classifier:
    channels, height, width = dataset.event_shape
    classes = len(dataset.classes) if kind == "labels" else TURNS
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of("features", kind))
        return Classifier(channels, max(height, width), classes)


@torch.inference_mode()
def _right(network: Classifier, data: Dataset, limits: ValueRange, kind: str) -> float:
    """The share of right answers among the examples that have one."""
    right = total = 0
    for first in range(0, len(data), 1000):
        values = data.values[first : first + 1000]
        x = as_input(values, limits)
        if kind == "labels":
            assert data.labels is not None
            wanted = torch.from_numpy(data.labels[first : first + 1000])
        else:
            wanted = torch.randint(TURNS, (len(values),), generator=generator_of("turns", first))
            x = turned(x, wanted)
        right += int((network(x).argmax(1) == wanted).sum())
        total += int((wanted >= 0).sum())
    return right / max(total, 1)
