"""Snow: white, growing, and falling along its wind."""

import math

import pytest
import torch

from ebbtide.degradations import Snow
from ebbtide.errors import EbbtideError
from parts import seeded
from ways import pictures, times

SIDES = [28, 32, 96]


def cover(side: int, t: float, angle: float | None = None, count: int = 64) -> torch.Tensor:
    snow = Snow()
    z, drawn = snow.draw((count, 3, side, side), seeded(0))
    return snow.cover(times(t, count), z, drawn if angle is None else torch.full((count,), angle))


@pytest.mark.parametrize("side", SIDES)
def test_cover_grows_from_clear_to_heavy(side):
    """Nowhere is there less later but for a grey level of ringing, and pictures of any size have about as much."""
    covers = [cover(side, t) for t in torch.linspace(0, 1, 9).tolist()]
    assert all((b >= a - 0.005).all() for a, b in zip(covers[:-1], covers[1:], strict=True))
    assert covers[0].max() == 0
    assert covers[-1].max() <= 1
    assert 0.01 < covers[4].mean() < 0.25
    assert 0.3 < covers[-1].mean() < 0.7


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("angle", [math.pi / 4, math.pi / 2, 3 * math.pi / 4])
def test_streaks_lie_along_the_wind(side, angle):
    """Neighbours down the wind are more alike than neighbours across it."""
    snow = cover(side, 0.8, angle)
    snow = snow - snow.mean()
    step = round(2 * math.sqrt(side / 28))
    down, along = round(step * math.sin(angle)), round(step * math.cos(angle))
    with_wind = (snow * snow.roll((down, along), (1, 2))).mean()
    across = (snow * snow.roll((along, -down), (1, 2))).mean()
    assert with_wind > 1.5 * across


def test_snow_whitens_and_never_beyond_white():
    x0 = pictures(8, 3, 28, 28)
    snow = Snow()
    drawn = snow.draw(x0.shape, seeded(0))
    for t in (0.2, 0.6, 1.0):
        xt = snow(x0, times(t, 8), drawn)
        assert ((xt >= 0) & (xt <= 1 + 1e-6)).all()
        assert xt.mean() > x0.mean()
    white = torch.ones(8, 3, 28, 28)
    torch.testing.assert_close(snow(white, times(0.7, 8), drawn), white, rtol=0, atol=1e-6)


def test_without_flakes_whitening_is_half_the_way_from_grey_to_white():
    red = torch.tensor([1.0, 0.0, 0.0])[:, None, None].expand(1, 3, 28, 28)
    no_flakes = torch.full((1, 28, 28), -9.0), torch.tensor([1.5])
    xt = Snow(whitening=1.0)(red, times(1.0, 1), no_flakes)
    torch.testing.assert_close(xt, torch.full((1, 3, 28, 28), (1 + 0.299) / 2), rtol=0, atol=1e-6)
    assert torch.equal(Snow(whitening=0.0)(red, times(1.0, 1), no_flakes), red)


def test_wind_blows_within_45_degrees_of_down():
    _, angle = Snow().draw((1000, 1, 28, 28), seeded(0))
    assert ((angle >= math.pi / 4) & (angle <= 3 * math.pi / 4)).all()
    assert angle.std() > 0.4


@pytest.mark.parametrize(
    ("make", "message"), [(lambda: Snow(density=0.0), "above 0"), (lambda: Snow(whitening=1.5), "a share, 0 to 1")]
)
def test_wrong_options_are_refused(make, message):
    with pytest.raises(EbbtideError, match=message):
        make()
