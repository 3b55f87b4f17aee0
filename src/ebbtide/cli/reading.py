"""Picture files named on the command line, as tensors in a run's own shape and range."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from ebbtide.data.colour import recolour
from ebbtide.data.images import decode
from ebbtide.errors import EbbtideError, require
from ebbtide.recipes.run import Run


def read_picture(run: Run, path: Path, resize: bool) -> Tensor:
    """One picture as (1, channels, height, width) in the run's range."""
    channels, height, width = run.data.event_shape
    require(path.is_file(), f"there is no picture {path}")
    try:
        with Image.open(path) as image:
            size = image.size
    except (UnidentifiedImageError, OSError):
        raise EbbtideError(f"{path} cannot be read as a picture") from None
    fits = size == (width, height)
    require(
        fits or resize,
        f"{path} is {size[0]}x{size[1]} pixels, but the run's pictures are {width}x{height}: add --resize to scale it",
    )
    require(height == width, f"the run's pictures are {width}x{height}: only square ones can be read from files")
    try:
        picture = decode(path, width)
    except EbbtideError as error:
        raise EbbtideError(f"{path} cannot be read as a picture: {error}") from None
    pixels = recolour(picture[None], "grey" if channels == 1 else "rgb")[0]
    return run.data.value_range.encode(pixels).permute(2, 0, 1).unsqueeze(0)


def read_mask(run: Run, path: Path) -> Tensor:
    """1 where the picture is white, 0 where it is black, (1, height, width), scaled to the run's size."""
    _, height, width = run.data.event_shape
    require(path.is_file(), f"there is no mask {path}")
    try:
        with Image.open(path) as image:
            grey = image.convert("L").resize((width, height), Image.Resampling.NEAREST)
    except (UnidentifiedImageError, OSError):
        raise EbbtideError(f"{path} cannot be read as a picture") from None
    white = torch.tensor(list(grey.tobytes()), dtype=torch.float32).reshape(1, height, width) > 127
    require(
        bool(white.any()) and not bool(white.all()),
        f"the mask {path} is all {'white' if bool(white.all()) else 'black'}: expected white where to paint",
    )
    return white.float()
