"""Composition and degradations of a user's own."""

import pytest
import torch

from ebbtide.degradations import Composed, Custom, Fade, GaussianBlur, GrowingMask, MotionBlur, Snow
from ebbtide.errors import EbbtideError
from ebbtide.randomness import normal
from parts import noise, seeded
from ways import pictures, times


def half_dark(x0, t):
    return x0 * (1 - t[:, None, None, None].to(x0) / 2)


def test_composed_is_one_after_the_other():
    x0, t = pictures(3, 1, 12, 12), torch.tensor([0.0, 0.4, 1.0], dtype=torch.float64)
    parts = (MotionBlur(5.0), GaussianBlur(2.0), Snow(), GrowingMask())
    composed, generator = Composed(*parts), seeded(3)
    drawn = [part.draw(x0.shape, generator) for part in parts]
    expected = x0
    for part, one in zip(parts, drawn, strict=True):
        expected = part(expected, t, one)
    assert torch.equal(composed(x0, t, composed.draw(x0.shape, seeded(3))), expected)


def test_composed_parts_compose_again():
    x0, t = pictures(2, 1, 12, 12), times(0.4, 2)
    flat = Composed(MotionBlur(), Snow(), Fade())
    nested = Composed(Composed(MotionBlur(), Snow()), Composed(Fade()))
    found = [one(x0, t, one.draw(x0.shape, seeded(0))) for one in (flat, nested)]
    assert torch.equal(*found)
    assert flat == Composed(MotionBlur(), Snow(), Fade()) != nested


def test_what_was_drawn_can_be_cut_and_joined_by_examples():
    x0, composed = pictures(4, 1, 12, 12), Composed(MotionBlur(), Snow())
    drawn = composed.draw(x0.shape, seeded(0))
    assert all(len(one) == 4 for one in drawn)
    again = tuple(torch.cat([one[:1], one[1:]]) for one in drawn)
    assert torch.equal(composed(x0, times(0.4, 4), drawn), composed(x0, times(0.4, 4), again))


@pytest.mark.parametrize("parts", [(), (GaussianBlur,)])
def test_only_degradations_compose(parts):
    with pytest.raises(EbbtideError, match=r"expected (one or more|a degradation)"):
        Composed(*parts)


def test_another_composition_s_draw_is_refused():
    x0 = pictures(2, 1, 6, 6)
    for other in (Snow(), Composed(Snow()), GaussianBlur()):
        with pytest.raises(EbbtideError, match="hand Composed what its"):
            Composed(MotionBlur(), Fade())(x0, times(0.5, 2), other.draw(x0.shape, seeded(0)))


def test_a_function_is_a_degradation():
    x0, custom = noise(2, 3, 4, 4), Custom(half_dark)
    assert custom.draw(x0.shape, seeded(0)) == ()
    torch.testing.assert_close(custom(x0, times(0.5, 2), ()), 0.75 * x0)


def test_zero_is_the_picture_whatever_the_function_says():
    x0 = noise(2, 1, 4, 4)
    found = Custom(lambda x0, t: x0 + 1)(x0, torch.tensor([0.0, 0.5], dtype=torch.float64), ())
    assert torch.equal(found[0], x0[0])
    torch.testing.assert_close(found[1], x0[1] + 1)


def test_a_drawing_is_handed_to_the_function():
    x0 = noise(2, 1, 4, 4)
    two = Custom(
        lambda x0, t, a, b: x0 + t[:, None, None, None] * (a - b),
        lambda shape, generator: (normal(shape, generator).double(), normal(shape, generator).double()),
    )
    a, b = drawn = two.draw(x0.shape, seeded(0))
    torch.testing.assert_close(two(x0, times(0.5, 2), drawn), x0 + 0.5 * (a - b))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x0, t: x0[:, :, :2], r"gave \(2, 1, 2, 4\) in torch.float64.*expected \(2, 1, 4, 4\)"),
        (lambda x0, t: None, "gave NoneType"),
        (lambda x0, t: x0.long(), "gave .* torch.int64"),
        (lambda x0, t: x0 / (1 - t[:, None, None, None]), r"not finite, the first at t = \[1.0\]"),
    ],
)
def test_what_a_function_gets_wrong_is_told(function, message):
    with pytest.raises(EbbtideError, match=message):
        Custom(function)(noise(2, 1, 4, 4), torch.tensor([0.5, 1.0], dtype=torch.float64), ())


@pytest.mark.parametrize("drawing", [lambda shape, generator: 3, lambda shape, generator: torch.zeros(5)])
def test_what_a_drawing_gets_wrong_is_told(drawing):
    with pytest.raises(EbbtideError, match="the batch comes first"):
        Custom(half_dark, drawing).draw((2, 1, 4, 4), seeded(0))
