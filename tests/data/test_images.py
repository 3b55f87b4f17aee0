"""Decoding against formulas: what is flat stays flat, what is clear shows the background, greys keep their scale."""

import io

import numpy as np
import pytest
from PIL import Image

from ebbtide.data.images import decode, height_and_width, resize_all
from ebbtide.errors import EbbtideError

rng = np.random.default_rng(0)
SMOOTH = np.stack(np.meshgrid(np.linspace(0, 255, 64), np.linspace(255, 0, 64)), axis=-1).astype(np.uint8)

NOISE = rng.integers(0, 256, (40, 30), dtype=np.uint8)


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


@pytest.mark.parametrize("size", [1, 7, 16, 40])
@pytest.mark.parametrize("shape", [(16, 16), (5, 90), (90, 5), (1, 1), (33, 34)])
def test_a_flat_picture_stays_flat(size, shape):
    image = Image.new("RGB", shape, (200, 3, 77))
    assert np.array_equal(decode(image, size), np.broadcast_to(np.uint8([200, 3, 77]), (size, size, 3)))


def test_the_right_size_is_left_alone():
    values = rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)
    assert np.array_equal(decode(encoded(Image.fromarray(values)), 9), values)


@pytest.mark.parametrize("wide", [True, False])
def test_the_middle_is_kept(wide):
    middle = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    picture = np.zeros((8, 24, 3), np.uint8)
    picture[:, 8:16] = middle
    if not wide:
        picture, middle = picture.transpose(1, 0, 2), middle.transpose(1, 0, 2)
    assert np.array_equal(decode(Image.fromarray(picture), 8), middle)


@pytest.mark.parametrize(("size", "rows", "columns"), [((12, 24), (6, 18), (0, 24)), ((24, 6), (0, 24), (9, 15))])
def test_a_size_that_is_not_square_keeps_the_middle_of_its_shape(size, rows, columns):
    picture = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
    middle = picture[slice(*rows), slice(*columns)]
    assert np.array_equal(decode(Image.fromarray(picture), size), middle)
    twice = decode(Image.fromarray(picture), (2 * size[0], 2 * size[1]), nearest=True)
    assert np.array_equal(twice, middle.repeat(2, axis=0).repeat(2, axis=1))


def test_nearest_makes_no_new_colours():
    assert set(np.unique(decode(Image.fromarray((NOISE > 99) * np.uint8(255)), (7, 5), nearest=True))) == {0, 255}


def test_reducing_averages_and_does_not_alias():
    # a chequerboard finer than the target is grey, where picking pixels would give stripes
    board = (np.indices((256, 256)).sum(0) % 2 * 255).astype(np.uint8)
    assert abs(decode(Image.fromarray(board), 16).astype(int) - 127.5).max() < 4


@pytest.mark.parametrize("size", [8, 100])
def test_resizing_keeps_a_ramp_a_ramp(size):
    row = decode(Image.fromarray(SMOOTH[..., 0]), size)[size // 2, :, 0].astype(float)
    centres = (np.arange(size) + 0.5) * 64 / size - 0.5
    inner = (centres > 4) & (centres < 59)
    assert abs(row - centres * 255 / 63)[inner].max() < 2


@pytest.mark.parametrize("background", [(255, 255, 255), (0, 0, 0), (10, 200, 90)])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_follows_the_formula(mode, background):
    values = rng.integers(0, 256, (12, 12, len(mode)), dtype=np.uint8)
    opacity = values[..., -1:] / 255
    expected = values[..., :-1] * opacity + np.array(background) * (1 - opacity)
    decoded = decode(encoded(Image.fromarray(values, mode)), 12, background)
    assert abs(decoded - expected).max() <= 1


def test_a_clear_colour_does_not_bleed():
    values = np.zeros((16, 16, 4), np.uint8)
    values[::2] = (255, 0, 0, 0)
    values[1::2] = (0, 0, 255, 255)
    decoded = decode(Image.fromarray(values), 4)
    # half blue, half white before which red cannot be seen: a mixture of the two has as much red as green
    assert np.array_equal(decoded[..., 0], decoded[..., 1])
    assert (decoded[..., 2] == 255).all()


def test_a_palette_with_a_clear_entry():
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 9, 8, 7])
    image.putpixel((0, 0), 0)
    decoded = decode(encoded(image, transparency=0), 4, (1, 2, 3))
    assert decoded[0, 0].tolist() == [1, 2, 3]
    assert decoded[1, 1].tolist() == [9, 8, 7]


def test_a_clear_colour_key():
    image = Image.new("RGB", (4, 4), (9, 8, 7))
    image.putpixel((0, 0), (1, 1, 1))
    assert decode(encoded(image, transparency=(1, 1, 1)), 4)[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "HSV"])
def test_modes_agree_on_black_and_white(mode):
    board = Image.fromarray((rng.integers(0, 2, (8, 8)) * 255).astype(np.uint8)).convert("RGB")
    assert abs(decode(board.convert(mode), 8).astype(int) - np.asarray(board)).max() <= 1


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_greys_of_16_bits_are_scaled_not_clipped(kind):
    values = rng.integers(0, 65536, (8, 8), dtype=np.uint16)
    values[0, :2] = (0, 65535)
    decoded = decode(encoded(Image.fromarray(values), kind), 8)
    assert np.array_equal(decoded[..., 0], np.rint(values / 65535 * 255))
    assert decoded.min() == 0
    assert decoded.max() == 255


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        (rng.integers(0, 65536, (8, 8)).astype(np.int32), 0, 65535),
        (rng.random((8, 8), np.float32), 0, 1),
        (rng.random((8, 8), np.float32) * 254 + 1, 0, 255),
        (rng.random((8, 8), np.float32) * 60_000, 0, 65535),
        (np.linspace(-7, 90_000, 64, dtype=np.float32).reshape(8, 8), -7, 90_000),
    ],
    ids=["int", "unit", "byte", "word", "own"],
)
def test_deep_greys_are_scaled_as_stated(values, low, high):
    expected = (values.astype(float) - low) / (high - low) * 255
    assert abs(decode(Image.fromarray(values), 8)[..., 0] - expected).max() <= 0.5 + 1e-3


def test_a_flat_deep_grey_of_no_known_scale_is_black():
    assert decode(Image.fromarray(np.full((4, 4), 1e6, np.float32)), 4).max() == 0


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_turned_upright(orientation):
    upright = rng.integers(0, 256, (10, 10, 3), dtype=np.uint8)
    # how each orientation of the standard stores a picture
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.ascontiguousarray(stored))
    assert np.array_equal(decode(encoded(image, exif=exif), 10), upright)


def test_a_large_photo_is_nearly_what_full_decoding_gives():
    smooth = Image.fromarray(SMOOTH[..., 0]).resize((800, 640)).convert("RGB")
    photo = encoded(smooth, "JPEG", quality=95)
    full = decode(Image.open(io.BytesIO(photo)), 32)
    assert abs(decode(photo, 32).astype(int) - full).max() <= 3


def test_an_opened_picture_is_left_as_it_is():
    image = Image.open(io.BytesIO(encoded(Image.new("RGB", (64, 32)), "JPEG")))
    decode(image, 4)
    assert (image.size, image.mode) == ((64, 32), "RGB")


@pytest.mark.parametrize(
    "data",
    [b"", b"no picture", encoded(Image.fromarray(rng.integers(0, 256, (50, 50), dtype=np.uint8)))[:-600]],
    ids=["empty", "text", "cut"],
)
def test_what_cannot_be_read_is_said_in_one_line(data, tmp_path):
    (tmp_path / "a.png").write_bytes(data)
    for source in (data, tmp_path / "a.png", tmp_path / "missing.png"):
        with pytest.raises(EbbtideError, match="not a readable picture") as caught:
            decode(source, 8)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("channels", [1, 3])
def test_arrays_are_resized_as_pictures_are(channels):
    values = rng.integers(0, 256, (3, 9, 12, channels), dtype=np.uint8)
    resized = resize_all(values, 5)
    assert resized.shape == (3, 5, 5, channels)
    for before, after in zip(values, resized, strict=True):
        expected = decode(Image.fromarray(before.squeeze()), 5)
        assert np.array_equal(np.broadcast_to(after, (5, 5, 3)), expected)
    assert resize_all(resized, 5) is resized
    assert resize_all(values, (6, 4)).shape == (3, 6, 4, channels)


@pytest.mark.parametrize("size", [0, -1, (4, 0)])
def test_a_size_without_pixels_is_refused(size):
    with pytest.raises(EbbtideError, match="size is"):
        height_and_width(size)
