"""Blur against other implementations, and against itself twice."""

import math

import numpy as np
import pytest
import scipy.ndimage
import torch

from ebbtide.degradations import GaussianBlur, RepeatedBlur
from ebbtide.errors import EbbtideError
from parts import noise
from ways import pictures, times


@pytest.mark.parametrize(("std", "tolerance"), [(2.0, 1e-7), (3.5, 1e-9), (9.0, 1e-9)])
@pytest.mark.parametrize(("edges", "mode"), [("reflect", "reflect"), ("wrap", "wrap")])
def test_it_is_the_usual_gaussian_filter(std, tolerance, edges, mode):
    """scipy samples the kernel and cuts it off; from two pixels up this makes no difference."""
    x0 = pictures(2, 3, 28, 21, dtype=torch.float64)
    known = scipy.ndimage.gaussian_filter(x0.numpy(), (0, 0, std, std), mode=mode, truncate=9.0)
    found = GaussianBlur(std, "linear", edges)(x0, times(1.0, 2), ())
    np.testing.assert_allclose(found, known, rtol=0, atol=tolerance)


@pytest.mark.parametrize("edges", ["reflect", "wrap"])
def test_variances_add(edges):
    x0, one = noise(2, 1, 11, 8), times(1.0, 2)
    twice = GaussianBlur(4.0, edges=edges)(GaussianBlur(3.0, edges=edges)(x0, one, ()), one, ())
    torch.testing.assert_close(twice, GaussianBlur(5.0, edges=edges)(x0, one, ()), rtol=0, atol=1e-12)


def test_growth_of_variance_is_equal_kernels_one_after_the_other():
    blur, x0 = GaussianBlur(4.0, "variance"), noise(2, 1, 12, 12)
    quarter = x0
    for _ in range(4):
        quarter = blur(quarter, times(0.25, 2), ())
    torch.testing.assert_close(quarter, blur(x0, times(1.0, 2), ()), rtol=0, atol=1e-12)


@pytest.mark.parametrize("growth", ["geometric", "linear", "variance"])
def test_std_grows_from_zero_to_std(growth):
    t = torch.linspace(0, 1, 11, dtype=torch.float64)
    stds = GaussianBlur(8.0, growth).stds(t, 28)
    assert stds[0] == 0
    assert (stds.diff() > 0).all()
    assert math.isclose(stds[-1], 8.0)
    law = {"geometric": (stds + 0.5).log(), "linear": stds, "variance": stds.square()}[growth]
    torch.testing.assert_close(law.diff(), law.diff()[:1].expand(10), rtol=1e-9, atol=0)


@pytest.mark.parametrize("shape", [(1, 1, 28, 28), (1, 3, 32, 32), (1, 1, 7, 40)])
def test_the_default_leaves_a_thousandth_of_the_longest_wave(shape):
    x0 = noise(*shape)
    left = GaussianBlur()(x0, times(1.0, 1), ())
    wave = torch.cos(math.pi * (torch.arange(max(shape), dtype=torch.float64) + 0.5) / max(shape)).expand(1, 1, 5, -1)
    torch.testing.assert_close(GaussianBlur()(wave, times(1.0, 1), ()), wave * 1e-3, rtol=1e-9, atol=1e-12)
    mean = x0.mean(dim=(2, 3), keepdim=True)
    assert (left - mean).abs().max() < 2e-3 * (x0 - mean).abs().max()


def directly(x0: torch.Tensor, size: int, std: float, mode: str) -> torch.Tensor:
    """One truncated kernel in two dimensions, pixel by pixel."""
    j = np.arange(size) - size // 2
    kernel = np.exp(-(j[:, None] ** 2 + j[None] ** 2) / (2 * std**2))
    kernel /= kernel.sum()
    rows = [scipy.ndimage.convolve(one, kernel, mode=mode) for one in x0.flatten(0, 1).numpy()]
    return torch.from_numpy(np.stack(rows)).reshape(x0.shape)


@pytest.mark.parametrize("edges", ["reflect", "wrap"])
def test_repeated_blur_is_its_kernels_one_after_the_other(edges):
    sizes, stds = (3, 5, 11, 7), (0.4, 1.0, 7.0, 0.1)
    x0 = noise(5, 2, 14, 13)
    levels, t = [x0], torch.arange(5, dtype=torch.float64) / 4
    for size, std in zip(sizes, stds, strict=True):
        levels.append(directly(levels[-1], size, std, edges))
    found = RepeatedBlur(sizes, stds, edges)(x0, t, ())
    for level in range(5):
        torch.testing.assert_close(found[level], levels[level][level], rtol=0, atol=1e-12)


def test_repeated_blur_goes_by_whole_levels():
    blur, x0 = RepeatedBlur((5,) * 4, (1.0,) * 4), noise(1, 1, 9, 9)
    near = [blur(x0, times(t, 1), ()) for t in (0.4, 0.5, 0.6)]
    assert torch.equal(near[0], near[1])
    assert torch.equal(near[1], near[2])
    assert torch.equal(blur(x0, times(0.1, 1), ()), x0)


def test_many_wide_kernels_leave_the_mean():
    x0 = noise(1, 1, 8, 8)
    left = RepeatedBlur((27,) * 50, (9.0,) * 50)(x0, times(1.0, 1), ())
    torch.testing.assert_close(left, x0.mean().expand_as(x0), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GaussianBlur(0.0), "None for as many as leave only the mean colour"),
        (lambda: GaussianBlur(math.nan), "expected pixels above 0"),
        (lambda: RepeatedBlur((3, 4), (1.0, 1.0)), r"kernels of \[4\] pixels"),
        (lambda: RepeatedBlur((3,), (1.0, 1.0)), "1 sizes and 2 stds"),
        (lambda: RepeatedBlur((), ()), "0 sizes"),
        (lambda: RepeatedBlur((3,), (0.0,)), "pixels above 0"),
    ],
)
def test_wrong_numbers_are_refused(make, message):
    with pytest.raises(EbbtideError, match=message):
        make()
