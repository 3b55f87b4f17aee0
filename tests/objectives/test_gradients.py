"""Item E12: mean and noise of the gradient at each level, against quadrature and a straightforward implementation."""

import numpy as np
import pytest
import torch
from torch import nn

from ebbtide.conditions import Condition
from ebbtide.corruptions import GaussianCorruption
from ebbtide.errors import EbbtideError
from ebbtide.levels import weight_between
from ebbtide.networks import Mlp
from ebbtide.objectives import BoundWeight, DenoisingObjective, StepObjective, VarianceObjective, gradient_moments
from ebbtide.schedules import linear_schedule
from parts import COSINE, SIGMAS, noise, perturbed, seeded

CORRUPTION = GaussianCorruption(COSINE)
TABLE = GaussianCorruption(linear_schedule(20))
POINTS = 0.7 + 0.5 * noise(6, 1, seed=3)
T = torch.tensor([0.1, 0.5, 1.0], dtype=torch.float64)


class Line(nn.Module):
    """slope x + shift, and a parameter that it does not use."""

    def __init__(self, slope=0.4, shift=0.9):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(slope, dtype=torch.float64))
        self.shift = nn.Parameter(torch.tensor(shift, dtype=torch.float64))
        self.unused = nn.Parameter(torch.ones(3, dtype=torch.float64))

    def forward(self, x, t, condition):
        return self.slope * x + self.shift


def exact(network, t):
    """Loss, ‖E g‖² and tr Cov g of the noise loss over POINTS, by Gauss-Hermite quadrature, exact for polynomials."""
    eps, mass = (torch.from_numpy(values) for values in np.polynomial.hermite_e.hermegauss(8))
    mass = mass / mass.sum()
    level = CORRUPTION.level(t)
    xt = level.alpha * POINTS + level.sigma * eps
    rest = network.slope.item() * xt + network.shift.item() - eps
    gradient = torch.stack([2 * rest * xt, 2 * rest])
    mean, square = ((values * mass).sum(-1).mean(-1) for values in (gradient, gradient.square()))
    return float((rest.square() * mass).sum(1).mean()), float(mean.square().sum()), float((square - mean**2).sum())


@pytest.mark.parametrize(("draws", "batch"), [(2, 32), (4, 4)])
def test_the_moments_of_a_line_are_those_of_quadrature_whatever_the_draws_and_the_batch(draws, batch):
    objective, network, repeats = DenoisingObjective(corruption=CORRUPTION), Line(shift=3.0), 120
    times = torch.full((repeats,), 0.6, dtype=torch.float64)
    found = gradient_moments(objective, network, POINTS, Condition(), times, seeded(1), draws=draws, batch=batch)
    estimates = (found.loss, found.norm**2, found.noise**2)
    for estimate, truth in zip(estimates, exact(network, times[0]), strict=True):
        assert (estimate.mean() - truth).abs() < SIGMAS * estimate.std() / repeats**0.5
        assert SIGMAS * estimate.std() / repeats**0.5 < 0.8 * truth


def by_hand(objective, network, x0, t, generator, draws, batch):
    """‖E g‖² as the mean of products of different gradients, tr Cov g from all their differences."""
    gradients = []
    for _ in range(draws):
        pick = torch.randint(len(x0), (batch,), generator=generator)
        network.zero_grad()
        objective.at(t)(network, x0[pick], Condition(), generator).values.mean().backward()
        gradients.append(torch.cat([p.grad.flatten().double() for p in network.parameters()]))
    pairs = [(i, j) for i in range(draws) for j in range(draws) if i != j]
    product = sum(gradients[i] @ gradients[j] for i, j in pairs) / len(pairs)
    apart = sum((gradients[i] - gradients[j]).square().sum() for i, j in pairs) / len(pairs)
    return product.item(), batch * apart.item() / 2


OBJECTIVES = {
    "E1": StepObjective(corruption=TABLE, predicts="previous"),
    "E4": DenoisingObjective(corruption=TABLE),
    "D7": VarianceObjective(corruption=TABLE),
}


def mlp(outputs=1):
    torch.manual_seed(0)
    return perturbed(Mlp(2, width=16, depth=1, outputs=outputs))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_moments_are_those_of_gradients_compared_two_by_two(name):
    objective, network, x0 = OBJECTIVES[name], mlp(2 if name == "D7" else 1), 1 + noise(9, 2, dtype=torch.float32)
    found = gradient_moments(objective, network, x0, Condition(), T, seeded(2), draws=4, batch=6)
    generator = seeded(2)
    for t, norm, spread in zip(T.tolist(), found.norm.tolist(), found.noise.tolist(), strict=True):
        product, trace = by_hand(objective, network, x0, t, generator, 4, 6)
        assert spread**2 == pytest.approx(trace, rel=1e-5)
        assert norm**2 == pytest.approx(max(product, 0.0), rel=1e-4, abs=1e-5 * trace)
    assert (found.norm > 0).any()


def test_a_weight_multiplies_gradient_and_noise_alike():
    """E2's gradient on a decoder of eps is beta² / ((1 - beta)(1 - abar)) times E4's, whatever the network."""
    network, x0 = mlp(), 1 + noise(50, 2, dtype=torch.float32)
    times = torch.tensor([0.05, 0.5, 1.0], dtype=torch.float64)
    betas = linear_schedule(20).betas
    index = (times * 20).round().long() - 1
    beta, abar = betas[index], (1 - betas).cumprod(0)[index]
    weights = {
        "previous": (DenoisingObjective(corruption=TABLE, measured="previous"), beta**2 / (1 - beta) / (1 - abar)),
        "score": (DenoisingObjective(corruption=TABLE, measured="score"), 1 / (1 - abar)),
        "bound": (
            DenoisingObjective(corruption=TABLE, measured="x0", weight=BoundWeight()),
            weight_between(TABLE.level(times), "eps", "x0") * BoundWeight()(TABLE, times),
        ),
    }
    plain = gradient_moments(DenoisingObjective(corruption=TABLE), network, x0, Condition(), times, seeded(4))
    for objective, weight in weights.values():
        found = gradient_moments(objective, network, x0, Condition(), times, seeded(4))
        assert torch.allclose(found.loss, weight * plain.loss, rtol=1e-4)
        assert torch.allclose(found.noise, weight * plain.noise, rtol=1e-4)
        # ‖E g‖² is a difference
        assert ((found.norm**2 - (weight * plain.norm) ** 2).abs() < 1e-4 * found.noise**2).all()
        assert torch.allclose(found.signal_to_noise**2, (plain.norm / plain.noise) ** 2, rtol=0, atol=1e-4)
    assert (plain.norm > 0.1 * plain.noise).any()


def test_where_the_loss_is_least_the_mean_gradient_is_lost_in_noise_but_is_a_number():
    """Data at one point m: eps = (xt - alpha m) / sigma has neither gradient nor noise; a wrong slope has both."""
    level = CORRUPTION.level(T[1])
    slope = float(1 / level.sigma)
    point = torch.full((1, 1), 0.3, dtype=torch.float64)
    best = Line(slope, -float(level.alpha) * 0.3 * slope)
    times = T[1].expand(10)
    found = gradient_moments(DenoisingObjective(corruption=CORRUPTION), best, point, Condition(), times, seeded(0))
    assert max(found.loss.max(), found.norm.max(), found.noise.max()) < 1e-12
    symmetric = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    gain = float(level.sigma / (level.alpha**2 + level.sigma**2))
    found = gradient_moments(
        DenoisingObjective(corruption=CORRUPTION), Line(gain, 0.0), symmetric, Condition(), times, seeded(0)
    )
    assert ((found.norm < found.noise / 2) & (found.noise > 0.1)).all()
    assert (found.norm == 0).any()


def test_the_record_names_its_levels_and_the_network_is_left_as_it_was():
    network = mlp()
    weights = [p.detach().clone() for p in network.parameters()]
    for p in network.parameters():
        p.grad = torch.full_like(p, 7.0)
    found = gradient_moments(
        DenoisingObjective(corruption=TABLE), network, noise(5, 2).float(), Condition(), T, seeded(0), draws=2
    )
    assert torch.equal(found.t, T)
    assert torch.equal(found.log_snr, TABLE.level(T).log_snr)
    assert all((p.grad == 7).all() for p in network.parameters())
    assert all(torch.equal(p, before) for p, before in zip(network.parameters(), weights, strict=True))


def test_examples_keep_their_conditions_and_all_are_drawn():
    seen = []

    class Told(Line):
        def forward(self, x, t, condition):
            seen.append(condition.label)
            return super().forward(x, t, condition)

    data = torch.arange(5, dtype=torch.float64).unsqueeze(1)
    objective = DenoisingObjective(corruption=CORRUPTION, predicts="x0")
    network, label = Told(1.0, 0.0), Condition(label=torch.arange(5))
    tiny = torch.tensor([1e-6], dtype=torch.float64)
    found = gradient_moments(objective, network, data, label, tiny, seeded(0), draws=3, batch=40)
    assert torch.cat(seen).unique().tolist() == [0, 1, 2, 3, 4]
    assert found.loss.item() < 1e-4


@pytest.mark.parametrize(
    ("options", "t", "word"),
    [({"draws": 1}, 0.5, "draws=1"), ({"batch": 0}, 0.5, "batch=0"), ({}, 0.0, "times"), ({}, 1.1, "times")],
)
def test_what_cannot_be_measured_is_refused(options, t, word):
    times = torch.tensor([0.5, t], dtype=torch.float64)
    with pytest.raises(EbbtideError, match=word):
        gradient_moments(
            DenoisingObjective(corruption=CORRUPTION), Line(), POINTS, Condition(), times, seeded(0), **options
        )
