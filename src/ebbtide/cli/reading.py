"""Picture files named on the command line, as tensors in a run's own shape and range."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ebbtide.data.colour import recolour
from ebbtide.data.images import BLACK, decode, upright
from ebbtide.data.opening import why_no_file
from ebbtide.errors import EbbtideError, require
from ebbtide.recipes.run import Run


def read_picture(run: Run, path: Path, resize: bool) -> Tensor:
    """One picture as (1, channels, height, width) in the run's range."""
    channels, height, width = run.data.event_shape
    why_not = why_no_file(path)
    require(why_not is None, f"there is no picture {path}: {why_not}")
    try:
        picture = upright(path)
        size = picture.size
        fits = size == (width, height)
        pixels = decode(picture, (height, width)) if fits or resize else None
    except EbbtideError as error:
        raise EbbtideError(f"{path} cannot be read as a picture: {error}") from None
    if pixels is None:
        raise EbbtideError(
            f"{path} is {size[0]}x{size[1]} pixels, but the run's pictures are {width}x{height}: add "
            "--resize to scale it"
        )
    pixels = recolour(pixels[None], "grey" if channels == 1 else "rgb")[0]
    return run.data.value_range.encode(pixels).permute(2, 0, 1).unsqueeze(0)


def read_mask(run: Run, path: Path) -> Tensor:
    """1 where the picture is white, 0 where it is black or clear, (1, height, width).

    A mask of another size is cropped and scaled as a picture is, so that it lies on the same pixels.
    """
    _, height, width = run.data.event_shape
    why_not = why_no_file(path)
    require(why_not is None, f"there is no mask {path}: {why_not}")
    try:
        pixels = decode(path, (height, width), BLACK, nearest=True)
    except EbbtideError as error:
        raise EbbtideError(f"{path} cannot be read as a picture: {error}") from None
    white = torch.from_numpy(recolour(pixels[None], "grey")[..., 0]) > 127
    require(
        bool(white.any()) and not bool(white.all()),
        f"the mask {path} is all {'white' if bool(white.all()) else 'black'}: expected white where to paint",
    )
    return white.float()
