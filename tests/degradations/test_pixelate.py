"""Pixelation: averages over cells, and projections."""

import math

import pytest
import torch
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from ebbtide.degradations import Pixelate
from ebbtide.degradations.pixelate import cells
from parts import noise
from ways import times


def time_of(side: int, cells: int) -> float:
    """The t at which a side has this many cells: cells = side^(1 - t)."""
    return 1 - math.log(cells) / math.log(side)


@pytest.mark.parametrize(("side", "left"), [(28, 14), (28, 7), (28, 4), (32, 16), (32, 2), (9, 3), (9, 1)])
def test_it_is_pooling_where_sizes_divide(side, left):
    x0 = noise(2, 3, side, side)
    pooled = interpolate(adaptive_avg_pool2d(x0, left), size=(side, side), mode="nearest")
    found = Pixelate()(x0, times(time_of(side, left), 2), ())
    torch.testing.assert_close(found, pooled, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 1, 28, 28), (1, 3, 32, 32), (1, 2, 7, 13)])
def test_every_level_is_a_projection_that_keeps_the_mean(shape):
    x0 = noise(*shape)
    for t in torch.linspace(0, 1, 23).tolist():
        once = Pixelate()(x0, times(t, 1), ())
        torch.testing.assert_close(Pixelate()(once, times(t, 1), ()), once, rtol=0, atol=1e-12)
        torch.testing.assert_close(once.mean(dim=(2, 3)), x0.mean(dim=(2, 3)), rtol=0, atol=1e-12)


def test_cells_are_rectangles_of_nearly_one_size():
    x0 = noise(1, 1, 28, 1)
    for left in range(1, 29):
        column = Pixelate()(x0, times(time_of(28, left), 1), ()).flatten()
        edges = [0, *(int(i) + 1 for i in (column.diff().abs() > 1e-9).nonzero()), 28]
        widths = [b - a for a, b in zip(edges[:-1], edges[1:], strict=True)]
        assert len(widths) == left
        assert max(widths) - min(widths) <= 1


def test_sides_fall_geometrically_to_one():
    t = torch.linspace(0, 1, 6, dtype=torch.float64)
    assert cells(32, t).tolist() == [32, 16, 8, 4, 2, 1]
    assert cells(1, t).tolist() == [1] * 6
