"""PSNR and SSIM: closed forms, and what is refused."""

import numpy as np
import pytest

from ebbtide.errors import EbbtideError
from ebbtide.evaluation.metrics import has_ssim, psnr, ssim

PICTURES = np.random.default_rng(0).integers(0, 256, (6, 16, 14, 3), dtype=np.uint8)


def test_psnr_of_a_known_difference():
    grey = np.full((2, 8, 8, 1), 100, dtype=np.uint8)
    assert psnr(grey + 51, grey) == pytest.approx([20 * np.log10(5)] * 2)
    assert np.isinf(psnr(grey, grey)).all()
    half = grey.copy()
    half[:, :4] += 51
    assert psnr(half, grey) == pytest.approx(20 * np.log10(5) + 10 * np.log10(2))


def test_ssim_is_1_of_equals_falls_with_noise_and_is_negative_of_opposites():
    assert ssim(PICTURES, PICTURES) == pytest.approx(1.0)
    noise = np.random.default_rng(1)
    worse = [
        ssim(np.clip(PICTURES + noise.normal(0, s, PICTURES.shape), 0, 255).astype(np.uint8), PICTURES).mean()
        for s in (5, 20, 80)
    ]
    assert 1 > worse[0] > worse[1] > worse[2] > 0
    assert (ssim(255 - PICTURES, PICTURES) < 0).all()


def test_ssim_of_two_plain_pictures_is_the_formula_of_their_means():
    one, two = (np.full((1, 16, 16, 1), value, dtype=np.uint8) for value in (51, 153))
    a, b, c = 0.2, 0.6, 0.01**2
    assert ssim(one, two) == pytest.approx([(2 * a * b + c) / (a * a + b * b + c)], rel=1e-5)


def test_wrong_input_is_refused():
    with pytest.raises(EbbtideError, match="two uint8 arrays"):
        psnr(PICTURES, PICTURES[:2])
    with pytest.raises(EbbtideError, match="two uint8 arrays"):
        psnr(PICTURES / 255, PICTURES / 255)
    assert not has_ssim((10, 30))
    with pytest.raises(EbbtideError, match="windows of 11x11"):
        ssim(PICTURES[:, :8], PICTURES[:, :8])
