"""One training a run: while it lasts, its process holds RUN/training.lock, and no other one may train there.

The kernel keeps the lock (flock) and drops it however the process ends, so that after a kill nothing has to be cleared
away on the same machine. The file's content says who holds it. Where a file system has no flock, or another machine
may not see it, the content decides.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import psutil

from ebbtide.errors import EbbtideError, require
from ebbtide.files import clear_disk_errors
from ebbtide.json_files import parse_json, typed

FILE = "training.lock"
NO_FLOCK = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
SLACK = 5.0
"""Seconds by which two readings of when a process was born may differ."""
BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, kw_only=True)
class Owner:
    """Who trains. born: when the process began, in seconds since 1970, by which it is told from a later one of the same
    number; boot: which kernel it runs on, empty where that is not told; since: when it took the lock, in words."""

    pid: int
    host: str
    born: float
    boot: str
    since: str

    @classmethod
    def this(cls) -> Owner:
        """This process."""
        return cls(
            pid=os.getpid(),
            host=platform.node(),
            born=psutil.Process().create_time(),
            boot=_boot(),
            since=time.strftime("%Y-%m-%d %H:%M"),
        )

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since}"

    def standing(self) -> Literal["alive", "gone", "out of sight"]:
        """Whether it still runs, as far as this machine can tell."""
        if self.host != platform.node():
            return "out of sight"
        try:
            born = psutil.Process(self.pid).create_time()
        except (psutil.Error, ValueError, OverflowError):  # the last two: no number that a process can have
            return "gone"
        return "alive" if abs(born - self.born) <= SLACK else "gone"


@contextlib.contextmanager
def training_lock(folder: Path) -> Iterator[Owner | None]:
    """Hold the folder, which is made if it is missing, while the block lasts. Yields who left it locked, if anyone did.

    Raises EbbtideError if another process trains there, or may do so on a machine that cannot be seen from here.
    """
    path = folder / FILE
    with clear_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        handle, left = _locked(path, os.O_RDWR | os.O_CREAT)
    try:
        with clear_disk_errors(folder):
            os.truncate(handle, 0)
            os.pwrite(handle, json.dumps(asdict(Owner.this())).encode(), 0)
        yield left
    finally:
        with contextlib.suppress(OSError):
            path.unlink()  # while it is held: nobody else can have taken it
        os.close(handle)


def check_free(folder: Path) -> None:
    """An EbbtideError if a process trains there; nothing is written."""
    with clear_disk_errors(folder), contextlib.suppress(FileNotFoundError, NotADirectoryError):
        os.close(_locked(folder / FILE, os.O_RDWR)[0])


def _locked(path: Path, flags: int) -> tuple[int, Owner | None]:
    """The file of this name, locked, and who left it without letting go; not one that its owner was just deleting."""
    while True:
        handle = os.open(path, flags, 0o644)
        try:
            left = _lock(handle, path)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(handle), path.stat()):
                    return handle, left
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _lock(handle: int, path: Path) -> Owner | None:
    """Lock the open file, or say who has; returns who is written there."""
    owner = _read(handle)
    busy = f"{path.parent} is being trained by {owner or 'another process'}: wait until that ends, or stop it there "
    busy += f"(kill {owner.pid if owner else 'PID'} leaves a checkpoint); another run needs another --out"
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # who ran under this kernel, or on this machine before it was started anew, would hold the lock if it still ran
        here = owner is None or owner.host == platform.node() or owner.boot == _boot() != ""
        standing = "gone" if here else "out of sight"
    except BlockingIOError:
        raise EbbtideError(busy) from None
    except OSError as error:
        if error.errno not in NO_FLOCK:
            raise
        standing = "gone" if owner is None else owner.standing()
    require(standing != "alive", busy)
    require(
        standing == "gone",
        f"{path.parent} was taken for training by {owner}, and from here it cannot be seen whether that still runs: "
        f"if it does, leave the run to it; if it does not, delete {path} and give this command again",
    )
    return owner


def _read(handle: int) -> Owner | None:
    """Who is written there; None if nobody is, or it cannot be read."""
    try:
        owner = typed(Owner, parse_json(os.pread(handle, 4096, 0)), FILE)
    except ValueError:
        return None
    assert isinstance(owner, Owner)
    return owner


def _boot() -> str:
    """The running kernel's own name for this start of the machine; empty where there is none."""
    try:
        return BOOT.read_text().strip()
    except OSError:
        return ""
