"""Losses for any corruption: what minimises each error, what is compared with what, and what is refused."""

from dataclasses import dataclass

import pytest
import torch

from ebbtide.conditions import Condition
from ebbtide.corruptions import ColdCorruption, Corrupted, GaussianCorruption
from ebbtide.degradations import Custom, Fade
from ebbtide.denoisers import PreviousDenoiser, RestoringDenoiser, Values
from ebbtide.errors import EbbtideError
from ebbtide.objectives import PreviousObjective, ReadObjective, RestoringObjective
from ebbtide.schedules import CosineSchedule
from parts import noise, seeded

FADE = ColdCorruption(degradation=Fade(), low=-1.0, high=1.0)
X0 = (noise(500, 1, 2, 2, dtype=torch.float32) > 0.4).float() * 2 - 1


@dataclass(frozen=True)
class Staircase:
    """x_l = x0 + l: a corruption of four steps whose previous latent is known."""

    steps: int = 4

    def corrupt(self, x0, t, generator):
        return Corrupted(x0 + (t * self.steps).round().reshape(-1, 1, 1, 1).to(x0), None)

    def prior(self, shape, generator):
        return torch.zeros(tuple(shape))

    def successive(self, x0, t, generator):
        return self.corrupt(x0, t - 1 / self.steps, generator).xt, self.corrupt(x0, t, generator).xt


def told(values, error="squared", count=40_000):
    """The constant answer at which the mean error is least, by golden section over a wide range."""
    objective = RestoringObjective(corruption=FADE, error=error, limits=(-1.0, 1.0))
    low, high = -6.0, 6.0
    for _ in range(60):
        one, two = low + 0.382 * (high - low), low + 0.618 * (high - low)
        costs = [float(objective.errors(torch.full_like(values, y), values).mean()) for y in (one, two)]
        low, high = (low, two) if costs[0] < costs[1] else (one, high)
    return (low + high) / 2


def test_each_error_is_least_at_the_statistic_that_it_is_known_for():
    values = (noise(2001, 1, 1, 1) * 0.3).exp() - 1.5
    assert told(values) == pytest.approx(float(values.mean()), abs=1e-5)
    assert told(values, "absolute") == pytest.approx(float(values.median()), abs=3e-3)
    white = (X0[:, :1] + 1) / 2
    answer = Values(limits=(0.0, 1.0), log_odds=True).read(torch.tensor([told(X0[:, :1].double(), "bernoulli")]))
    assert float(answer) == pytest.approx(float(white.mean()), abs=1e-4)


def test_the_bernoulli_error_is_the_likelihood_in_nats():
    p = torch.tensor([0.1, 0.5, 0.93], dtype=torch.float64)
    logits = (p / (1 - p)).log()
    objective = RestoringObjective(corruption=FADE, error="bernoulli", limits=(-1.0, 1.0))
    for target, expected in ((1.0, -p.log()), (-1.0, -(1 - p).log())):
        torch.testing.assert_close(objective.errors(logits, torch.full_like(p, target)), expected)


@pytest.mark.parametrize("error", ["squared", "absolute"])
def test_the_network_is_shown_the_corrupted_and_compared_with_the_original(error):
    shown = []

    def network(x, t, condition):
        shown.append((x, t))
        return x

    losses = RestoringObjective(corruption=FADE, error=error)(network, X0, Condition(), seeded(0))
    (xt, t), *rest = shown
    assert not rest
    worn = FADE.corrupt(X0, t.double(), seeded(1)).xt
    torch.testing.assert_close(xt, worn, atol=1e-6, rtol=1e-5)
    away = (worn - X0).flatten(1)
    expected = away.square().mean(1) if error == "squared" else away.abs().mean(1)
    torch.testing.assert_close(losses.values, expected, atol=1e-6, rtol=1e-4)
    assert losses.times.shape == (500,)
    assert (losses.times > 0).all()


def test_the_previous_latent_is_the_target_where_it_is_predicted():
    objective = PreviousObjective(corruption=Staircase())
    assert isinstance(objective, ReadObjective)
    perfect = objective(lambda x, t, condition: x - 1, X0, Condition(), seeded(0))
    assert perfect.values.abs().max() < 1e-5
    assert set((perfect.times * 4).tolist()) == {1.0, 2.0, 3.0, 4.0}
    assert objective(lambda x, t, condition: x, X0, Condition(), seeded(0)).values.min() > 0.99


def test_denoisers_read_answers_within_the_limits():
    x, t = noise(3, 1, 2, 2), torch.full((3,), 0.5, dtype=torch.float64)
    plain = RestoringObjective(corruption=FADE, limits=(-1.0, 1.0)).denoiser(lambda x, t, condition: 9 * x)
    assert isinstance(plain, RestoringDenoiser)
    assert torch.equal(plain(x, t).x0, (9 * x).clamp(-1, 1))
    odds = RestoringObjective(corruption=FADE, error="bernoulli", limits=(-1.0, 1.0))
    torch.testing.assert_close(odds.denoiser(lambda x, t, condition: x)(x, t).x0, 2 * x.sigmoid() - 1)
    previous = PreviousObjective(corruption=Staircase()).denoiser(lambda x, t, condition: 9 * x)
    assert isinstance(previous, PreviousDenoiser)
    assert torch.equal(previous(x, t).previous, 9 * x)


def test_wrong_choices_are_refused():
    with pytest.raises(EbbtideError, match="log-odds"):
        RestoringObjective(corruption=FADE, error="bernoulli")
    for corruption in (FADE, GaussianCorruption(CosineSchedule())):
        with pytest.raises(EbbtideError, match="has no steps"):
            PreviousObjective(corruption=corruption)


def test_a_degradation_with_parameters_of_its_own_gets_its_gradient():
    """An encoder need not be fixed: what the loss says of it arrives where it is differentiable."""
    strength = torch.tensor(0.5, requires_grad=True)
    fade = Custom(lambda x0, t: x0 * (1 - strength * t.to(x0).reshape(-1, 1, 1, 1)))
    objective = RestoringObjective(corruption=ColdCorruption(degradation=fade, low=0.0, high=1.0))
    objective(lambda x, t, condition: x, X0, Condition(), seeded(0)).values.mean().backward()
    assert strength.grad > 0  # the more is taken away, the farther is what is left from x0
