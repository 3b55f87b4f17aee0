"""One channel or three."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from ebbtide.data.memory import allocate
from ebbtide.errors import EbbtideError, require

Colour = Literal["auto", "grey", "rgb"]
COLOURS: tuple[Colour, ...] = ("auto", "grey", "rgb")
CHUNK = 1024


def is_grey(values: np.ndarray) -> bool:
    """Whether red, green and blue are equal in every pixel; values: uint8 (n, height, width, 3)."""
    for part in _parts(len(values)):
        some = values[part]
        if not np.array_equal(some[..., :2], some[..., 1:]):
            return False
    return True


def recolour(values: np.ndarray, colour: Colour) -> np.ndarray:
    """Images (n, height, width, channels) with one channel ("grey"), three ("rgb"), or as they are ("auto").

    Grey is the luma of ITU-R BT.601, 0.299 R + 0.587 G + 0.114 B, which leaves equal red, green and blue as they are.
    Raises EbbtideError if the images have neither one channel nor three.
    """
    if colour not in COLOURS:
        raise EbbtideError(f"colour is '{colour}', expected one of {', '.join(COLOURS)}")
    wanted = {"auto": values.shape[-1], "grey": 1, "rgb": 3}[colour]
    if wanted == values.shape[-1]:
        return values
    require(
        values.shape[-1] in (1, 3),
        f"images of {values.shape[-1]} channels cannot become {colour}, expected 1 or 3 channels",
    )
    out = allocate((*values.shape[:-1], wanted))
    for part in _parts(len(values)):
        out[part] = values[part] if colour == "rgb" else _luma(values[part])[..., None]
    return out


def _luma(rgb: np.ndarray) -> np.ndarray:
    # the weights in 16-bit fixed point sum to 65536 exactly
    red, green, blue = (rgb[..., channel].astype(np.uint32) for channel in range(3))
    return ((red * 19595 + green * 38470 + blue * 7471 + 32768) >> 16).astype(np.uint8)


def _parts(total: int) -> Iterator[slice]:
    return (slice(start, start + CHUNK) for start in range(0, total, CHUNK))
