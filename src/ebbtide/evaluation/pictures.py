"""Pictures from arrays: grids, film strips, titled columns, films; small ones enlarged without blur."""

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ebbtide.errors import require
from ebbtide.files import write_atomically

Colour = int | tuple[int, int, int]  # a grey from 0 to 255, or red, green, blue

BACKGROUND: Colour = 224
GAP = 6  # wide enough that strokes which touch the edges of neighbours stay apart
SHORT_SIDE = 64  # a small picture is enlarged to about this many pixels ...
LONGEST = 1600  # ... as long as the whole stays within this many
TALLEST = 12  # rows of a sheet beside which there is no second block
CAPTION_SIZE = 13


def picture_grid(
    images: Any,
    columns: int | None = None,
    gap: int = GAP,
    background: Colour = BACKGROUND,
    enlarge: int | None = None,
) -> Image.Image:
    """Pictures row by row in a grid, with `gap` pixels of background between them.

    images: uint8, N x H x W or N x H x W x C with C 1 or 3, a tensor or an array, N at least 1.
    columns: None for a near-square grid, else at most this many. enlarge: a whole factor; None makes the
    shorter side of a picture about 64 pixels, as long as the whole stays within 1600. Returns an RGB picture.
    Raises EbbtideError for another shape or dtype, or a number out of range.
    """
    pictures = _checked(images, "images")
    count = len(pictures)
    require(columns is None or columns >= 1, f"columns is {columns}, expected at least 1")
    columns = min(count, columns or math.ceil(math.sqrt(count)))
    rows = math.ceil(count / columns)
    cells = [pictures[start : start + columns] for start in range(0, count, columns)]
    size = _factor(pictures, rows, columns, gap, enlarge)
    return _lay(cells, None, size, gap, background)


def film_strip(
    frames: Sequence[Any],
    captions: Sequence[str] | None = None,
    gap: int = GAP,
    background: Colour = BACKGROUND,
    enlarge: int | None = None,
) -> Image.Image:
    """One row for each sample, one column for each moment, a caption above each column.

    frames: batches of equal shape, each as in `picture_grid`. captions: one for each frame, or None.
    Raises EbbtideError for shapes that differ or another number of captions than frames.
    """
    require(len(frames) > 0, "frames is empty, expected at least one batch of pictures")
    batches = [_checked(frame, f"frames[{index}]") for index, frame in enumerate(frames)]
    shapes = [batch.shape for batch in batches]
    require(len(set(shapes)) == 1, f"frames have the shapes {sorted(set(shapes))}, expected one shape for all")
    require(
        captions is None or len(captions) == len(frames),
        f"got {len(captions or ())} captions for {len(frames)} frames, expected one for each",
    )
    cells = list(np.stack(batches, axis=1))  # samples, then time
    size = _factor(batches[0], len(cells), len(batches), gap, enlarge)
    return _lay(cells, captions, size, gap, background)


def side_by_side(
    columns: Mapping[str, Any],
    gap: int = GAP,
    background: Colour = BACKGROUND,
    enlarge: int | None = None,
) -> Image.Image:
    """Titled columns of pictures, such as original, noised and restored: one row for each example.

    Many rows are broken into blocks that stand side by side, so that the sheet is no ribbon. columns: title to a batch
    as in `picture_grid`, all of one shape. Raises EbbtideError like `film_strip`.
    """
    frames, titles = [_checked(batch, title) for title, batch in columns.items()], list(columns)
    count, height, width = frames[0].shape[:3] if frames else (0, 1, 1)
    if count > TALLEST:
        blocks = math.ceil(math.sqrt(count * height / (len(frames) * width)))
        rows = math.ceil(count / blocks)
        starts = range(0, count, rows)
        frames, titles = [_rows(batch, at, rows, background) for at in starts for batch in frames], titles * len(starts)
    return film_strip(frames, titles, gap, background, enlarge)


def _rows(batch: np.ndarray, start: int, rows: int, background: Colour) -> np.ndarray:
    """So many pictures from `start` on, filled up with paper where there are no more."""
    found = batch[start : start + rows]
    paper = np.broadcast_to(np.array(background, dtype=np.uint8), (rows - len(found), *batch.shape[1:]))
    return np.concatenate([found, paper])


def save_png(image: Image.Image, path: Path | str) -> Path:
    """Write the picture as PNG, whole or not at all; parents are created. Returns the path."""
    data = io.BytesIO()
    image.save(data, format="PNG", optimize=True)
    return write_atomically(path, data.getvalue())


def save_numbered(images: Any, folder: Path | str, start: int = 0) -> list[Path]:
    """Write each picture at its own size: 00000.png, 00001.png, ... counted from `start`. Returns the paths.

    images: as in `picture_grid`; a single channel becomes a grey PNG.
    """
    require(start >= 0, f"start is {start}, expected 0 or more")
    pictures = _checked(images, "images", colour=False)
    folder = Path(folder)
    return [
        save_png(Image.fromarray(picture), folder / f"{number:05d}.png")
        for number, picture in enumerate(pictures, start)
    ]


def save_gif(
    frames: Sequence[Image.Image],
    path: Path | str,
    seconds: float | int = 4.0,
    hold: float | int = 1.5,
    loop: bool = True,
) -> Path:
    """Write a film as GIF, whole or not at all. Returns the path.

    seconds: playing time of all frames; a frame lasts at least 0.02 s, as browsers slow down what is faster.
    hold: how much longer the last frame stays, in seconds. loop: play for ever, else once.
    Raises EbbtideError for no frames or frames of several sizes.
    """
    require(len(frames) > 0, "frames is empty, expected at least one picture")
    sizes = sorted({frame.size for frame in frames})
    require(len(sizes) == 1, f"frames have the sizes {sizes}, expected one size for all")
    require(seconds > 0 and hold >= 0, f"got seconds {seconds} and hold {hold}, expected above 0 and at least 0")
    each = max(20, round(100 * seconds / len(frames)) * 10)  # GIF counts in hundredths of a second
    durations = [each] * (len(frames) - 1) + [each + round(1000 * hold)]
    first, *rest = [_without_needless_colour(frame) for frame in frames]
    data = io.BytesIO()
    forever = {"loop": 0} if loop else {}
    first.save(data, format="GIF", save_all=True, append_images=rest, duration=durations, **forever)
    return write_atomically(path, data.getvalue())


def _checked(images: Any, name: str, colour: bool = True) -> np.ndarray:
    """N x H x W x 3 (N x H x W where grey is wanted as grey), uint8, on the CPU."""
    require(
        hasattr(images, "shape") and hasattr(images, "dtype"),
        f"{name}: got {type(images).__name__}, expected a tensor or an array of dtype uint8",
    )
    shape, dtype = tuple(images.shape), str(images.dtype).removeprefix("torch.")
    hint = "; move the channels last" if len(shape) == 4 and shape[-1] not in (1, 3) and shape[1] in (1, 3) else ""
    require(
        dtype == "uint8" and (len(shape) == 3 or (len(shape) == 4 and shape[-1] in (1, 3))) and 0 not in shape,
        f"{name}: got {dtype} of shape {shape}, expected uint8 of shape N x H x W or N x H x W x C (C 1 or 3){hint}",
    )
    array = images.detach().cpu().numpy() if hasattr(images, "detach") else np.asarray(images)
    if array.ndim == 4 and array.shape[-1] == 1:
        array = array[..., 0]
    return np.stack([array] * 3, axis=-1) if colour and array.ndim == 3 else array


def _factor(pictures: np.ndarray, rows: int, columns: int, gap: int, enlarge: int | None) -> int:
    """The whole factor by which a picture is enlarged."""
    require(gap >= 0, f"gap is {gap}, expected 0 or more pixels")
    require(enlarge is None or enlarge >= 1, f"enlarge is {enlarge}, expected a whole factor from 1, or None")
    if enlarge is not None:
        return int(enlarge)
    height, width = pictures.shape[1:3]
    wanted = round(SHORT_SIDE / min(height, width))
    fits = min((LONGEST - (n - 1) * gap) // (n * side) for n, side in ((rows, height), (columns, width)))
    return max(1, min(wanted, fits))


def _lay(
    cells: Sequence[np.ndarray], captions: Sequence[str] | None, factor: int, gap: int, background: Colour
) -> Image.Image:
    """Rows of pictures (each row n x H x W x 3) on one sheet; columns widen where a caption needs it."""
    paper = (background,) * 3 if isinstance(background, int) else tuple(background)
    font = ImageFont.load_default(size=CAPTION_SIZE)
    height, width = (side * factor for side in cells[0].shape[1:3])
    words = [math.ceil(font.getlength(caption)) + 6 for caption in captions or ()]
    column = max([width, *words])
    top = CAPTION_SIZE + 7 if captions else 0
    columns, rows = len(cells[0]), len(cells)
    size = (columns * column + (columns - 1) * gap, top + rows * height + (rows - 1) * gap)
    sheet = Image.new("RGB", size, paper)
    ink = (0, 0, 0) if sum(paper) > 3 * 127 else (255, 255, 255)
    draw = ImageDraw.Draw(sheet)
    for index, caption in enumerate(captions or ()):
        middle = index * (column + gap) + column / 2
        draw.text((middle, top / 2), caption, fill=ink, font=font, anchor="mm")
    for row, pictures in enumerate(cells):
        for index, picture in enumerate(pictures):
            large = picture.repeat(factor, axis=0).repeat(factor, axis=1)
            left = index * (column + gap) + (column - width) // 2
            sheet.paste(Image.fromarray(large), (left, top + row * (height + gap)))
    return sheet


def _without_needless_colour(image: Image.Image) -> Image.Image:
    """A grey picture as grey: GIF keeps all 256 greys exactly, but colours only nearly."""
    colour = image.convert("RGB")
    array = np.asarray(colour)
    grey = (array == array[..., :1]).all()
    return Image.fromarray(np.ascontiguousarray(array[..., 0])) if grey else colour
