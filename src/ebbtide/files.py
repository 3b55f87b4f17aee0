"""Files that are never half there, folders that list what was written into them, and disk errors said in one line."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from ebbtide.errors import EbbtideError, require

LIST = ".ebbtide"
"""In a folder of results: a line for each file that was written there, its digest and its name, as b2sum has them.

A line comes before its file, so that a kill at any moment leaves no file of ours that is not listed; and a file of the
user's is never taken for ours, whatever its name."""

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

    A reader sees the old file or the new one, never a half, even after a kill or a power cut. In a folder that lists
    what is ours the file is entered first, and nothing of the user's is written over: EbbtideError.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with clear_disk_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield part
            sync(part)
            _enter(path, part)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)


def start_list(folder: Path) -> None:
    """Have everything listed that is written into the folder from now on."""
    write_atomically(folder / LIST, "")


def own_files(folder: Path) -> set[str]:
    """Names of the files that are listed as ours and are as we wrote them."""
    listed = _listed(folder)
    names = {line.split("  ", 1)[-1] for line in listed}
    paths = (folder / name for name in names if "/" not in name)  # a list may have been made up
    return {path.name for path in paths if path.is_file() and _line(path.name, path) in listed}


def remove_own(folder: Path) -> None:
    """Delete the files that are listed as ours and are as we wrote them, and the list."""
    for name in own_files(folder):
        (folder / name).unlink()
    (folder / LIST).unlink(missing_ok=True)


def _enter(path: Path, part: Path) -> None:
    listed = path.with_name(LIST)
    if path == listed or not listed.is_file():
        return
    ours = not path.exists() or path.name in own_files(path.parent)
    require(ours, f"{path} is no file that ebbtide wrote, or it was changed since: it is left as it is")
    with listed.open("ab+") as file:
        if file.seek(0, os.SEEK_END) and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
            file.write(b"\n")  # a kill has cut the line before
        file.write(f"{_line(path.name, part)}\n".encode())


def _line(name: str, content: Path) -> str:
    with content.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))
    return f"{digest.hexdigest()}  {name}"


def _listed(folder: Path) -> set[str]:
    path = folder / LIST
    if not path.is_file():
        return set()
    return set(path.read_text(errors="replace").split("\n")[:-1])  # what follows the last line end was cut by a kill


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
