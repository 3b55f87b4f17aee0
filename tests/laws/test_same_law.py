"""Steps taken one by one, steps taken at once, and direct samples are the same law."""

import pytest
import torch

from ebbtide.corruptions import GaussianCorruption
from ebbtide.gaussian import Gaussian
from parts import SCHEDULES, corruption_of, noise, times_of

X0 = noise(1, 4, seed=1)


@pytest.fixture(params=SCHEDULES)
def corruption(request):
    return corruption_of(request.param)


def same_law(one: Gaussian, other: Gaussian, rel: float = 1e-9):
    assert torch.allclose(one.mean, other.mean, rtol=rel, atol=1e-12)
    assert torch.allclose(one.variances, other.variances, rtol=rel, atol=1e-15)


def pushed(law: Gaussian, corruption: GaussianCorruption, s, t) -> Gaussian:
    """A law at s after the step to t, in closed form; the step's scale and shift are read off its mean."""
    scale = corruption.step(torch.ones(1, 1, dtype=torch.float64), s, t).mean[0, 0]
    step = corruption.step(torch.zeros_like(law.mean), s, t)
    return law.then(scale, step.covariance, step.mean)


def all_times(corruption):
    return torch.cat([torch.zeros(1, dtype=torch.float64), times_of(corruption.schedule)])


def triples(corruption):
    times = all_times(corruption)
    return [times[list(i)].unsqueeze(1) for i in ((0, 1, 2), (0, 2, 6), (1, 2, 6), (2, 4, 5), (1, 5, 6))]


def test_steps_from_s_to_u_to_t_are_the_step_from_s_to_t(corruption):
    for s, u, t in triples(corruption):
        start = corruption.marginal(X0, s)
        same_law(pushed(pushed(start, corruption, s, u), corruption, u, t), pushed(start, corruption, s, t))


def test_chained_steps_and_direct_samples_have_the_same_law(corruption):
    times = all_times(corruption)
    law = corruption.marginal(X0, times[:1])
    for s, t in zip(times[:-1], times[1:], strict=True):
        law = pushed(law, corruption, s.view(1), t.view(1))
        same_law(law, corruption.marginal(X0, t.view(1)))


@pytest.mark.parametrize("name", ["linear", "list"])
def test_all_single_steps_of_a_table_lead_to_its_last_direct_sample(name):
    corruption = corruption_of(name)
    steps = corruption.schedule.steps
    grid = torch.arange(steps + 1, dtype=torch.float64) / steps
    law = corruption.marginal(X0, grid[:1])
    for index in range(steps):
        law = pushed(law, corruption, grid[index : index + 1], grid[index + 1 : index + 2])
    same_law(law, corruption.marginal(X0, grid[-1:]))


def test_the_posterior_averaged_over_xt_is_the_marginal_at_s(corruption):
    for s, _, t in triples(corruption):
        scale = corruption.posterior(
            torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64), s, t
        )
        from_data = corruption.posterior(torch.zeros_like(X0), X0, s, t)
        averaged = corruption.marginal(X0, t).then(scale.mean[0, 0], from_data.covariance, from_data.mean)
        same_law(averaged, corruption.marginal(X0, s))
