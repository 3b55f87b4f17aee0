"""Item D7: the hybrid loss teaches the variance and leaves the mean alone; its minimum in closed form."""

from dataclasses import replace
from itertools import product

import pytest
import torch

from ebbtide.conditions import Condition
from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers import GaussianOracle, VarianceEstimate
from ebbtide.errors import EbbtideError
from ebbtide.gaussian import Diagonal, Gaussian, Spherical, kl
from ebbtide.levels import KINDS, STEP_KINDS
from ebbtide.networks import Mlp
from ebbtide.objectives import DenoisingObjective, VarianceObjective
from ebbtide.schedules import linear_schedule
from parts import noise, perturbed, seeded

SCHEDULE = linear_schedule(30)
CORRUPTION = GaussianCorruption(SCHEDULE)
BETAS = SCHEDULE.betas
ABAR = (1 - BETAS).cumprod(0)
HYBRID = VarianceObjective(corruption=CORRUPTION, share=0.01)
ALL_STEPS = torch.arange(1, 31, dtype=torch.float64) / 30


def variances(step):
    """beta and btilde of one step, in Ho's numbers."""
    beta, abar = BETAS[step - 1], ABAR[step - 1]
    return beta, (1 - abar / (1 - beta)) / (1 - abar) * beta


def small():
    torch.manual_seed(0)
    return perturbed(Mlp(2, width=8, depth=1, outputs=2))


def parts_of(share, *, size=3, kind="eps"):
    """x0 and an estimate with any prediction, one example for each step of the table."""
    level = CORRUPTION.level(ALL_STEPS)
    x0 = noise(30, size, seed=1)
    xt = level.mix(x0, noise(30, size, seed=2))
    pair = CORRUPTION.pair(kind, ALL_STEPS)
    return x0, VarianceEstimate(xt, level, pair, noise(30, size, seed=3), share=share)


@pytest.mark.parametrize("kind", [*KINDS, *STEP_KINDS])
def test_the_cost_of_a_step_is_the_divergence_in_hos_numbers(kind):
    x0, estimate = parts_of(noise(30, 3, seed=4), kind=kind)
    cost = HYBRID.step_cost(estimate, x0, ALL_STEPS)
    for step in range(2, 31):
        beta, btilde = variances(step)
        row = step - 1
        eps = estimate.as_("eps")[row]
        mean = (estimate.xt[row] - beta / (1 - ABAR[row]).sqrt() * eps) / (1 - beta).sqrt()
        truth = (estimate.xt[row] - ABAR[row].sqrt() * x0[row]) / (1 - ABAR[row]).sqrt()
        target = (estimate.xt[row] - beta / (1 - ABAR[row]).sqrt() * truth) / (1 - beta).sqrt()
        law = Gaussian(mean, Diagonal(beta ** estimate.share[row] * btilde ** (1 - estimate.share[row])))
        term = kl(Gaussian(target, Spherical(btilde)), law)
        assert cost[row].item() == pytest.approx(30 * term.item() / 3, rel=1e-7)


def test_the_loss_is_the_mean_loss_and_the_share_of_the_cost():
    network = small()
    x0 = noise(40, 2, dtype=torch.float32)
    seen = []

    def watched(x, t, condition):
        seen.append((x, t, network(x, t, condition)))
        return seen[-1][2]

    values = {share: replace(HYBRID, share=share)(watched, x0, Condition(), seeded(3)) for share in (0.01, 2.0)}
    mean = DenoisingObjective(corruption=CORRUPTION)(
        lambda x, t, condition: network(x, t, condition)[:, :2], x0, Condition(), seeded(3)
    )
    xt, _, answer = seen[0]
    estimate = VarianceEstimate(xt, CORRUPTION.level(mean.times), "eps", answer[:, :2], share=(answer[:, 2:] + 1) / 2)
    cost = HYBRID.step_cost(estimate, x0, mean.times)
    assert (cost > 0).any()
    for share, losses in values.items():
        assert torch.equal(losses.times, mean.times)
        assert torch.allclose(losses.values, mean.values + share * cost, rtol=1e-5)


@pytest.mark.parametrize("predicts", ["eps", "v", "previous"])
def test_the_bound_teaches_the_variance_only(predicts):
    """The gradient of the mean's channels is that of the loss without the bound."""
    hybrid = replace(HYBRID, predicts=predicts, measured="eps", share=5.0)
    plain = DenoisingObjective(corruption=CORRUPTION, predicts=predicts, measured="eps")
    x0 = noise(30, 2, seed=1)
    answer = noise(30, 4, seed=5).requires_grad_()
    hybrid(lambda x, t, condition: answer, x0, Condition(), seeded(2)).values.sum().backward()
    half = answer.detach()[:, :2].clone().requires_grad_()
    plain(lambda x, t, condition: half, x0, Condition(), seeded(2)).values.sum().backward()
    assert torch.equal(answer.grad[:, :2], half.grad)
    assert (answer.grad[:, 2:].abs() > 0).any(1).sum() == 29


SIGNS = torch.tensor(list(product((-1.0, 1.0), repeat=2)), dtype=torch.float64)
"""Four points with the first three moments of two independent standard normal numbers: exact means of squares."""


@pytest.mark.parametrize("step", [2, 5, 15, 30])
@pytest.mark.parametrize("spread", [0.05, 0.5, 0.95])
def test_the_share_it_is_least_at_gives_the_true_variance_of_the_step_for_gaussian_data(spread, step):
    """btilde + a² Cov[x0 | xt], a = sqrt(abar_s) beta / (1 - abar): the variance of xs given xt alone."""
    oracle = GaussianOracle(
        torch.zeros(1, dtype=torch.float64), torch.full((1, 1), spread, dtype=torch.float64), CORRUPTION
    )
    (beta, btilde), abar = variances(step), ABAR[step - 1]
    left = spread * (1 - abar) / (abar * spread + 1 - abar)
    best = btilde + abar / (1 - beta) * (beta / (1 - abar)) ** 2 * left
    assert btilde < best < beta
    t = torch.full((4,), step / 30, dtype=torch.float64)
    level = CORRUPTION.level(t)
    x0 = spread**0.5 * SIGNS[:, :1]
    xt = level.mix(x0, SIGNS[:, 1:])

    def slope(share):
        raw = torch.full((4, 1), share, dtype=torch.float64, requires_grad=True)
        estimate = VarianceEstimate(xt, level, "eps", oracle(xt, t).eps, share=raw)
        cost = HYBRID.step_cost(estimate, x0, t).mean()
        return torch.autograd.grad(cost, raw)[0].sum().item()

    share = ((best / btilde).log() / (beta / btilde).log()).item()
    scale = abs(slope(share + 0.1))
    assert abs(slope(share)) < 1e-7 * scale
    assert slope(share + 0.1) > 0 > slope(share - 0.1)


def test_the_first_step_costs_nothing_and_gradients_stay_finite():
    x0, plain = parts_of(noise(30, 3, seed=4).requires_grad_())
    cost = HYBRID.step_cost(plain, x0, ALL_STEPS)
    cost.sum().backward()
    assert cost[0] == 0
    assert (cost[1:] > 0).all()
    assert plain.share.grad.isfinite().all()
    assert (plain.share.grad[0] == 0).all()
    assert (plain.share.grad[1:] != 0).all()
    network = small()
    one = HYBRID.at(1 / 30)(network, noise(8, 2).float(), Condition(), seeded(0)).values
    mean = DenoisingObjective(corruption=CORRUPTION).at(1 / 30)(
        lambda x, t, condition: network(x, t, condition)[:, :2], noise(8, 2).float(), Condition(), seeded(0)
    )
    assert torch.equal(one, mean.values)
    one.sum().backward()
    assert all(p.grad.isfinite().all() for p in network.parameters())


def test_examples_at_the_first_step_do_not_change_the_others():
    x0, estimate = parts_of(noise(30, 3, seed=4))
    later = VarianceEstimate(
        estimate.xt[1:], CORRUPTION.level(ALL_STEPS[1:]), "eps", estimate.prediction[1:], share=estimate.share[1:]
    )
    whole = HYBRID.step_cost(estimate, x0, ALL_STEPS)
    assert torch.allclose(HYBRID.step_cost(later, x0[1:], ALL_STEPS[1:]), whole[1:], rtol=1e-9)


def test_the_denoiser_of_the_objective_reads_both_halves():
    answer = noise(4, 6, seed=1)
    xt, t = noise(4, 3), ALL_STEPS[[0, 3, 9, 29]]
    estimate = replace(HYBRID, predicts="v").denoiser(lambda x, t, condition: answer)(xt, t)
    assert torch.equal(estimate.v, answer[:, :3])
    assert torch.equal(estimate.share, (answer[:, 3:] + 1) / 2)


@pytest.mark.parametrize("share", [0.0, -1.0])
def test_a_share_of_nothing_is_refused(share):
    with pytest.raises(EbbtideError, match=f"share={share}"):
        VarianceObjective(corruption=CORRUPTION, share=share)
