"""Fréchet distance on Fashion-MNIST, in the features of a small classifier that is trained once and kept.

    ‖m₁ - m₂‖² + tr(C₁ + C₂ - 2 (C₁ C₂)^½)      Heusel et al. 2017, arXiv:1706.08500, with another network's features

Its scale is its own: compare with the floors (`floors`), which say what real images, noise and blur come to.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from ebbtide.data import Dataset, load
from ebbtide.evaluation.metrics import Moments, MomentsSum, frechet
from ebbtide.networks.classifier import FEATURES, Classifier

FASHION = "/usr/share/datasets/fashion-mnist"
CACHE = Path("runs/benchmarks")


def as_input(images: np.ndarray) -> Tensor:
    """uint8 (n, 28, 28, 1) -> float32 (n, 1, 28, 28), from -1 to 1."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


class Judge:
    """The classifier and the moments of the real training images."""

    def __init__(self, source: str = FASHION) -> None:
        self.train, self.test = load(source), load(source, split="test")
        self.file = CACHE / "classifier.safetensors"
        self.network = Classifier(1, 28, 10)
        if self.file.is_file():
            self.network.load_state_dict(load_file(self.file))
        else:
            _fit(self.network, self.train)
            CACHE.mkdir(parents=True, exist_ok=True)
            save_file({name: value.contiguous() for name, value in self.network.state_dict().items()}, self.file)
        self.network.eval()

    @torch.inference_mode()
    def _answers(self, images: np.ndarray, ask: Callable[[Tensor], Tensor]) -> np.ndarray:
        parts = [ask(as_input(images[i : i + 1000])) for i in range(0, len(images), 1000)]
        return torch.cat(parts).double().numpy()

    def moments(self, images: np.ndarray) -> Moments:
        """Of the features of uint8 images (n, 28, 28, 1)."""
        total = MomentsSum(FEATURES)
        total.add(self._answers(images, self.network.features))
        return total.moments()

    def read(self, images: np.ndarray) -> np.ndarray:
        """The classes that the classifier sees."""
        return self._answers(images, self.network).argmax(1)

    @cached_property
    def real(self) -> Moments:
        return self.moments(self.train.values)

    def distance(self, images: np.ndarray) -> float:
        """From uint8 images (n, 28, 28, 1) to the training set."""
        return frechet(self.moments(images), self.real)

    def accuracy(self) -> float:
        """On held-out images."""
        return float((self.read(self.test.values) == self.test.labels).mean())

    def floors(self, count: int) -> dict[str, float]:
        """What is to be expected: real images, and real images made worse, `count` of them."""
        random = np.random.default_rng(0)
        real = self.test.values[:count]
        pixels = self.train.values.reshape(len(self.train), -1) / 255.0
        gaussian = random.normal(pixels.mean(0), pixels.std(0), (count, pixels.shape[1])).reshape(real.shape)
        padded = np.pad(real / 255.0, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
        blurred = sum(padded[:, i : i + 28, j : j + 28] for i in range(3) for j in range(3)) / 9
        made = {
            "real test images": real / 255.0,
            "with noise of sd 0.05 (of the whole range)": real / 255.0 + 0.05 * random.normal(size=real.shape),
            "with noise of sd 0.05, pixels from -1 to 1": real / 255.0 + 0.025 * random.normal(size=real.shape),
            "blurred, 3x3": blurred,
            "a Gaussian for each pixel": gaussian,
            "uniform noise": random.uniform(size=real.shape),
        }
        return {name: self.distance(_bytes(values)) for name, values in made.items()}


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.clip(np.round(values * 255), 0, 255).astype(np.uint8)


def _fit(network: Classifier, data: Dataset, epochs: int = 5, batch: int = 128) -> None:
    """Fixed seeds; about a minute on two cores."""
    torch.manual_seed(0)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.reset_parameters()  # whatever was drawn before the seed was set
    network.to(memory_format=torch.channels_last).train()
    assert data.labels is not None
    inputs, labels = as_input(data.values), torch.from_numpy(data.labels)
    updates = epochs * len(data) // batch
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.05)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=updates)
    order = torch.cat([torch.randperm(len(data)) for _ in range(epochs)])
    for number in range(updates):
        chosen = order[number * batch : (number + 1) * batch]
        with torch.autocast("cpu", torch.bfloat16):
            answers = network(inputs[chosen].contiguous(memory_format=torch.channels_last))
        loss = F.cross_entropy(answers.float(), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()
