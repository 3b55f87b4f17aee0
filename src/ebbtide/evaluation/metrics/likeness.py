"""How like one picture is to another: PSNR and SSIM, one number a picture.

    PSNR = -10 log10(mean squared difference), in dB, for values from 0 to 1

SSIM (Wang et al. 2004) compares means, variances and covariances in a Gaussian window of 11 pixels; torchmetrics'.
"""

from __future__ import annotations

import numpy as np

from ebbtide.errors import EbbtideError, require

WINDOW = 11
"""Pixels a side that SSIM looks at: it has none for smaller pictures."""


def psnr(pictures: np.ndarray, originals: np.ndarray) -> np.ndarray:
    """In dB, of uint8 pictures (n, height, width, channels); inf where two are equal."""
    _check(pictures, originals)
    difference = (pictures.astype(np.float64) - originals.astype(np.float64)) / 255
    error = np.square(difference).mean((1, 2, 3))
    with np.errstate(divide="ignore"):
        return -10 * np.log10(error)


def ssim(pictures: np.ndarray, originals: np.ndarray) -> np.ndarray:
    """From -1 to 1, 1 where two are equal, of uint8 pictures (n, height, width, channels), 11 pixels a side or more."""
    _check(pictures, originals)
    require(
        has_ssim(pictures.shape[1:3]),
        f"pictures of {pictures.shape[1]}x{pictures.shape[2]} came, but SSIM looks at windows of {WINDOW}x{WINDOW}",
    )
    try:
        import torch
        from torchmetrics.functional.image import structural_similarity_index_measure
    except ImportError as error:
        raise EbbtideError('SSIM needs torchmetrics: pip install "ebbtide[metrics]"') from error
    one, two = (torch.from_numpy(x).permute(0, 3, 1, 2).double() / 255 for x in (pictures, originals))
    found = structural_similarity_index_measure(one, two, data_range=1.0, reduction="none")
    return torch.as_tensor(found).numpy()


def has_ssim(size: tuple[int, ...]) -> bool:
    """Whether pictures of this height and width are large enough for SSIM's window."""
    return min(size) >= WINDOW


def _check(pictures: np.ndarray, originals: np.ndarray) -> None:
    require(
        pictures.shape == originals.shape and pictures.ndim == 4 and pictures.dtype == originals.dtype == np.uint8,
        f"pictures {pictures.shape} {pictures.dtype} came to compare with {originals.shape} {originals.dtype}, "
        "expected two uint8 arrays of one shape (n, height, width, channels)",
    )
