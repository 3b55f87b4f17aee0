"""Pictures that were made to do harm, or broke on the way: refused in one line, with nothing printed beside it."""

import io
import os
import socket
import struct
import threading
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from ebbtide.data.images import decode, upright
from ebbtide.data.opening import MOST_PIXELS, opened, quiet, why_no_file
from ebbtide.errors import EbbtideError

NOISE = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)


def encoded(kind: str, **options) -> bytes:
    out = io.BytesIO()
    Image.fromarray(NOISE).save(out, kind, **options)
    return out.getvalue()


def png_of(width: int, height: int) -> bytes:
    """A PNG whose header promises so many pixels of one bit, with hardly a row of them."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def refusal_of(source) -> str:
    with pytest.raises(EbbtideError, match="not a readable picture") as caught:
        decode(source, 8)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("width", [MOST_PIXELS // 1000 + 1, 10**6, 2**31 - 1])
def test_more_pixels_than_can_be_held_are_not_decoded(width):
    assert "bomb" in refusal_of(png_of(width, 1000))


@pytest.mark.parametrize("start", [b"P6 9000 9000 255\n", b"P5 9000 9000 65535\n", b"P3 9000 9000 255\n1 2 3"])
def test_a_file_too_short_for_its_promise_is_not_given_the_memory(start):
    assert "more than its" in refusal_of(start)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_picture_cut_short_is_refused(kind, share):
    whole = encoded(kind)
    assert decode(whole, 8).shape == (8, 8, 3)
    refusal_of(whole[: int(share * len(whole))])


def test_what_could_run_a_program_is_no_picture():
    # Pillow hands PostScript to Ghostscript
    start = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"
    assert "no format that is known" in refusal_of(start)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "jpeg"])
def test_nothing_is_printed_beside_the_error(capfd, compression):
    whole = encoded("TIFF", compression=compression)
    rng = np.random.default_rng(0)
    refused = 0
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for _ in range(30):
            broken = bytearray(whole)
            for place in rng.integers(8, len(whole), 5):
                broken[place] = rng.integers(256)
            try:
                decode(bytes(broken), 8)
            except EbbtideError:
                refused += 1
    assert refused > 0
    assert seen == []
    assert capfd.readouterr() == ("", "")


def test_errors_of_others_are_printed_again_afterwards(capfd):
    decode(encoded("TIFF", compression="tiff_lzw"), 8)
    os.write(2, b"still here")
    assert capfd.readouterr().err == "still here"


def test_warnings_come_back_when_the_last_thread_is_done():
    before = list(warnings.filters)
    inside = threading.Barrier(2, timeout=20)

    def hold() -> None:
        with quiet():
            inside.wait()
            inside.wait()

    other = threading.Thread(target=hold)
    other.start()
    inside.wait()
    with quiet():
        pass
    assert warnings.filters != before
    inside.wait()
    other.join()
    assert warnings.filters == before


def test_what_is_no_file_is_never_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "self.png").symlink_to(tmp_path / "self.png")
    with socket.socket(socket.AF_UNIX) as server:
        folder = os.open(tmp_path, os.O_RDONLY)
        server.bind(f"/proc/self/fd/{folder}/socket.png" if os.path.isdir("/proc/self/fd") else "socket.png")
        os.close(folder)
        for name, reason in {
            "pipe.png": "pipe",
            "socket.png": "socket",
            "self.png": "link",
            "none.png": "No such file",
            "x" * 5000: "too long",
            "zero\0": "no name",
        }.items():
            assert reason in (why_no_file(str(tmp_path / name)) or "")
            assert reason in refusal_of(str(tmp_path / name))
    assert "device" in refusal_of("/dev/zero")
    assert "folder" in refusal_of(tmp_path)


def test_an_error_with_an_opened_picture_is_one_of_the_picture():
    with pytest.raises(EbbtideError, match="not a readable picture: two lines"), opened(encoded("PNG")):
        raise ValueError("two\nlines")


def test_upright_is_the_whole_picture():
    assert np.array_equal(np.asarray(upright(encoded("PNG"))), NOISE)
