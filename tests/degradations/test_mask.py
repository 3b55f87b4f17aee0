"""The growing mask: its law, written down once more, and what it must do."""

import math

import pytest
import torch

from ebbtide.degradations import GrowingMask
from ebbtide.errors import EbbtideError
from parts import noise, seeded
from ways import pictures, times

CENTRES = torch.tensor([[0.5, 0.5], [0.0, 0.0], [0.99, 0.01], [0.3, 0.8]], dtype=torch.float64)


def widths(bumps: int, reach: float) -> list[float]:
    return [reach * (i / bumps) ** 1.5 for i in range(1, bumps + 1)]


def kept(bumps: int, reach: float) -> float:
    """What the widths leave of the farthest corner."""
    return math.prod(1 - math.exp(-0.5 / width**2) for width in widths(bumps, reach))


@pytest.mark.parametrize("bumps", [1, 8, 32])
@pytest.mark.parametrize("t", [0.05, 0.4, 1.0])
def test_the_weight_is_its_formula(bumps, t):
    height, width = 7, 9
    weight = GrowingMask(bumps).weight(height, width, times(t, 4), CENTRES)
    low, high = 0.01, 60.0
    for _ in range(100):
        low, high = (low, (low + high) / 2) if kept(bumps, (low + high) / 2) < 1e-3 else ((low + high) / 2, high)
    for row, (down, along) in enumerate(CENTRES.tolist()):
        far = torch.tensor(
            [
                [(y + 0.5 - down * height) ** 2 + (x + 0.5 - along * width) ** 2 for x in range(width)]
                for y in range(height)
            ],
            dtype=torch.float64,
        )
        expected = torch.ones_like(far)
        for i, s in enumerate(widths(bumps, high), start=1):
            risen = min(max(t * bumps - i + 1, 0), 1)
            expected *= 1 - risen * torch.exp(-far / far.max() / (2 * s**2))
        torch.testing.assert_close(weight[row], expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("side", [7, 28, 32, 64])
def test_the_hole_only_grows_and_ends_everywhere(side):
    mask = GrowingMask()
    weights = [mask.weight(side, side, times(t, 4), CENTRES) for t in torch.linspace(0, 1, 50).tolist()]
    assert all((b <= a).all() for a, b in zip(weights[:-1], weights[1:], strict=True))
    assert (weights[0] == 1).all()
    assert weights[-1].max() <= 1e-3 + 1e-12
    middle = [float(weight.mean()) for weight in weights]
    assert 0.2 < middle[20] < 0.8  # no long while with nothing to do


def test_it_ends_in_its_colour():
    x0 = pictures(2, 3, 16, 16)
    mask = GrowingMask(colour=(0.1, 0.5, 0.9))
    end = mask(x0, times(1.0, 2), mask.draw(x0.shape, seeded(0)))
    torch.testing.assert_close(
        end, torch.tensor([0.1, 0.5, 0.9])[:, None, None].expand(2, 3, 16, 16), rtol=0, atol=1e-3
    )


def test_a_black_hole_is_a_product():
    x0, mask = noise(2, 3, 16, 16), GrowingMask(colour=0.0)
    drawn = mask.draw(x0.shape, seeded(0))
    weight = mask.weight(16, 16, times(0.4, 2), drawn[0].double())
    torch.testing.assert_close(mask(x0, times(0.4, 2), drawn), weight[:, None] * x0, rtol=0, atol=1e-12)


def test_centres_are_uniform():
    (centre,) = GrowingMask().draw((4000, 1, 28, 28), seeded(0))
    assert centre.shape == (4000, 2)
    assert (centre.mean(dim=0) - 0.5).abs().max() < 5 * 0.289 / 4000**0.5
    assert ((centre >= 0) & (centre < 1)).all()


def test_a_picture_of_one_pixel_is_covered():
    mask = GrowingMask()
    assert abs(mask(torch.ones(1, 1, 1, 1), times(1.0, 1), (torch.tensor([[0.5, 0.5]]),)).item() - 0.5) < 1e-3


@pytest.mark.parametrize(
    ("make", "message"),
    [(lambda: GrowingMask(0), "32 grow smoothly"), (lambda: GrowingMask(colour=()), "a number a channel")],
)
def test_wrong_options_are_refused(make, message):
    with pytest.raises(EbbtideError, match=message):
        make()
