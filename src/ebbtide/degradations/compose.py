"""Degradations one after the other, and those that a user writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ebbtide.degradations.degradation import NOTHING, Degradation, Drawn, check_drawn, closed, opened
from ebbtide.errors import require
from ebbtide.randomness import Randomness


@dataclass(frozen=True, init=False)
class Composed:
    """xt = last(... second(first(x0, t), t) ..., t): one degradation after the other, all at the same t.

    Raises EbbtideError where no degradation came, or something that is none.
    """

    parts: tuple[Degradation, ...]

    def __init__(self, *parts: Degradation) -> None:
        require(len(parts) > 0, "no degradation came, expected one or more: Composed(GaussianBlur(), Snow())")
        for part in parts:
            require(
                isinstance(part, Degradation) and not isinstance(part, type),
                f"{part!r} came, expected a degradation: an instance, with draw(shape, generator) and (x0, t, drawn)",
            )
        object.__setattr__(self, "parts", parts)

    def draw(self, shape: Sequence[int], generator: Randomness) -> Drawn:
        """What the parts draw, one after the other, behind an empty tensor whose shape says how many each drew."""
        drawn = [part.draw(shape, generator) for part in self.parts]
        counts = torch.empty(shape[0], 0, *(len(one) for one in drawn))
        return (counts, *(tensor for one in drawn for tensor in one))

    def __call__(
        self, x0: Float[Tensor, "batch channels height width"], t: Float64[Tensor, " batch"], drawn: Drawn
    ) -> Float[Tensor, "batch channels height width"]:
        opened(x0, t)
        counts = drawn[0].shape[2:] if drawn else ()
        check_drawn(1 + sum(counts), drawn, self)
        require(
            len(counts) == len(self.parts),
            f"what {len(counts)} degradations drew came, expected {len(self.parts)}: hand Composed what its draw gave",
        )
        xt, rest = x0, drawn[1:]
        for part, count in zip(self.parts, counts, strict=True):
            xt, rest = part(xt, t, rest[:count]), rest[count:]
        return closed(x0, t, xt)


@dataclass(frozen=True)
class Custom:
    """xt = function(x0, t), or function(x0, t, *drawn): any way to wear pictures away, of your own.

        half_dark = Custom(lambda x0, t: x0 * (1 - t[:, None, None, None] / 2))

    x0: (batch, channels, height, width); t: (batch,) in float64, in [0, 1]; the answer must have the shape of x0 and
    be finite. It should be x0 at t = 0; what is returned there is x0 in any case.

    drawing(shape, generator) gives what is random about a batch, a tensor or a tuple of them, each with the batch
    first; `ebbtide.randomness.normal` and `uniform` draw it so that a seed names a picture.

    Raises EbbtideError that says what the function gave, where it was something else.
    """

    function: Callable[..., Tensor]
    drawing: Callable[[Sequence[int], Randomness], Tensor | tuple[Tensor, ...]] | None = None

    def __post_init__(self) -> None:
        for name, value in (("function", self.function), ("drawing", self.drawing)):
            require(
                callable(value) or (name == "drawing" and value is None),
                f"{name}={value!r} came, expected a function: (x0, t) -> xt, and (shape, generator) -> drawn",
            )

    def draw(self, shape: Sequence[int], generator: Randomness) -> Drawn:
        """What the user's drawing gives."""
        if self.drawing is None:
            return NOTHING
        found: Any = self.drawing(shape, generator)
        drawn = found if isinstance(found, tuple) else (found,)
        for one in drawn:
            require(
                isinstance(one, Tensor) and one.shape[:1] == torch.Size(shape[:1]),
                f"the drawing of a Custom degradation gave {_told(one)}, expected tensors of ({shape[0]}, ...): "
                "the batch comes first",
            )
        return drawn

    def __call__(
        self, x0: Float[Tensor, "batch channels height width"], t: Float64[Tensor, " batch"], drawn: Drawn
    ) -> Float[Tensor, "batch channels height width"]:
        opened(x0, t)
        xt: Any = self.function(x0, t, *drawn)
        require(
            isinstance(xt, Tensor) and xt.shape == x0.shape and xt.is_floating_point() and xt.device == x0.device,
            f"the function of a Custom degradation gave {_told(xt)}, expected {_told(x0)}: give back pictures of the "
            "shape that came; t[:, None, None, None] multiplies them",
        )
        finite = xt.isfinite().flatten(1).all(dim=1)
        require(
            bool(finite.all()),
            f"the function of a Custom degradation gave values that are not finite, the first at "
            f"t = {t.cpu()[~finite.cpu()][:1].tolist()}: look for a division or a logarithm of 0 there",
        )
        return closed(x0, t, xt)


def _told(value: object) -> str:
    """A tensor's shape, type and place; the type of anything else."""
    if isinstance(value, Tensor):
        return f"{tuple(value.shape)} in {value.dtype} on {value.device}"
    return f"{type(value).__name__}"
