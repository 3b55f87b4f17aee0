"""Grey levels, and JPEG against Pillow's."""

import io

import numpy as np
import pytest
import scipy.fft
import torch
from PIL import Image

from ebbtide.degradations import Jpeg, Posterise
from ebbtide.degradations.coarse import _blocks, _joined, _tables, _waves
from ebbtide.errors import EbbtideError
from parts import noise
from ways import pictures, times

FINEST_QUALITY = 99


def t_of(quality: int) -> float:
    """Where on the way from quality 99 to 1, in the logarithm of the scale, a quality lies."""
    scale = 50 / quality if quality < 50 else 2 - quality / 50
    return float(np.log(scale / 0.02) / np.log(50 / 0.02))


def as_pillow(x: torch.Tensor, quality: int) -> tuple[torch.Tensor, dict[int, list[int]]]:
    """One picture through Pillow's JPEG, and the tables that it used."""
    values = (x * 255).round().to(torch.uint8).numpy()
    picture = Image.fromarray(values[0] if len(values) == 1 else values.transpose(1, 2, 0))
    file = io.BytesIO()
    picture.save(file, format="jpeg", quality=quality, subsampling=0)
    opened = Image.open(file)
    back = torch.from_numpy(np.asarray(opened).copy()).double() / 255
    return (back[None] if back.ndim == 2 else back.permute(2, 0, 1)), opened.quantization


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("quality", [90, 50, 20, 5, 2])
def test_it_is_the_jpeg_of_the_usual_library(channels, quality):
    """To the rounding of bytes, and of coefficients that lie half way."""
    x0 = (pictures(1, channels, 40, 32, dtype=torch.float64) * 255).round() / 255
    known, tables = as_pillow(x0[0], quality)
    found = Jpeg()(x0, times(t_of(quality), 1), ())[0].clamp(0, 1)
    assert float((found - known).abs().mean()) < 1.5 / 255
    assert float((x0[0] - known).abs().mean()) > 2 * float((found - known).abs().mean()) or quality == 90
    ours = _tables(Jpeg().scale(times(t_of(quality), 1)), channels)[0]
    for number, table in tables.items():
        assert float((ours[number] - torch.tensor(table)).abs().max()) <= 1  # libjpeg rounds the scale to per cents


def test_blocks_are_the_usual_cosines():
    x = noise(2, 3, 16, 24)
    blocks = _blocks(x)
    assert blocks.shape == (2, 3, 6, 64)
    assert torch.equal(_joined(blocks, 2), x)
    assert torch.equal(blocks[1, 2, 4].reshape(8, 8), x[1, 2, 8:16, 8:16])
    found = blocks @ _waves(torch.float64, torch.device("cpu")).mT
    known = scipy.fft.dctn(blocks.unflatten(3, (8, 8)).numpy(), axes=(-2, -1), norm="ortho")
    torch.testing.assert_close(found, torch.from_numpy(known).flatten(3), rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 1, 7, 5), (1, 3, 28, 28), (1, 3, 9, 17), (1, 2, 8, 1)])
def test_any_size_is_padded_and_fine_tables_change_little(shape):
    x0 = pictures(*shape)
    assert (Jpeg()(x0, times(1e-9, 1), ()) - x0).abs().max() < 4 / 255


@pytest.mark.parametrize("quality", [99, 75, 50, 49, 10, 1])
def test_the_worst_quality_is_the_one_asked_for(quality):
    scale = 5000 / quality if quality < 50 else 200 - 2 * quality
    assert float(Jpeg(worst=quality).scale(times(1.0, 1))) == pytest.approx(scale / 100)


def test_gradients_pass_straight_through_rounding():
    x0, v = noise(2, 3, 16, 8).requires_grad_(), noise(2, 3, 16, 8, seed=1)
    for degradation in (Jpeg(), Posterise()):
        (gradient,) = torch.autograd.grad((degradation(x0, times(0.7, 2), ()) * v).sum(), x0)
        torch.testing.assert_close(gradient, v, rtol=0, atol=1e-5)


@pytest.mark.parametrize("fewest", [2, 3, 16])
def test_levels_are_even_and_hold_black_and_white(fewest):
    ramp = torch.linspace(0, 1, 1001, dtype=torch.float64).reshape(1, 1, 7, 143)
    levels = Posterise(fewest)(ramp, times(1.0, 1), ()).unique()
    torch.testing.assert_close(levels, torch.linspace(0, 1, fewest, dtype=torch.float64))
    soft = Posterise(fewest)(ramp, times(1e-9, 1), ())
    assert (soft - ramp).abs().max() <= 0.5 / 255 + 1e-12


def test_posterising_twice_changes_nothing_and_goes_beyond_white():
    x0, t = 3 * noise(1, 1, 9, 9), times(0.6, 1)
    once = Posterise()(x0, t, ())
    torch.testing.assert_close(Posterise()(once, t, ()), once, rtol=0, atol=1e-12)
    assert once.max() > 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Posterise(1), "2 to 256"),
        (lambda: Posterise(257), "2 to 256"),
        (lambda: Jpeg(0), "1 to 99"),
        (lambda: Jpeg(100), "1 to 99"),
    ],
)
def test_wrong_options_are_refused(make, message):
    with pytest.raises(EbbtideError, match=message):
        make()
