"""Files that are never half there, and disk errors said in one line."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from ebbtide.errors import EbbtideError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST)


def write_atomically(path: Path | str, data: bytes | str) -> Path:
    """Write a whole file, or nothing of it; parents are created. Returns the path."""
    with beside(path) as part:
        part.write_bytes(data.encode() if isinstance(data, str) else data)
    return Path(path)


@contextlib.contextmanager
def beside(path: Path | str) -> Iterator[Path]:
    """A file beside the path to write into: flushed to the disk and renamed to it at the end, gone after an error.

    A reader sees the old file or the new one, never a half, even after a kill or a power cut.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with clear_disk_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield part
            sync(part)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Have a file's or folder's content reach the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def clear_disk_errors(folder: Path) -> Iterator[None]:
    """Turn a full disk, or a place that may not be written, into an EbbtideError that says so."""
    try:
        yield
    except EbbtideError:
        raise
    except Exception as error:  # safetensors reports a full disk as an error of its own
        number = getattr(error, "errno", None)
        if number in _FULL or "No space left" in str(error):
            raise EbbtideError(
                f"could not write to {folder}: the disk is full. What was saved before is whole; make room, then go on"
            ) from None
        if number in _FORBIDDEN:
            reason = os.strerror(number)
            raise EbbtideError(f"could not write to {folder}: {reason}. Choose another folder") from None
        raise
