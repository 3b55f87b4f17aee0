"""Makes the damaged and hostile files beside it anew: python tests/attacks/make.py

Each is a few KB and would hang, fill the memory, run something, or end in a traceback where it is believed. What cannot
be kept in a repository (pipes, links to themselves, very deep folders) the tests make on the spot.
"""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
RNG = np.random.default_rng(7)
NOISE = RNG.integers(0, 256, (12, 10, 3), dtype=np.uint8)
KINDS = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP", "gif": "GIF", "bmp": "BMP", "ppm": "PPM", "avif": "AVIF"}
PACKED_TIFFS = ("tiff_lzw", "tiff_adobe_deflate", "jpeg")


def encoded(kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(NOISE).save(out, kind, **options)
    return out.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, *extra: bytes) -> bytes:
    """A PNG of so many pixels by its header, and of almost none by its data."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header), *extra, chunk(b"IDAT", zlib.compress(bytes(100))), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff(width: int, height: int) -> bytes:
    """An unpacked TIFF of one strip that its file does not hold."""
    tags = (256, width), (257, height), (258, 8), (259, 1), (262, 1), (273, 8), (278, height), (279, 2**31)
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)


def spoilt(data: bytes, changes: int) -> bytes:
    broken = np.frombuffer(data, np.uint8).copy()
    broken[RNG.integers(4, len(data), changes)] = RNG.integers(0, 256, changes)
    return broken.tobytes()


def pictures() -> dict[str, bytes]:
    unpacking = zlib.compress(bytes(20 * 2**20), 9)
    files = {
        "bomb.png": png(30_000, 30_000),
        "largest.png": png(2**31 - 1, 2**31 - 1),
        "no-pixels.png": png(0, 7),
        "text-bomb.png": png(4, 4, chunk(b"zTXt", b"Comment\0\0" + unpacking)),
        "profile-bomb.png": png(4, 4, chunk(b"iCCP", b"profile\0\0" + unpacking)),
        "bomb.gif": b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\2\2L\1\0;",
        "bomb.bmp": b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, 99_999, 99_999, 1, 24, 0, 0, 0, 0, 0, 0),
        "bomb.tif": tiff(60_000, 60_000),
        "promise.tif": tiff(9_000, 9_000),
        "promise.ppm": b"P6 9000 9000 255\n",
        "promise.pgm": b"P5 9000 9000 65535\n",
        "plain.ppm": b"P3 9000 9000 255\n1 2 3\n",
        "digits.pgm": b"P5 " + b"9" * 4000 + b" 1 255\n",
        "empty.png": b"",
        "text.png": b"no picture at all\n",
        "postscript.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(%pipe%true) (w) file\n",
        "page.jpg": b"<!doctype html><title>404</title>",
        "zip.webp": b"PK\x05\x06" + bytes(18),
        "zeros.avif": b"\0\0\0\x1cftypavif" + bytes(2000),
        "zeros.jp2": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(2000),
    }
    for end, kind in KINDS.items():
        whole = encoded(kind)
        files[f"cut.{end}"] = whole[: len(whole) // 2]
        files |= {f"spoilt-{number}.{end}": spoilt(whole, 1 + 3 * number) for number in range(3)}
    for compression in PACKED_TIFFS:
        files |= {f"{compression}-{n}.tif": spoilt(encoded("TIFF", compression=compression), 4) for n in range(2)}
    nan = io.BytesIO()
    Image.fromarray(np.full((4, 4), np.nan, np.float32)).save(nan, "TIFF")
    return files | {"nan.tif": nan.getvalue()}


def npy(shape: object, descr: object = "|u1", body: bytes = b"", version: int = 1) -> bytes:
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(text)) + text + body


def npz(*members: tuple[str, bytes], packed: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", packed) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, packed)
    return out.getvalue()


def patched(data: bytes, local: int, central: int, kind: str, value: int) -> bytes:
    """A zip file with one field changed, in the member's own header and in the directory."""
    changed = bytearray(data)
    for start, offset in ((b"PK\x03\x04", local), (b"PK\x01\x02", central)):
        struct.pack_into(kind, changed, changed.index(start) + offset, value)
    return bytes(changed)


def arrays() -> dict[str, bytes]:
    images = npy((3, 4, 4), body=bytes(range(48)))
    plain = npz(("images.npy", images))

    def marked(descr: str, values: list[float]) -> bytes:
        body = np.array(values, descr).tobytes()
        return npz(("images.npy", images), ("labels.npy", npy((len(values),), descr, body)))

    return {
        "terabytes.npy": npy((10**6, 10**3, 10**3)),
        "beyond-64-bits.npy": npy((2**40, 2**40, 2**40)),
        "nothing-times-all.npy": npy((0, 2**61, 2**61)),
        "negative.npy": npy((-4, 8, 8), body=bytes(256)),
        "dimensions.npy": npy((1,) * 100, body=b"1"),
        "no-dimension.npy": npy((), body=b"1"),
        "objects.npy": npy((1,), "|O", b"cposix\nsystem\n(S'true'\ntR."),
        "pickle.npy": b"cposix\nsystem\n(S'true'\ntR.",
        "code.npy": b"\x93NUMPY\x01\0\x20\0" + b"__import__('os').system('true') ",
        "brackets.npy": b"\x93NUMPY\x01\0" + struct.pack("<H", 9000) + b"(" * 9000,
        "header-of-4-gb.npy": b"\x93NUMPY\x02\0\xff\xff\xff\xff" + bytes(100),
        "infinite.npy": npy((3, 2), "<f8", np.full(6, 1e300).tobytes()),
        "terabytes.npz": npz(("images.npy", npy((10**6, 10**3, 10**3)))),
        "bomb.npz": npz(("images.npy", npy((8, 1000, 1000, 3), body=bytes(100)) + bytes(2**24))),
        "no-array.npz": npz(("images.npy", b"no array at all")),
        "encrypted.npz": patched(plain, 6, 8, "<H", 1),
        "unknown-packing.npz": patched(plain, 8, 10, "<H", 99),
        "lying-length.npz": patched(plain, 22, 24, "<I", 2**32 - 2),
        "bzip2.npz": npz(("images.npy", images), packed=zipfile.ZIP_BZIP2),
        "many-names.npz": npz(*((f"{number}.npy", b"") for number in range(200))),
        "large-label.npz": marked("<i8", [1_700_000_000, 3, 3]),
        "negative-label.npz": marked("<i8", [-5, 0, 1]),
        "nan-label.npz": marked("<f8", [np.nan, 0, 1]),
        "too-few-labels.npz": marked("<i8", [0, 1]),
        **{f"spoilt-{number}.npz": spoilt(plain, 2) for number in range(6)},
    }


def idx() -> dict[str, bytes]:
    def header(kind: int, *shape: int) -> bytes:
        return struct.pack(f">HBB{len(shape)}I", 0, kind, len(shape), *shape)

    return {
        "dimensions-ubyte": header(8, *[1] * 65) + b"1",
        "promise-ubyte": header(8, 2**32 - 1, 2**32 - 1, 2**32 - 1),
        "nothing-times-all-ubyte": header(8, 0, 2**32 - 1, 2**32 - 1),
        "wrong-type-ubyte": header(7, 1, 2, 2) + bytes(4),
        "cut-ubyte": header(8, 3, 4, 4) + bytes(40),
        "floats-ubyte": header(14, 1, 2, 2) + bytes(32),
        "promise-ubyte.gz": gzip.compress(header(14, 2**32 - 1, 2**32 - 1, 2**32 - 1), mtime=0),
        "bomb-ubyte.gz": gzip.compress(header(8, 1, 2, 2) + bytes(16 * 2**20), mtime=0),
        "cut-ubyte.gz": gzip.compress(header(8, 3, 4, 4) + bytes(48), mtime=0)[:-9],
        "lone-magic-ubyte.gz": b"\x1f\x8b",
        "few-images-idx3-ubyte": header(8, 3, 2, 2) + bytes(12),
        "few-labels-idx1-ubyte": header(8, 2) + bytes(2),
        "far-images-idx3-ubyte": header(8, 2, 2, 2) + bytes(8),
        "far-labels-idx1-ubyte": header(12, 2) + struct.pack(">2i", 1_700_000_000, 5),
    }


def tables() -> dict[str, bytes]:
    import pyarrow
    import pyarrow.parquet

    cells = [{"bytes": encoded("PNG"), "path": None} for _ in range(4)]
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"image": cells, "label": [0, 1, 2, 3]}), out)
    rows = pyarrow.chunked_array([pyarrow.nulls(2**16, pyarrow.int8())] * 20)
    many = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"label": rows}), many)
    return {
        "rows.parquet": many.getvalue(),
        "empty.parquet": b"",
        "cut.parquet": out.getvalue()[:-300],
        "footer-of-2-gb.parquet": b"PAR1" + bytes(50) + struct.pack("<I", 2**31 - 1) + b"PAR1",
        **{f"spoilt-{number}.parquet": spoilt(out.getvalue(), 1 + number) for number in range(6)},
    }


if __name__ == "__main__":
    for kind, made in (("pictures", pictures()), ("arrays", arrays()), ("idx", idx()), ("tables", tables())):
        (HERE / kind).mkdir(exist_ok=True)
        for name, content in made.items():
            (HERE / kind / name).write_bytes(content)
