"""Motion blur against a convolution, pixel by pixel."""

import math

import numpy as np
import pytest
import scipy.ndimage
import torch

from ebbtide.degradations import MotionBlur
from ebbtide.degradations.motion import line_kernel
from ebbtide.errors import EbbtideError
from parts import noise, seeded
from ways import pictures, times


def middle(kernel: torch.Tensor) -> np.ndarray:
    """A kernel that goes round and round, of odd sides, with its (0, 0) in the middle."""
    return torch.roll(kernel, tuple(n // 2 for n in kernel.shape), (0, 1)).numpy()


@pytest.mark.parametrize("angle", [0.0, 0.3, 1.0, math.pi / 2, 2.5])
def test_it_is_a_convolution_that_reflects(angle):
    x0, blur = noise(1, 2, 12, 15), MotionBlur(9.0)
    kernel = line_kernel(times(0.7 * 9.0, 1), times(angle, 1), (13, 13), 9.0)[0]
    known = [scipy.ndimage.convolve(one, middle(kernel), mode="reflect") for one in x0[0].numpy()]
    found = blur(x0, times(0.7, 1), (times(angle, 1),))[0]
    torch.testing.assert_close(found, torch.from_numpy(np.stack(known)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("angle", [0.0, 0.4, 1.9])
@pytest.mark.parametrize("length", [0.0, 3.0, 10.0])
def test_the_kernel_is_a_line(angle, length):
    """It weighs 1, lies around its middle, and is as long along the line as a line is, and thin across."""
    kernel = torch.from_numpy(middle(line_kernel(times(length, 1), times(angle, 1), (25, 25), 10.0)[0]))
    place = torch.arange(25, dtype=torch.float64) - 12
    down, along = place[:, None], place[None, :]
    line, across = along * math.cos(angle) + down * math.sin(angle), down * math.cos(angle) - along * math.sin(angle)
    assert math.isclose(kernel.sum(), 1)
    assert kernel.min() >= 0
    assert abs(float((kernel * line).sum())) < 1e-9
    variance = length**2 / 12 * (21 + 1) / (21 - 1)  # of 21 points at equal distances
    assert abs(float((kernel * line.square()).sum()) - variance) < 0.26  # sharing among pixels adds up to 1/4
    assert float((kernel * across.square()).sum()) < 0.26


def test_a_line_along_the_sides_leaves_the_other_side_alone():
    x0 = pictures(1, 1, 12, 12, dtype=torch.float64)
    stripes = x0[:, :, :, :1].expand(1, 1, 12, 12)
    torch.testing.assert_close(MotionBlur()(stripes, times(1.0, 1), (times(0.0, 1),)), stripes, rtol=0, atol=1e-12)


def test_angles_are_uniform_over_half_a_turn():
    (angle,) = MotionBlur().draw((4000, 1, 8, 8), seeded(0))
    assert abs(float(angle.mean()) - math.pi / 2) < 5 * math.pi * 0.289 / 4000**0.5
    assert ((angle >= 0) & (angle < math.pi)).all()


@pytest.mark.parametrize("length", [0.0, -1.0, math.inf, math.nan])
def test_wrong_lengths_are_refused(length):
    with pytest.raises(EbbtideError, match="None for the longer side"):
        MotionBlur(length)
