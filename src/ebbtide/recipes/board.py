"""TensorBoard, if it is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def open_board(folder: Path) -> Any | None:
    """A SummaryWriter into the folder, or None where TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder))


def add_picture(board: Any, path: Path, step: int) -> None:
    """Show a picture file at a step."""
    with Image.open(path) as image:
        board.add_image("samples", np.asarray(image.convert("RGB")), step, dataformats="HWC")
