"""Picture files opened with care, whoever made them: the one place where Pillow meets a file.

A file is not believed before it is looked at: it has to be a file and no pipe, of a format that is a picture (and no
program, as PostScript is), of no more pixels than can be held, and long enough for what its header promises. Whatever
goes wrong is one EbbtideError, and nothing is printed beside it, neither by Pillow nor by the libraries below it.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import stat
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from ebbtide.errors import EbbtideError, require

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
MOST_PIXELS = 89_478_485
"""A quarter of a GiB at three bytes each, Pillow's own limit: beyond it a picture is taken for a bomb."""
LARGE = 2**24
"""Pixels from which on pictures are decoded one after the other, so that many at once do not fill the memory."""
UNPACKED = ("raw", "ppm", "ppm_plain")
"""Pillow's decoders that need at least a bit of the file for each pixel."""
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe (FIFO)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}

# a library prints nothing of its own accord: without this, Python prints what Pillow logs
logging.getLogger("PIL").addHandler(logging.NullHandler())

_large = threading.Lock()
_stderr = threading.Lock()
_warnings = threading.Lock()
_quiet: list[contextlib.ExitStack] = []
_depth = 0


def why_no_file(path: Path | str) -> str | None:
    """Why this cannot be read as a file, in a few words; None if it can. Links are followed; nothing is opened."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        link = os.path.islink(path)
        return "a link to itself or to nothing" if link else error.strerror or type(error).__name__
    except ValueError:  # a name with a zero byte
        return "no name that a file can have"
    return None if stat.S_ISREG(mode) else f"{KINDS.get(stat.S_IFMT(mode), 'something else')}, not a file"


@contextlib.contextmanager
def opened(source: Path | str | bytes, about: tuple[int, int] | None = None) -> Iterator[Image.Image]:
    """The picture in a file, or in the bytes of one, decoded; of an animation the first frame.

    about: width and height that are needed; a JPEG is decoded at 1/2, 1/4 or 1/8 of its size if that is no less.
    Raises EbbtideError if it cannot be read, or whatever goes wrong with it in the `with` block: "not a readable
    picture: ..." in one line.
    """
    try:
        with quiet(), Image.open(_stream(source), formats=FORMATS) as image:
            if about is not None:
                image.draft(None, about)
            _check_promise(image, _length(source))
            with _large if image.width * image.height > LARGE else contextlib.nullcontext():
                with _without_libtiff() if _by_libtiff(image) else contextlib.nullcontext():
                    image.load()
                yield image
    except UnidentifiedImageError as error:
        raise EbbtideError("not a readable picture: of no format that is known") from error
    except Exception as error:  # Pillow's decoders raise whatever they trip over
        raise EbbtideError(f"not a readable picture: {one_line(error)}") from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without Pillow's warnings: a note on each odd tag or large photo helps nobody; what cannot be read is reported.

    Python's filters of warnings belong to the whole process, so the first thread in sets them aside and the last one
    out puts them back.
    """
    global _depth
    with _warnings:
        _depth += 1
        if _depth == 1:
            stack = contextlib.ExitStack()
            stack.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", module=r"PIL\.")
            warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
            _quiet.append(stack)
    try:
        yield
    finally:
        with _warnings:
            _depth -= 1
            if _depth == 0:
                _quiet.pop().close()


def one_line(error: BaseException) -> str:
    """What an error says, in one line; its name if it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def _stream(source: Path | str | bytes) -> io.BytesIO | Path | str:
    if isinstance(source, bytes):
        return io.BytesIO(source)
    why_not = why_no_file(source)
    require(why_not is None, str(why_not))
    return source


def _length(source: Path | str | bytes) -> int:
    return len(source) if isinstance(source, bytes) else os.path.getsize(source)


def _check_promise(image: Image.Image, length: int) -> None:
    """That a picture of this many pixels can be held, and can be in a file of this many bytes."""
    width, height = image.size
    require(
        width * height <= MOST_PIXELS,
        f"{width}x{height} pixels are more than the {MOST_PIXELS:,} that are decoded (a decompression bomb?): "
        "scale it down",
    )
    unpacked = all(tile[0] in UNPACKED for tile in getattr(image, "tile", ()) or [("",)])
    require(
        not unpacked or width * height <= 8 * length,
        f"it promises {width}x{height} pixels, more than its {length:,} bytes can hold",
    )


def _by_libtiff(image: Image.Image) -> bool:
    return any(tile[0] == "libtiff" for tile in getattr(image, "tile", ()))


@contextlib.contextmanager
def _without_libtiff() -> Iterator[None]:
    """Without the lines that libtiff writes to standard error from C, past all of Python: for the moment they go
    nowhere. By one thread at a time, as there is only one standard error."""
    with _stderr:
        try:
            kept = os.dup(2)
        except OSError:  # there is none
            yield
            return
        try:
            sys.stderr.flush()
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 2)
            os.close(nowhere)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
