"""Fading and animorphosis: both ends are exact."""

import math

import pytest
import torch

from ebbtide.degradations import Animorph, Fade
from ebbtide.errors import EbbtideError
from parts import noise, seeded
from ways import pictures, times

BANK = pictures(7, 3, 6, 5, seed=4)


def of_bank(indices: torch.Tensor) -> torch.Tensor:
    return BANK[indices]


@pytest.mark.parametrize("colour", [0.5, 0.0, (0.1, 0.2, 0.3)])
def test_fading_goes_straight_to_exactly_its_colour(colour):
    x0, fade = pictures(2, 3, 6, 5), Fade(colour)
    end = fade(x0, times(1.0, 2), ())
    values = torch.tensor(colour if isinstance(colour, tuple) else (colour,) * 3)
    assert torch.equal(end, values[:, None, None].expand_as(x0))
    torch.testing.assert_close(fade(x0, times(0.25, 2), ()), 0.75 * x0 + 0.25 * end)


@pytest.mark.parametrize("weights", ["cosine", "linear"])
def test_animorphs_end_in_exactly_the_other_picture(weights):
    x0, morph = pictures(4, 3, 6, 5), Animorph(of_bank, 7, weights)
    (other,) = drawn = morph.draw(x0.shape, seeded(0))
    assert torch.equal(morph(x0, times(1.0, 4), drawn), other)
    assert all(any(torch.equal(one, picture) for picture in BANK) for one in other)


def test_weights_are_their_formulas():
    x0, z, t = noise(3, 1, 4, 4, seed=1), noise(3, 1, 4, 4, seed=2), torch.tensor([0.2, 0.5, 0.7]).double()
    c, s = (math.pi / 2 * t).cos()[:, None, None, None], (math.pi / 2 * t).sin()[:, None, None, None]
    cosine = Animorph(of_bank, 7, "cosine")(x0, t, (z,))
    torch.testing.assert_close(cosine, 0.5 + c * (x0 - 0.5) + s * (z - 0.5), rtol=0, atol=1e-12)
    linear = Animorph(of_bank, 7, "linear")(x0, t, (z,))
    share = t[:, None, None, None]
    torch.testing.assert_close(linear, (1 - share) * x0 + share * z, rtol=0, atol=1e-12)


def test_cosine_keeps_the_contrast_of_unrelated_pictures():
    x0, z = 0.5 + noise(500, 1, 8, 8, seed=1), 0.5 + noise(500, 1, 8, 8, seed=2)
    contrast = [float(Animorph(of_bank, 7)(x0, times(t, 500), (z,)).std()) for t in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert max(contrast) - min(contrast) < 0.02
    assert float(Animorph(of_bank, 7, "linear")(x0, times(0.5, 500), (z,)).std()) < 0.75


def test_all_other_pictures_are_drawn_alike():
    found: list[torch.Tensor] = []

    def seen(indices: torch.Tensor) -> torch.Tensor:
        found.append(indices)
        return BANK[indices]

    Animorph(seen, 7).draw((7000, 3, 6, 5), seeded(0))
    counts = torch.bincount(found[0], minlength=7)
    assert len(counts) == 7
    assert ((counts - 1000).abs() < 5 * 1000**0.5).all()


@pytest.mark.parametrize("picture", [torch.zeros(2, 1, 6, 5), torch.zeros(2, 3, 6, 5, dtype=torch.uint8)])
def test_other_sets_of_another_shape_are_refused(picture):
    with pytest.raises(EbbtideError, match="resize them"):
        Animorph(lambda indices: picture, 7).draw((2, 3, 6, 5), seeded(0))


def test_an_empty_set_is_refused():
    with pytest.raises(EbbtideError, match="how many pictures"):
        Animorph(of_bank, 0)
