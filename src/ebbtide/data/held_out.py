"""Examples that are kept aside to test with, where a source has no test split of its own.

What an example holds decides, not where it lies or what it is called: so the part stays the same when examples are
added, renamed or moved, and copies of one example are never on both sides.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ebbtide.data.opening import why_no_file
from ebbtide.errors import EbbtideError, require

SHARE = 0.1
LEAST = 50
"""Of fewer examples than this none is kept aside: five would tell nothing, and be missed."""
HEAD = 2**20


@dataclass(frozen=True, kw_only=True)
class Part:
    """One side of a source: the `share` of it that is kept aside ("test"), or the rest ("train").

    an example is kept aside where  hash(its content) / 2⁶⁴ < share
    """

    split: Literal["train", "test"]
    share: float

    def holds(self, content: bytes) -> bool:
        """Whether an example of this content belongs to it."""
        digest = hashlib.blake2b(content, digest_size=8, person=b"held out").digest()
        return (int.from_bytes(digest) < self.share * 2**64) == (self.split == "test")

    def enough(self, limit: int | None) -> int | None:
        """How many examples of the source to look at so that `limit` of them are on this side, all but surely."""
        if limit is None:
            return None
        mine = self.share if self.split == "test" else 1 - self.share
        return math.ceil((limit + 5 * math.sqrt(limit) + 5) / max(mine, 1e-6))


def part_of(total: int, split: Literal["train", "test"], share: float, where: str) -> Part | None:
    """The side that is asked for of a source of so many examples without a test split; None for all of it.

    Raises EbbtideError if the test split is asked for and nothing is kept aside.
    """
    if share > 0 and total >= LEAST:
        return Part(split=split, share=share)
    why = "none is to be kept aside" if share <= 0 else f"{total} examples are too few to keep some aside ({LEAST})"
    require(split == "train", f"{where} has no test split, and {why}")
    return None


def content_of(picture: Path | bytes) -> bytes:
    """What tells a picture's file from others: its length and its first MiB. Raises EbbtideError if it is no file."""
    if isinstance(picture, bytes):
        return len(picture).to_bytes(8) + picture[:HEAD]
    why_not = why_no_file(picture)
    require(why_not is None, f"not a readable picture: {why_not}")
    try:
        with picture.open("rb") as file:
            return picture.stat().st_size.to_bytes(8) + file.read(HEAD)
    except OSError as error:
        raise EbbtideError(f"not a readable picture: {error.strerror}") from error
