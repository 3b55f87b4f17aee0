"""Waves: orthonormal, and kept by symmetric kernels."""

import math

import pytest
import scipy.fft
import torch

from ebbtide.degradations.waves import filters, frequencies, waves
from parts import noise

CPU = torch.device("cpu")


@pytest.mark.parametrize("edges", ["reflect", "wrap"])
@pytest.mark.parametrize("n", [1, 2, 7, 28, 32])
def test_waves_are_orthonormal_and_rise_in_frequency(edges, n):
    wave = waves(edges, n, torch.float64, CPU)
    torch.testing.assert_close(wave @ wave.mT, torch.eye(n, dtype=torch.float64), rtol=0, atol=1e-12)
    assert frequencies(edges, n)[0] == 0
    assert frequencies(edges, n).max() <= math.pi


@pytest.mark.parametrize("n", [5, 8, 28])
def test_waves_that_reflect_are_the_usual_cosines(n):
    x = noise(3, n)
    known = torch.from_numpy(scipy.fft.dct(x.numpy(), norm="ortho"))
    torch.testing.assert_close(x @ waves("reflect", n, torch.float64, CPU).mT, known, rtol=0, atol=1e-12)


@pytest.mark.parametrize("edges", ["reflect", "wrap"])
@pytest.mark.parametrize("n", [5, 8])
def test_a_symmetric_kernel_only_weakens_waves(edges, n):
    """(1/4, 1/2, 1/4), written down with its edges, has the gains 1/2 + cos(ω) / 2."""
    kernel = torch.zeros(n, n, dtype=torch.float64)
    for row in range(n):
        for offset, weight in ((-1, 0.25), (0, 0.5), (1, 0.25)):
            column = row + offset
            kernel[row, column % n if edges == "wrap" else min(max(column, 0), n - 1)] += weight
    gains = (1 + frequencies(edges, n).cos()) / 2
    made = filters(gains[None], edges, torch.zeros(1, 1, n, n, dtype=torch.float64))[0, 0]
    torch.testing.assert_close(made, kernel, rtol=0, atol=1e-12)
