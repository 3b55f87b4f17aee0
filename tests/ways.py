"""Every degradation, for tests that hold for all of them, and pictures to wear away."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ebbtide.degradations import (
    Animorph,
    Composed,
    Custom,
    Degradation,
    Drawn,
    Fade,
    GaussianBlur,
    GrowingMask,
    Jpeg,
    MotionBlur,
    Pixelate,
    Posterise,
    RepeatedBlur,
    Snow,
)
from ebbtide.randomness import Randomness, normal
from parts import seeded

STDS = tuple(0.35 + 0.1 * level for level in range(12))

NAMES = (
    "gaussian",
    "gaussian, wrapped",
    "variance",
    "repeated",
    "motion",
    "pixelate",
    "mask",
    "snow",
    "fade",
    "animorph",
    "animorph, linear",
    "posterise",
    "jpeg",
    "composed",
    "custom",
)
LINEAR = ("gaussian", "gaussian, wrapped", "variance", "repeated", "motion", "pixelate")
AFFINE = (*LINEAR, "mask", "snow", "fade", "animorph", "animorph, linear", "composed")
CONTINUOUS = ("gaussian", "gaussian, wrapped", "variance", "motion", "mask", "snow", "fade", "animorph", "composed")
ROUNDED = ("posterise", "jpeg")
RANDOM = ("motion", "mask", "snow", "animorph", "animorph, linear", "composed", "custom")


def way(name: str, shape: Sequence[int]) -> Degradation:
    """The degradation of a name, for pictures of this shape."""
    bank = pictures(40, *shape[1:], seed=9)
    ways = {
        "gaussian": GaussianBlur(),
        "gaussian, wrapped": GaussianBlur(3.0, "linear", "wrap"),
        "variance": GaussianBlur(2.0, "variance"),
        "repeated": RepeatedBlur((5,) * 12, STDS),
        "motion": MotionBlur(),
        "pixelate": Pixelate(),
        "mask": GrowingMask(),
        "snow": Snow(),
        "fade": Fade(),
        "animorph": Animorph(lambda indices: bank[indices], 40),
        "animorph, linear": Animorph(lambda indices: bank[indices], 40, "linear"),
        "posterise": Posterise(),
        "jpeg": Jpeg(),
        "composed": Composed(GaussianBlur(), GrowingMask(), Snow()),
        "custom": Custom(noisy, lambda shape, generator: normal(shape, generator)),
    }
    assert tuple(ways) == NAMES
    return ways[name]


def noisy(x0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
    """A way of a user's own."""
    return x0 + t[:, None, None, None].to(x0) * noise.to(x0)


def pictures(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Smooth random pictures from black to white."""
    rough = torch.rand(shape, generator=seeded(seed), dtype=torch.float64)
    return GaussianBlur(1.0)(rough, times(1.0, len(rough)), ()).to(dtype)


def times(t: float, count: int) -> Tensor:
    """One time for all."""
    return torch.full((count,), t, dtype=torch.float64)


def worn(name: str, x0: Tensor, t: Tensor | float, generator: Randomness | None = None) -> Tensor:
    """x0 at t, by a degradation's name and, if not told, from seed 0."""
    degradation = way(name, x0.shape)
    drawn = degradation.draw(x0.shape, seeded(0) if generator is None else generator)
    return degradation(x0, t if isinstance(t, Tensor) else times(t, len(x0)), drawn)


def taken(drawn: Drawn, row: int) -> Drawn:
    """What was drawn for one example of a batch, as a batch of one."""
    return tuple(one[row : row + 1] for one in drawn)
