"""Sampling without noise: perfect restorers return the original, wrong ones err as Bansal et al. (2022) derive."""

from dataclasses import dataclass

import pytest
import torch

from ebbtide.corruptions import ColdCorruption, GaussianCorruption
from ebbtide.degradations import Fade, GaussianBlur, GrowingMask, Pixelate
from ebbtide.denoisers import PlainEstimate, PreviousDenoiser
from ebbtide.errors import EbbtideError
from ebbtide.grids import uniform_grid
from ebbtide.levels import along
from ebbtide.randomness import SampleGenerators
from ebbtide.samplers import ColdStep, Previous, Renoise, final, restore
from ebbtide.schedules import CosineSchedule, linear_schedule
from parts import noise

X0 = noise(3, 1, 8, 8).double() * 0.2 + 0.5
STEPS = (1, 2, 5, 17)
KINDS = (GaussianBlur(), Pixelate(), GrowingMask(), Fade())


@dataclass(frozen=True)
class Restorer:
    """Says x0 plus an error of its own at each time."""

    corruption: object
    x0: torch.Tensor
    error: object = lambda t: 0.0

    def __call__(self, xt, t, condition=None):
        return PlainEstimate(self.x0 + self.error(float(t[0])))


@dataclass(frozen=True)
class Shifted:
    """D(x, t) = x + t e: linear in t, with the same e for all x."""

    e: torch.Tensor

    def draw(self, shape, generator):
        return ()

    def __call__(self, x0, t, drawn):
        return x0 + along(t, x0) * self.e


def cold(degradation):
    return ColdCorruption(degradation=degradation, low=0.0, high=1.0)


def restored(sampler, denoiser, steps, start=1.0):
    grid = uniform_grid(denoiser.corruption, steps, start)
    return final(restore(denoiser, sampler, grid, X0, SampleGenerators.of(3, range(len(X0))))[1])


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize(
    "degradation", [GaussianBlur(), Pixelate(), GrowingMask(), Fade()], ids=lambda d: type(d).__name__
)
def test_a_perfect_restorer_returns_the_original(degradation, steps):
    """To rounding for G4, whose terms cancel; to the bit for restoring and degrading again, whose last word is x0."""
    denoiser = Restorer(cold(degradation), X0)
    torch.testing.assert_close(restored(ColdStep(), denoiser, steps), X0, atol=1e-12, rtol=0)
    assert torch.equal(restored(Renoise(), denoiser, steps), X0)


@pytest.mark.parametrize("steps", STEPS)
def test_any_restorer_will_do_where_the_degradation_is_one_shift(steps):
    """xs = x0 + t e - (x̂ + t e) + (x̂ + s e) = x0 + s e, whatever x̂; naive sampling ends with the restorer's error."""
    wrong = Restorer(cold(Shifted(noise(1, 8, 8).double())), X0, lambda t: 0.3 * noise(3, 1, 8, 8).double() * (1 + t))
    torch.testing.assert_close(restored(ColdStep(), wrong, steps), X0, atol=1e-12, rtol=0)
    last = restored(Renoise(), wrong, steps) - X0
    torch.testing.assert_close(last, wrong.error(1 / steps))


@pytest.mark.parametrize("steps", STEPS)
def test_fading_averages_the_restorers_errors_over_the_way(steps):
    """D(x, t) = (1 - t) x + t c: each step leaves (t - s) of its error, where naive sampling keeps the last whole."""
    wrong = Restorer(cold(Fade()), X0, lambda t: t**2 - 0.5)
    grid = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    left = sum(float(t - s) * wrong.error(float(t)) for t, s in zip(grid[:-1], grid[1:], strict=True))
    torch.testing.assert_close(restored(ColdStep(), wrong, steps), X0 + left, atol=1e-12, rtol=0)
    torch.testing.assert_close(restored(Renoise(), wrong, steps), X0 + wrong.error(float(grid[-2])))


def test_a_linear_restorers_bias_is_damped_by_blur():
    """For linear D: error_s = error_t + (D_s - D_t) δ, so of a constant error δ only (1 - D_t) δ arrives at s = 0."""
    blur, delta = GaussianBlur(), noise(1, 1, 8, 8).double()
    wrong = Restorer(cold(blur), X0, lambda t: delta)
    left = restored(ColdStep(), wrong, 7, start=0.3) - X0
    lost = delta - blur(delta, torch.full((1,), 0.3, dtype=torch.float64), ())
    torch.testing.assert_close(left, lost.expand_as(left), atol=1e-12, rtol=0)
    assert left.square().sum() < len(X0) * delta.square().sum()


def test_one_path_is_followed_where_chance_has_a_part():
    """The mask that hides a picture is the one that is lifted: what has been seen is never hidden again."""
    denoiser = Restorer(cold(GrowingMask()), X0, lambda t: 0.0)
    grid = uniform_grid(denoiser.corruption, 4)
    xt, steps = restore(denoiser, Renoise(), grid, X0, SampleGenerators.of(3, range(3)))
    seen = [xt, *(step.x for step in steps)]
    hidden = [(x - X0).abs() > 1e-9 for x in seen]
    for before, after in zip(hidden[:-1], hidden[1:], strict=True):
        assert not (after & ~before).any()


def test_only_settled_degradations_can_be_taken_back():
    x, t = X0.float(), torch.ones(3, dtype=torch.float64)
    for corruption in (cold(Fade()), GaussianCorruption(CosineSchedule())):
        with pytest.raises(EbbtideError, match="settled"):
            ColdStep()(Restorer(corruption, x), x, t, 0 * t, None, torch.Generator(), None)


def test_the_previous_latent_is_taken_at_its_word_one_step_at_a_time():
    denoiser = PreviousDenoiser(lambda x, t, condition: x / 2, GaussianCorruption(linear_schedule(4)))
    t = torch.full((3,), 0.5, dtype=torch.float64)
    assert torch.equal(Previous()(denoiser, X0, t, t - 0.25, None, torch.Generator(), None).xs, X0 / 2)
    with pytest.raises(EbbtideError, match="single steps of 1/4"):
        Previous()(denoiser, X0, t, t - 0.5, None, torch.Generator(), None)
