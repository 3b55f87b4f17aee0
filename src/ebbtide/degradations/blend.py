"""Into something else: a colour, or a picture of another set."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ebbtide.degradations.degradation import (
    GREY,
    NOTHING,
    Drawn,
    check_choice,
    check_colour,
    check_drawn,
    closed,
    opened,
    painted,
    spread,
)
from ebbtide.errors import require
from ebbtide.randomness import Randomness, uniform

Weights = Literal["cosine", "linear"]


@dataclass(frozen=True)
class Fade:
    """xt = (1 - t) x0 + t colour. At t = 1 it is the colour and nothing else. Affine in x0.

    Raises EbbtideError for a colour of another number of channels.
    """

    colour: float | tuple[float, ...] = GREY

    def __post_init__(self) -> None:
        check_colour(self.colour)

    def draw(self, shape: Sequence[int], generator: Randomness) -> Drawn:
        """Nothing: the colour is given."""
        return NOTHING

    def __call__(
        self, x0: Float[Tensor, "batch channels height width"], t: Float64[Tensor, " batch"], drawn: Drawn
    ) -> Float[Tensor, "batch channels height width"]:
        x = opened(x0, t)
        return closed(x0, t, spread(1 - t, x) * x + spread(t, x) * painted(self.colour, x))


@dataclass(frozen=True)
class Animorph:
    """Into a picture z of another set, drawn at random (Bansal et al. 2022, 5.4: people into animals).

        cosine  xt = 1/2 + cos(π t / 2) (x0 - 1/2) + sin(π t / 2) (z - 1/2)     their sqrt(α), sqrt(1 - α), α = cos²
        linear  xt = (1 - t) x0 + t z

    The square roots of the paper keep the contrast of two pictures that have nothing to do with each other, where
    linear weights halve its square midway; they are about the middle grey, so that two grey pictures stay grey, and
    with the cosine for α the two exchange places evenly. Values may lie outside black and white by up to 0.21 on the
    way. At t = 1 the result is z, bit for bit. Affine in x0.

    other gives the pictures of given indices, 0 to count - 1, black 0 and white 1, on the CPU: (n,) -> (n, channels,
    height, width). Raises EbbtideError where they have not the shape of x0, and for unknown words.
    """

    other: Callable[[Tensor], Tensor]
    count: int
    weights: Weights = "cosine"

    def __post_init__(self) -> None:
        require(self.count >= 1, f"count={self.count} came, expected how many pictures the other set holds")
        check_choice("weights", self.weights, get_args(Weights))

    def draw(self, shape: Sequence[int], generator: Randomness) -> Drawn:
        """z itself, (batch, channels, height, width)."""
        # a float64 falls on each of up to 2^53 pictures alike; below 1, so that the floor is below the count
        indices = (uniform((shape[0],), generator, dtype=torch.float64).cpu() * self.count).long()
        pictures = self.other(indices)
        require(
            pictures.shape == tuple(shape) and pictures.is_floating_point(),
            f"the other set gave {tuple(pictures.shape)} in {pictures.dtype}, expected pictures of {tuple(shape)} in "
            "floating point: resize them, and give them as many channels, before they are handed to Animorph",
        )
        return (pictures,)

    def __call__(
        self, x0: Float[Tensor, "batch channels height width"], t: Float64[Tensor, " batch"], drawn: Drawn
    ) -> Float[Tensor, "batch channels height width"]:
        x = opened(x0, t)
        check_drawn(1, drawn, self)
        z = drawn[0].to(x)
        if self.weights == "linear":
            mixed = spread(1 - t, x) * x + spread(t, x) * z
        else:
            turn = math.pi / 2 * t.double()
            mixed = GREY + spread(turn.cos(), x) * (x - GREY) + spread(turn.sin(), x) * (z - GREY)
        return closed(x0, t, torch.where(spread(t == 1, x), z, mixed))
