"""Any picture becomes red, green and blue bytes of one height and width."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ebbtide.data.memory import allocate
from ebbtide.data.opening import one_line, opened
from ebbtide.errors import EbbtideError, require

Background = tuple[int, int, int]
WHITE: Background = (255, 255, 255)
BLACK: Background = (0, 0, 0)
Size = int | tuple[int, int]
"""Height and width in pixels: a number for both, or each."""
ROWS = 256


def height_and_width(size: Size, name: str = "size") -> tuple[int, int]:
    """Both, also of a square. Raises EbbtideError if either is less than one pixel, or there are not two.

    name: of the size, for the message.
    """
    sides = (size, size) if isinstance(size, int) else tuple(size)
    require(len(sides) == 2, f"{name} is {size}, expected a number of pixels, or height and width: 32x48")
    require(min(sides) >= 1, f"{name} is {sides[0]}x{sides[1]}, expected at least 1 pixel")
    return sides[0], sides[1]


def decode(
    source: Path | str | bytes | Image.Image, size: Size, background: Background = WHITE, *, nearest: bool = False
) -> np.ndarray:
    """A picture as uint8 (height, width, 3): its middle, as large as fits, resized.

    source: a file, the bytes of a file, or an opened picture, which is left as it is. A photo is turned as its EXIF
    orientation says. What is transparent shows the background. Greys of 16 bits are scaled by 255 / 65535; 32-bit
    whole numbers and floats see `_deep_to_grey`. Of an animation the first frame is taken. nearest: each pixel is one
    of the picture's own, never a mean of several.

    Raises EbbtideError if the picture cannot be read.
    """
    sides = height_and_width(size)
    if isinstance(source, Image.Image):
        try:
            return _pixels(source, sides, background, nearest)
        except Exception as error:  # a picture may be opened and yet be broken
            raise EbbtideError(f"not a readable picture: {one_line(error)}") from error
    # twice what is needed is kept for the good filter
    about = None if nearest else (2 * max(sides), 2 * max(sides))
    with opened(source, about) as image:
        return _pixels(image, sides, background, nearest)


def upright(source: Path | str | bytes) -> Image.Image:
    """A picture in memory, turned as its EXIF orientation says. Raises EbbtideError if it cannot be read."""
    with opened(source) as image:
        return ImageOps.exif_transpose(image)


def resize_all(values: np.ndarray, size: Size) -> np.ndarray:
    """Images (n, h, w, channels of 1 or 3) as (n, height, width, channels): their middle, resized; uint8."""
    height, width = height_and_width(size)
    if values.shape[1:3] == (height, width):
        return values
    channels = values.shape[3]
    require(channels in (1, 3), f"images of {channels} channels cannot be resized, expected 1 or 3 channels")
    out = allocate((len(values), height, width, channels))
    for i, value in enumerate(values):
        image = Image.fromarray(value[..., 0] if channels == 1 else value)
        out[i] = np.asarray(_resize(image, (height, width))).reshape(height, width, channels)
    return out


def _pixels(image: Image.Image, sides: tuple[int, int], background: Background, nearest: bool) -> np.ndarray:
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):
        image = Image.fromarray(_deep_to_grey(np.asarray(image)))
    elif image.has_transparency_data:
        # before resizing, so that the colour of what cannot be seen does not bleed into what can
        image = image.convert("RGBA")
        behind = Image.new("RGBA", image.size, (*background, 255))
        image = Image.alpha_composite(behind, image).convert("RGB")
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode not in ("L", "RGB"):
        image = image.convert("RGB")
    return np.array(_resize(image, sides, nearest).convert("RGB"))


def _deep_to_grey(values: np.ndarray) -> np.ndarray:
    """Greys of more than 8 bits as uint8, which Pillow would clip at 255.

    Whole numbers in 0..65535 are 16 bits. Floats up to 1 count from 0 to 1, up to 255 as bytes, up to 65535 as 16
    bits. Anything else says nothing of its scale, so its own smallest value becomes black and its largest white.
    """
    low, high = float(values.min()), float(values.max())
    require(np.isfinite([low, high]).all().item(), "it holds values that are NaN or infinite")
    tops = (1, 255, 65535) if values.dtype.kind == "f" else (65535,)
    top = next((top for top in tops if low >= 0 and high <= top), None)
    base, span = (0.0, float(top)) if top else (low, high - low or 1.0)
    grey = np.empty(values.shape, np.uint8)
    for first in range(0, len(values), ROWS):  # by rows, as numbers of 64 bits take eight times the room
        rows = values[first : first + ROWS].astype(np.float64)
        grey[first : first + ROWS] = np.rint((rows - base) * (255 / span))
    return grey


def _resize(image: Image.Image, sides: tuple[int, int], nearest: bool = False) -> Image.Image:
    """The largest box of the wanted shape around the middle of the picture, brought to the wanted size."""
    (width, height), (tall, wide) = image.size, sides
    if (width, height) == (wide, tall):
        return image
    narrow = width * tall <= height * wide
    across, down = (float(width), width * tall / wide) if narrow else (height * wide / tall, float(height))
    left, top = (width - across) / 2, (height - down) / 2
    smaller = wide < across
    filters = Image.Resampling
    return image.resize(
        (wide, tall),
        filters.NEAREST if nearest else filters.LANCZOS if smaller else filters.BICUBIC,
        box=(left, top, left + across, top + down),
        # averages whole blocks first where the picture is much too large; 3 is as good as none to the eye
        reducing_gap=3.0 if smaller and not nearest else None,
    )
