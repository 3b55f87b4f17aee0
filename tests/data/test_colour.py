"""Grey is Pillow's grey; grey to three channels and back loses nothing."""

import numpy as np
import pytest
from PIL import Image

from ebbtide.data.colour import is_grey, recolour
from ebbtide.errors import EbbtideError

RGB = np.random.default_rng(0).integers(0, 256, (1030, 6, 5, 3), dtype=np.uint8)


def test_grey_is_the_luma():
    grey = recolour(RGB, "grey")
    assert grey.shape == (1030, 6, 5, 1)
    for i in (0, 1029):
        assert np.array_equal(grey[i, ..., 0], np.asarray(Image.fromarray(RGB[i]).convert("L")))


def test_grey_survives_three_channels():
    grey = RGB[..., :1]
    three = recolour(grey, "rgb")
    assert is_grey(three)
    assert np.array_equal(recolour(three, "grey"), grey)


def test_auto_keeps_what_is_there():
    assert recolour(RGB, "auto") is RGB


def test_one_coloured_pixel_is_seen():
    three = np.repeat(RGB[..., :1], 3, axis=-1)
    three[1029, 5, 4, 2] ^= 1
    assert not is_grey(three)


@pytest.mark.parametrize(("channels", "colour"), [(2, "rgb"), (4, "grey")])
def test_what_cannot_be_is_refused(channels, colour):
    with pytest.raises(EbbtideError, match="expected"):
        recolour(np.zeros((1, 2, 2, channels), np.uint8), colour)
