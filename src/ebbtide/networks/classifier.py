"""A small classifier of images, whose last layer but one are the features that sets of images are compared in."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

FEATURES = 128
COARSEST = 7
"""Pixels a side at which halving stops."""


class Classifier(nn.Module):
    """3x3 convolutions with batch norm, the picture halved until it is small, then the mean over places and one layer.

    Reads images with values about as large as 1. Features are the 128 means before the last layer.
    """

    def __init__(self, channels: int, size: int, classes: int) -> None:
        super().__init__()
        halvings = 0
        while size > COARSEST:
            size, halvings = (size + 1) // 2, halvings + 1
        widths = [32, 64, *[FEATURES] * max(1, halvings - 1)]
        # large pictures are halved at once: full resolution costs most and says least
        strides = [1 if halvings <= 2 else 2, *[2] * (len(widths) - 1)]
        strides = [stride if sum(strides[:i]) - i < halvings else 1 for i, stride in enumerate(strides)]
        layers: list[nn.Module] = []
        for before, after, stride in zip([channels, *widths[:-1]], widths, strides, strict=True):
            layers += [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(FEATURES, classes)

    def features(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch features"]:
        """What the last layer reads."""
        return self.body(x).mean((2, 3))

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Logits."""
        return self.head(self.features(x))
