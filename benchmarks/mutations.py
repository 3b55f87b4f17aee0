"""Ways to spoil a valid file: bytes, numbers of headers, JSON by its structure, tensors and archives repacked.

Everything is drawn from the generator that is given, so a seed names a mutation.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import struct
import zipfile
from collections.abc import Callable
from random import Random
from typing import Any

Bytes = Callable[[bytes, Random], bytes]

NUMBERS = (0, 1, 2, 127, 128, 255, 256, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)
"""What headers are given."""
DIGITS = ("0", "-1", "1", "3", "65", "4294967296", "99999999999", "7" * 40, "9" * 5000, "1e300", "NaN")
"""What numbers in text are given."""
WORDS = ("", "[/b]", "../../x", "\x1b[2J", "nan", "é" * 300, "\ud800", "a\nb", "/etc/passwd", "hf:x", "{}", "None")
HUGE = "@huge@"
"""Stands for a number of 5,001 digits, which Python would not write."""
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 3.5, 1e300, -1e300, 10**9, 2**63, 2**64, 10**40, HUGE),
    *(float("nan"), float("inf"), [], {}, [[]], [None], ["x"], [1, 2, 3], {"a": 1}, *WORDS),
)


def flipped(data: bytes, random: Random) -> bytes:
    """A few bits."""
    spoilt = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 8, 40))):
        spoilt[_place(data, random)] ^= 1 << random.randrange(8)
    return bytes(spoilt)


def overwritten(data: bytes, random: Random) -> bytes:
    """A few bytes with others, or all of a stretch with one."""
    place, length = _place(data, random), random.choice((1, 2, 4, 16, 64))
    filling = random.choice((b"\0", b"\xff", b"\x7f", b"\x80", b" ", b"[", bytes([random.randrange(256)])))
    return data[:place] + (filling * length)[: len(data) - place] + data[place + length :]


def cut(data: bytes, random: Random) -> bytes:
    return data[: random.choice((0, 1, _place(data, random), random.randrange(len(data)), len(data) - 1))]


def dropped(data: bytes, random: Random) -> bytes:
    place = _place(data, random)
    return data[:place] + data[place + random.choice((1, 3, 16, 100)) :]


def repeated(data: bytes, random: Random) -> bytes:
    place = _place(data, random)
    piece = data[place : place + random.choice((1, 8, 64, len(data)))]
    return data[:place] + piece * random.choice((2, 3, 50)) + data[place:]


def inserted(data: bytes, random: Random) -> bytes:
    place = _place(data, random)
    return data[:place] + random.randbytes(random.choice((1, 4, 32, 300))) + data[place:]


def renumbered(data: bytes, random: Random) -> bytes:
    """A number of a header, in either order of bytes, near the start if not anywhere."""
    order, width = random.choice("<>"), random.choice("BHIQ")
    place = random.randrange(min(len(data), 64)) if random.random() < 0.7 else _place(data, random)
    number = random.choice(NUMBERS) % 2 ** (8 * struct.calcsize(width))
    return data[:place] + struct.pack(f"{order}{width}", number) + data[place + struct.calcsize(width) :]


def redigited(data: bytes, random: Random) -> bytes:
    """A number that is written in digits."""
    found = list(re.finditer(rb"-?\d[\d.e+-]*", data[:100_000]))
    if not found:
        return renumbered(data, random)
    start, end = random.choice(found).span()
    return data[:start] + random.choice(DIGITS).encode() + data[end:]


PLAIN: tuple[Bytes, ...] = (flipped, overwritten, cut, dropped, repeated, inserted, renumbered, redigited)


def spoilt_bytes(data: bytes, random: Random, others: tuple[bytes, ...] = ()) -> bytes:
    """One to three mutators after one another; now and then the end of another file behind the start of this."""
    for _ in range(random.choice((1, 1, 2, 3))):
        if not data:
            return data
        if others and random.random() < 0.08:
            other = random.choice(others)
            data = data[: random.randrange(len(data))] + other[random.randrange(len(other)) :]
        else:
            data = random.choice(PLAIN)(data, random)
    return data


def _place(data: bytes, random: Random) -> int:
    """Anywhere, but half the time near the start, where headers are."""
    return random.randrange(len(data) if random.random() < 0.5 else min(len(data), 128))


def spoilt_json(data: bytes, random: Random) -> bytes:
    """Values, names and structure of JSON, or its bytes."""
    if random.random() < 0.25:
        return random.choice(
            (
                lambda: spoilt_bytes(data, random),
                lambda: b"[" * 3000 + b"]" * 3000,
                lambda: b'{"a":' * 100_000,
                lambda: data.decode().encode("utf-16"),
                lambda: b"",
                lambda: data + data,
                lambda: data[:-2] + b', "format": 1, "format": 2}',
            )
        )()
    value = json.loads(data)
    for _ in range(random.choice((1, 1, 1, 1, 2, 3))):
        value = _spoilt_value(value, random)
    return json.dumps(value).replace(f'"{HUGE}"', "1" + "0" * 5000).encode()


def _spoilt_value(value: Any, random: Random) -> Any:
    """A copy in which one place is another: replaced, gone, renamed, doubled, or more."""
    if not isinstance(value, dict | list) or not value:
        return random.choice((_like(value, random), random.choice(VALUES)))
    if random.random() < 0.05:
        return random.choice(VALUES)
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key, what = random.choice(keys), random.random()
    copy = dict(value) if isinstance(value, dict) else list(value)
    if what < 0.75:
        copy[key] = _spoilt_value(value[key], random)
    elif isinstance(copy, dict):
        moved = copy.pop(key)
        if what < 0.85:
            copy[random.choice((f"{key}x", *WORDS[:6]))] = moved
        elif what > 0.95:
            copy |= {random.choice(keys): moved, "more": random.choice(VALUES)}
    else:
        copy = random.choice((copy[:key], copy + copy, copy[::-1], [*copy, random.choice(VALUES)], copy * 50))
    return copy


def _like(value: Any, random: Random) -> Any:
    """Another value of the same type, which may well be possible."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return random.choice((value + 1, value - 1, 0, 1, 2, 7, 100, 10**6, 10**9, -value))
    if isinstance(value, float):
        return random.choice((value * 2, value / 10, 0.0, 1.0, 0.5, -value, 1e-30, 1e30, 1e300, 5e-324))
    return random.choice((*WORDS, "cosine", "linear", "ddim", "ancestral", "eps", "adamw", "auto", "mlp", "learned"))


def spoilt_lines(data: bytes, random: Random) -> bytes:
    """A line of JSON, the order of lines, or the bytes."""
    lines = data.splitlines(keepends=True)
    number, what = random.randrange(len(lines)), random.random()
    if what < 0.7:
        lines[number] = spoilt_json(lines[number], random) + b"\n"
    elif what < 0.8:
        random.shuffle(lines)
    else:
        return spoilt_bytes(data, random)
    return b"".join(lines)


def spoilt_tensors(data: bytes, random: Random) -> bytes:
    """A file of safetensors: its header by structure, its numbers, or its bytes."""
    (length,) = struct.unpack("<Q", data[:8])
    header, body, what = data[8 : 8 + length], data[8 + length :], random.random()
    if what < 0.5:
        spoilt = spoilt_json(header, random)
        claimed = len(spoilt) if random.random() < 0.8 else random.choice(NUMBERS)
        return struct.pack("<Q", claimed) + spoilt + body
    if what < 0.7:
        kinds = (b"F32", b"F16", b"BF16", b"I32", b"F64", b"I8", b"F8_E4M3", b"BOOL", b"U64")
        spoilt = header.replace(b"F32", random.choice(kinds), random.choice((1, 1, -1)))
        return struct.pack("<Q", len(spoilt)) + spoilt + body
    if what < 0.8:
        filling = random.choice((b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\xff\xff\x7f\x7f", b"\0\0\0\0"))
        return data[: 8 + length] + (filling * len(body))[: len(body)]
    return spoilt_bytes(data, random)


def spoilt_gzip(data: bytes, random: Random) -> bytes:
    """What is packed, packed again; or the packing."""
    if random.random() < 0.6:
        return gzip.compress(spoilt_bytes(gzip.decompress(data), random), 1)
    return spoilt_bytes(data, random)


def spoilt_archive(data: bytes, random: Random) -> bytes:
    """A member of a zip file (so that its checksum fits), what members there are, or the bytes."""
    what = random.random()
    if what > 0.7:
        return spoilt_bytes(data, random)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = random.choice(list(members))
    if what < 0.5:
        members[name] = spoilt_bytes(members[name], random)
    elif what < 0.6:
        members[random.choice(("x.npy", "../../x.npy", "/x.npy", "data.txt", ""))] = members.pop(name)
    else:
        members[name] = b"\0" * 2**21 if random.random() < 0.5 else b"\x93NUMPY\x01\x00"
    packed, way = io.BytesIO(), random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA))
    with zipfile.ZipFile(packed, "w", way) as out:
        for name, content in members.items():
            out.writestr(name or "_", content)
    return packed.getvalue()
