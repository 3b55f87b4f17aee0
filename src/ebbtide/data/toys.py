"""Points in the plane: distributions small enough to look at, one of them with a density in closed form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import pi, sqrt
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ebbtide.data.dataset import Dataset
from ebbtide.randomness import generator_of, normal, seed_of, uniform

POINTS = 10_000

SWISS_ROLL_NOISE = 0.5
# Of (t cos t, t sin t), t uniform on [1.5 pi, 4.5 pi]: the mean is (2, 2 / (3 pi)), the second moments are
# 4.875 pi^2 -+ 1/4; the noise adds its variance.
SWISS_ROLL_CENTRE = (2.0, 2 / (3 * pi))
SWISS_ROLL_SCALE = (
    sqrt(4.875 * pi**2 - 0.25 - 2.0**2 + SWISS_ROLL_NOISE**2),
    sqrt(4.875 * pi**2 + 0.25 - (2 / (3 * pi)) ** 2 + SWISS_ROLL_NOISE**2),
)

MOONS_NOISE = 0.05
# Of (cos t, sin t) and (1 - cos t, 1/2 - sin t) in equal parts, t uniform on [0, pi]: the mean is (1/2, 1/4), the
# variances are 3/4 and 9/16 - 1/pi; the noise adds its variance.
MOONS_CENTRE = (0.5, 0.25)
MOONS_SCALE = (sqrt(0.75 + MOONS_NOISE**2), sqrt(0.5625 - 1 / pi + MOONS_NOISE**2))


@dataclass(frozen=True, kw_only=True, eq=False)
class MixtureDensity:
    """The density sum_k weights[k] N(x; means[k], std^2 I), all in float64: weights (k,), means (k, d), std ()."""

    weights: Float[Tensor, " components"]
    means: Float[Tensor, "components dim"]
    std: Float[Tensor, ""]


def _ring() -> MixtureDensity:
    """Eight Gaussians on a ring, weighted 1 : 2 : ... : 8, moved and scaled to mean 0 and mean variance 1.

    With unit-ring means m_k, the variance summed over both axes is R^2 (1 - |sum w_k m_k|^2) + 2 std^2, which is 2.
    """
    std = 0.1
    angles = torch.arange(8, dtype=torch.float64) * (2 * pi / 8)
    weights = torch.arange(1, 9, dtype=torch.float64) / 36
    unit = torch.stack([angles.cos(), angles.sin()], dim=1)
    centre = weights @ unit
    radius = sqrt((2 - 2 * std**2) / (1 - float(centre @ centre)))
    return MixtureDensity(weights=weights, means=radius * (unit - centre), std=torch.tensor(std, dtype=torch.float64))


MIXTURE = _ring()


def load_toy(name: Literal["swiss-roll", "moons", "mixture"], split: Literal["train", "test"]) -> Dataset:
    """10,000 points, float32 (n, 2), the same each time; the test split is another draw.

    Each is brought to mean 0 and variance about 1 by fixed constants, never by the sample's own moments. The labels of
    moons say which moon, those of mixture which component of MIXTURE; swiss-roll has none.
    """
    points, labels = TOYS[name](split)
    return Dataset(
        name=name,
        values=points.astype(np.float32),
        labels=labels,
        classes=() if labels is None else tuple(str(k) for k in range(int(labels.max()) + 1)),
        names=None if split == "train" else tuple(f"{name}/test[{i}]" for i in range(len(points))),
    )


Sample = tuple[np.ndarray, np.ndarray | None]


def _swiss_roll(split: str) -> Sample:
    from sklearn.datasets import make_swiss_roll

    points, _ = make_swiss_roll(POINTS, noise=SWISS_ROLL_NOISE, random_state=_seed("swiss-roll", split))
    return (points[:, [0, 2]] - SWISS_ROLL_CENTRE) / SWISS_ROLL_SCALE, None


def _moons(split: str) -> Sample:
    from sklearn.datasets import make_moons

    points, labels = make_moons(POINTS, noise=MOONS_NOISE, random_state=_seed("moons", split))
    return (points - MOONS_CENTRE) / MOONS_SCALE, labels.astype(np.int64)


def _mixture(split: str) -> Sample:
    generator = generator_of("mixture", split)
    u = uniform((POINTS,), generator, dtype=torch.float64)
    # the last edge is left out, so that rounding in the sum cannot make a ninth component
    labels = torch.searchsorted(MIXTURE.weights.cumsum(0)[:-1].contiguous(), u, right=True)
    noise = normal((POINTS, 2), generator, dtype=torch.float64)
    return (MIXTURE.means[labels] + MIXTURE.std * noise).numpy(), labels.numpy()


def _seed(name: str, split: str) -> int:
    """scikit-learn takes seeds of 32 bits."""
    return seed_of(name, split) % 2**32


TOYS: dict[str, Callable[[str], Sample]] = {"swiss-roll": _swiss_roll, "moons": _moons, "mixture": _mixture}
