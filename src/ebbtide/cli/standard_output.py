"""Standard output that may lose its reader: `ebbtide ... | head`, a terminal that was closed, a log on a full disk."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any


class StandardOutput:
    """What sys.stdout is at the moment of writing; once that has failed, all that is written to it is dropped."""

    def __init__(self) -> None:
        self._failed: Any = None

    @property
    def gone(self) -> bool:
        """That it has failed, for those who would rather stop than work unseen."""
        return self._failed is not None and self._failed is _stream()

    def write(self, text: str) -> int:
        """As of a text file; never an OSError."""
        with self._tried() as stream:
            if stream is not None:
                stream.write(text)
        return len(text)

    def flush(self) -> None:
        """As of a text file; never an OSError."""
        with self._tried() as stream:
            if stream is not None:
                stream.flush()

    @contextlib.contextmanager
    def _tried(self) -> Iterator[Any]:
        stream = _stream()
        try:
            yield None if self.gone else stream
        except OSError:
            self._failed = stream
            silence(stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(_stream(), name)


def _stream() -> Any:
    # rich puts its own in place of sys.stdout while it shows a bar, and keeps the real one in it
    return getattr(sys.stdout, "rich_proxied_file", sys.stdout)


def silence(stream: Any) -> None:
    """Send what is still held for a stream nowhere, so that nothing fails when the program ends."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # no file of the system's
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def complain(text: str) -> None:
    """A line on standard error, if anyone is left to read it."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        silence(sys.stderr)
