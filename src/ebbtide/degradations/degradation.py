"""What wears a picture away: two questions, and the few lines that every answer shares.

    draw(shape, generator) -> drawn      all that is random about a batch of pictures, once for every t
    degradation(x0, t, drawn) -> xt      x0 worn to t: x0 itself, bit for bit, at t = 0; worn out at t = 1

A degradation needs no noise and no formula (cold diffusion, Bansal et al. 2022, arXiv:2208.09392). As what is random is
drawn once, xt for all t is one path, and the same question has the same answer. Black is 0 and white is 1; values
outside, such as a network's guesses, pass through as the operation carries them, nothing is clamped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from ebbtide.errors import near_misses, require
from ebbtide.randomness import Randomness

Drawn = tuple[Tensor, ...]
"""What a degradation drew, each with the batch first; () where nothing is random."""

NOTHING: Drawn = ()

GREY = 0.5
"""The middle between black and white."""

FAINTEST = -80.0
"""The least exponent that is taken: what is fainter cannot be seen, and underflow takes 100 times as long."""


@runtime_checkable
class Degradation(Protocol):
    """One way to wear pictures away."""

    def draw(self, shape: Sequence[int], generator: Randomness) -> Drawn:
        """What is random about pictures of this shape, (batch, channels, height, width)."""
        ...

    def __call__(
        self, x0: Float[Tensor, "batch channels height width"], t: Float64[Tensor, " batch"], drawn: Drawn
    ) -> Float[Tensor, "batch channels height width"]:
        """x0 worn to t in [0, 1], a t an example."""
        ...


def opened(
    x0: Float[Tensor, "batch channels height width"], t: Float[Tensor, " batch"]
) -> Float[Tensor, "batch channels height width"]:
    """x0 in a type to compute in: its own, or float32 where that is narrower. Every degradation begins with this.

    Raises EbbtideError for what is no batch of pictures, and for another number of times than of pictures.
    """
    require(
        x0.ndim == 4 and x0.is_floating_point(),
        f"pictures of shape {tuple(x0.shape)} and type {x0.dtype} came, expected (batch, channels, height, width) in "
        "floating point: degradations wear pictures only; divide bytes by 255",
    )
    require(
        t.shape == x0.shape[:1],
        f"t of shape {tuple(t.shape)} came for {len(x0)} pictures, expected one t each: t.expand({len(x0)})",
    )
    return x0 if x0.dtype in (torch.float32, torch.float64) else x0.float()


def closed(
    x0: Float[Tensor, "batch channels height width"],
    t: Float[Tensor, " batch"],
    xt: Float[Tensor, "batch channels height width"],
) -> Float[Tensor, "batch channels height width"]:
    """x0 where t = 0, bit for bit, and xt elsewhere, in x0's type. Every degradation ends with this."""
    return torch.where(spread(t == 0, x0), x0, xt.to(x0.dtype))


def spread(
    values: Float[Tensor, " batch"] | Bool[Tensor, " batch"], x: Float[Tensor, "batch channels height width"]
) -> Tensor:
    """A number an example, shaped to multiply x, in x's place and (unless it is a truth) type."""
    dtype = values.dtype if values.dtype == torch.bool else x.dtype
    return values.to(device=x.device, dtype=dtype).reshape(-1, 1, 1, 1)


def check_drawn(count: int, drawn: Drawn, of: object) -> None:
    """Raise EbbtideError unless `drawn` holds this many tensors."""
    require(
        len(drawn) == count,
        f"{len(drawn)} drawn tensors came, expected {count}: hand {type(of).__name__} what its own draw gave",
    )


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raise EbbtideError unless the option is one of its choices."""
    require(
        value in choices,
        f"{name}={value!r} came, expected one of {', '.join(choices)}.{near_misses(str(value), tuple(choices))}",
    )


def check_colour(colour: float | tuple[float, ...]) -> None:
    """Raise EbbtideError for a colour of no channels."""
    require(not isinstance(colour, tuple) or len(colour) > 0, "colour=() came, expected a grey or a number a channel")


def painted(
    colour: float | tuple[float, ...], x: Float[Tensor, "batch channels height width"]
) -> Float[Tensor, "1 #channels 1 1"]:
    """A colour, one grey for all channels or a number a channel, shaped to be mixed with x."""
    values = colour if isinstance(colour, tuple) else (colour,)
    require(
        len(values) in (1, x.shape[1]),
        f"a colour of {len(values)} numbers came for pictures of {x.shape[1]} channels: give one, or {x.shape[1]}",
    )
    return torch.tensor(values, dtype=x.dtype, device=x.device).reshape(1, -1, 1, 1)
