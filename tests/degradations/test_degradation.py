"""What holds for every degradation."""

import pytest
import torch

from ebbtide.degradations import Animorph, Degradation, Fade, GaussianBlur, MotionBlur, RepeatedBlur
from ebbtide.degradations.degradation import closed, opened, painted
from ebbtide.errors import EbbtideError
from ebbtide.randomness import SampleGenerators
from parts import noise, seeded
from ways import AFFINE, CONTINUOUS, LINEAR, NAMES, RANDOM, ROUNDED, pictures, taken, times, way, worn

SHAPES = [(3, 1, 7, 5), (3, 3, 7, 5), (2, 2, 5, 7), (2, 1, 28, 28), (2, 3, 32, 32), (1, 1, 1, 1)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_at_zero_nothing_changes_by_a_bit(name, shape):
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        x0 = 2 * noise(*shape).to(dtype)  # also values that no picture has
        assert torch.equal(worn(name, x0, 0.0), x0)
        mixed = worn(name, x0, torch.linspace(0, 1, len(x0), dtype=torch.float64))
        assert torch.equal(mixed[0], x0[0])
        assert mixed.dtype == dtype
        assert mixed.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_it_is_a_degradation_and_a_frozen_value(name):
    degradation = way(name, (2, 1, 6, 6))
    assert isinstance(degradation, Degradation)
    assert type(degradation).__name__ in repr(degradation)
    hash(degradation)
    with pytest.raises(AttributeError):
        degradation.std = 1.0


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_names_a_path(name):
    """The same seed gives the same answer, whatever was asked before and after; x0 is left alone."""
    x0 = pictures(4, 3, 9, 8)
    before, degradation = x0.clone(), way(name, x0.shape)
    drawn = degradation.draw(x0.shape, seeded(1))
    path = [degradation(x0, times(t, 4), drawn) for t in (0.7, 0.2, 0.7)]
    assert torch.equal(path[0], path[2])
    assert torch.equal(worn(name, x0, 0.7, seeded(1)), path[0])
    assert torch.equal(x0, before)
    other = worn(name, x0, 0.7, seeded(2))
    assert torch.equal(other, path[0]) == (name not in RANDOM)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_batch_is_its_examples(name, channels):
    """n at once are n one by one, each with a t and a generator of its own, wherever it stands in a batch."""
    x0, t = pictures(5, channels, 9, 8, dtype=torch.float64), torch.linspace(0.1, 1, 5, dtype=torch.float64)
    degradation = way(name, x0.shape)
    drawn = degradation.draw(x0.shape, SampleGenerators.of(3, range(5)))
    together = degradation(x0, t, drawn)
    for row in range(5):
        one = slice(row, row + 1)
        alone = degradation.draw(x0[one].shape, SampleGenerators.of(3, [row]))
        assert all(torch.equal(a, b) for a, b in zip(alone, taken(drawn, row), strict=True))
        torch.testing.assert_close(degradation(x0[one], t[one], alone), together[one], rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_the_type_of_a_picture_changes_only_its_digits(name):
    x0 = pictures(3, 3, 16, 16, dtype=torch.float64)
    if name in ROUNDED:
        x0 = (x0 * 8).round() / 8 + 0.03  # far from where rounding turns
    exact, single = worn(name, x0, 0.4), worn(name, x0.float(), 0.4)
    torch.testing.assert_close(single.double(), exact, rtol=0, atol=1e-5 if name != "jpeg" else 0.05)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "custom"])
def test_distance_grows_with_t(name):
    """On average over pictures, root mean square; rounding, which hits or misses, does so over longer steps."""
    x0 = pictures(24, 3, 16, 16)
    drawn = (degradation := way(name, x0.shape)).draw(x0.shape, seeded(0))
    levels = torch.linspace(0, 1, 4 if name in ROUNDED else 9).tolist()
    far = [float((degradation(x0, times(t, 24), drawn) - x0).square().mean().sqrt()) for t in levels]
    assert all(b >= a - 1e-6 for a, b in zip(far[:-1], far[1:], strict=True)), far
    assert far[-1] > 0.05


@pytest.mark.parametrize("name", LINEAR)
def test_linear_ones_are_linear(name):
    x, y = noise(2, 3, 9, 8, seed=1), noise(2, 3, 9, 8, seed=2)
    both = worn(name, 3 * x - 2 * y, 0.6)
    torch.testing.assert_close(both, 3 * worn(name, x, 0.6) - 2 * worn(name, y, 0.6), rtol=0, atol=1e-12)
    flat = torch.full((2, 3, 9, 8), 0.7, dtype=torch.float64)
    torch.testing.assert_close(worn(name, flat, 0.6), flat, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", AFFINE)
def test_affine_ones_take_any_value(name):
    """D(x + y) - D(y) depends on x alone, also far outside of black and white: nothing is clamped."""
    x, y, zero = 9 * noise(2, 3, 9, 8, seed=1), 9 * noise(2, 3, 9, 8, seed=2), torch.zeros(2, 3, 9, 8).double()
    moved, at_zero = worn(name, x + y, 0.6) - worn(name, y, 0.6), worn(name, x, 0.6) - worn(name, zero, 0.6)
    torch.testing.assert_close(moved, at_zero, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", LINEAR)
def test_linear_ones_keep_the_mean_unless_they_move_it(name):
    """A symmetric kernel that is reflected keeps the mean of every channel; a line at an angle only nearly."""
    x0 = pictures(2, 3, 9, 8, dtype=torch.float64)
    moved = (worn(name, x0, 0.8).mean(dim=(2, 3)) - x0.mean(dim=(2, 3))).abs().max()
    assert moved < (0.05 if name == "motion" else 1e-12)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_paths_have_no_jumps(name):
    """A hundredth of the step, about a hundredth of the way, also from t = 0 (variance grows as sqrt(t) there)."""
    x0 = pictures(4, 1, 12, 12, dtype=torch.float64)
    degradation = way(name, x0.shape)
    drawn = degradation.draw(x0.shape, seeded(0))
    for start in (0.0, 0.3, 0.6, 0.999):
        if name == "variance" and start == 0.0:
            continue
        here = degradation(x0, times(start, 4), drawn)
        steps = [(degradation(x0, times(start + h, 4), drawn) - here).abs().max() for h in (1e-3, 1e-5)]
        assert steps[1] < 0.05 * steps[0] + 1e-7


@pytest.mark.parametrize("name", AFFINE)
def test_gradients_are_right(name):
    x0 = noise(2, 3, 4, 5).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: worn(name, x, torch.tensor([0.3, 1.0], dtype=torch.float64)), (x0,), fast_mode=True
    )


@pytest.mark.parametrize("name", ["gaussian", "pixelate", "mask", "fade", "animorph", "animorph, linear"])
@pytest.mark.parametrize("side", [28, 32])
def test_nothing_is_left_at_one(name, side):
    """Two pictures differ at t = 1 only by their mean colours, where even these are kept."""
    x, y = torch.zeros(2, 1, side, side), torch.zeros(2, 1, side, side)
    x[..., : side // 2, :] = 1  # a half, in the longest of waves
    y[..., side // 2 :] = 1
    assert (worn(name, x, 1.0) - worn(name, y, 1.0)).abs().max() < 2.1e-3


def test_what_is_no_batch_of_pictures_is_refused():
    checked = getattr(opened, "__wrapped__", opened)
    with pytest.raises(EbbtideError, match=r"expected \(batch, channels, height, width\)"):
        checked(torch.zeros(3, 28, 28), times(0.5, 3))
    with pytest.raises(EbbtideError, match="divide bytes by 255"):
        checked(torch.zeros(3, 1, 28, 28, dtype=torch.uint8), times(0.5, 3))
    with pytest.raises(EbbtideError, match=r"t.expand\(3\)"):
        checked(torch.zeros(3, 1, 28, 28), times(0.5, 1))


def test_what_another_drew_is_refused():
    x0 = pictures(2, 1, 6, 6)
    with pytest.raises(EbbtideError, match="hand MotionBlur what its own draw gave"):
        MotionBlur()(x0, times(0.5, 2), ())


def test_colours_fit_the_channels():
    x = torch.zeros(2, 3, 4, 4)
    assert painted(0.2, x).shape == (1, 1, 1, 1)
    assert painted((0.1, 0.2, 0.3), x).shape == (1, 3, 1, 1)
    with pytest.raises(EbbtideError, match="give one, or 3"):
        painted((0.1, 0.2), x)
    with pytest.raises(EbbtideError, match="a grey or a number a channel"):
        Fade(())


def test_zero_is_kept_where_the_worn_is_not_finite():
    x0 = pictures(2, 1, 4, 4)
    torch.testing.assert_close(closed(x0, times(0.0, 2), x0 / 0), x0, rtol=0, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_other_places_of_t_and_of_the_draw(name):
    """Nothing asks where t or the drawn lie; on a machine with an accelerator they follow the picture."""
    if not torch.cuda.is_available():
        pytest.skip("no accelerator")
    x0 = pictures(2, 3, 16, 16)
    degradation = way(name, x0.shape)
    drawn = degradation.draw(x0.shape, seeded(0))
    for t in (times(0.4, 2), times(0.4, 2).cuda()):
        found = degradation(x0.cuda(), t, drawn)
        assert found.is_cuda
        if name not in ROUNDED:
            torch.testing.assert_close(found.cpu(), degradation(x0, times(0.4, 2), drawn), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("part", "option", "typo", "message"),
    [
        (GaussianBlur(), "growth", "lineer", "growth='lineer' came.*Did you mean linear"),
        (GaussianBlur(), "edges", "reflected", "edges='reflected' came.*Did you mean reflect"),
        (RepeatedBlur(), "edges", "circular", "edges='circular' came, expected one of reflect, wrap"),
        (Animorph(torch.clone, 3), "weights", "cosin", "weights='cosin' came.*Did you mean cosine"),
    ],
)
def test_typos_are_refused(part, option, typo, message):
    object.__setattr__(part, option, typo)  # past the checks of types that the tests put around every function
    with pytest.raises(EbbtideError, match=message):
        part.__post_init__()


def test_parts_compare_by_value():
    assert GaussianBlur(2.0) == GaussianBlur(2.0) != GaussianBlur(3.0)
