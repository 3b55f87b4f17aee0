"""Any picture that Pillow can read becomes a square of red, green and blue bytes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ebbtide.data.memory import allocate
from ebbtide.errors import EbbtideError, require

Background = tuple[int, int, int]
WHITE: Background = (255, 255, 255)


def decode(source: Path | str | bytes | Image.Image, size: int, background: Background = WHITE) -> np.ndarray:
    """A picture as uint8 (size, size, 3): its central square, as large as fits, resized.

    source: a file, the bytes of a file, or an opened picture, which is left as it is. A photo is turned as its EXIF
    orientation says. What is transparent shows the background. Greys of 16 bits are scaled by 255 / 65535; 32-bit
    whole numbers and floats see `_deep_to_grey`. Of an animation the first frame is taken.

    Raises EbbtideError if the picture cannot be read.
    """
    try:
        if isinstance(source, Image.Image):
            return _square(source, size, background)
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            # a JPEG can be decoded at 1/2, 1/4 or 1/8 of its size, which is much faster; twice what is needed is kept
            # for the good filter
            image.draft(None, (2 * size, 2 * size))
            return _square(image, size, background)
    except UnidentifiedImageError as error:
        raise EbbtideError("not a readable picture: of no format that is known") from error
    except Exception as error:  # Pillow's decoders raise whatever they trip over
        raise EbbtideError(f"not a readable picture: {_one_line(error)}") from error


def resize_all(values: np.ndarray, size: int) -> np.ndarray:
    """Images (n, height, width, channels of 1 or 3) as (n, size, size, channels): central square, resized; uint8."""
    if values.shape[1:3] == (size, size):
        return values
    channels = values.shape[3]
    require(channels in (1, 3), f"images of {channels} channels cannot be resized, expected 1 or 3 channels")
    out = allocate((len(values), size, size, channels))
    for i, value in enumerate(values):
        image = Image.fromarray(value[..., 0] if channels == 1 else value)
        out[i] = np.asarray(_resize(image, size)).reshape(size, size, channels)
    return out


def _square(image: Image.Image, size: int, background: Background) -> np.ndarray:
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
    return np.array(_resize(image, size).convert("RGB"))


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
    return np.rint((values - base) * (255 / span)).astype(np.uint8)


def _resize(image: Image.Image, size: int) -> Image.Image:
    width, height = image.size
    if width == height == size:
        return image
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    smaller = size < side
    return image.resize(
        (size, size),
        Image.Resampling.LANCZOS if smaller else Image.Resampling.BICUBIC,
        box=(left, top, left + side, top + side),
        # averages whole blocks first where the picture is much too large; 3 is as good as none to the eye
        reducing_gap=3.0 if smaller else None,
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
