"""Items E1, E2, E3, E5, E6 (and D1, D4): one minimiser for all, less noise where the target is expected, not drawn."""

from dataclasses import replace

import pytest
import torch

from ebbtide.conditions import Condition
from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers import GaussianOracle, MixtureOracle, NetworkDenoiser
from ebbtide.errors import EbbtideError
from ebbtide.levels import KINDS, STEP_KINDS, Pair
from ebbtide.networks import Mlp
from ebbtide.objectives import BoundWeight, DenoisingObjective, GaussianObjective, StepObjective, VarianceObjective
from ebbtide.schedules import table
from parts import COSINE, SIGMAS, noise, perturbed, seeded

BETAS = torch.tensor([0.1, 0.02, 0.3, 0.05, 0.5, 0.2, 0.7, 0.4], dtype=torch.float64)
CORRUPTION = GaussianCorruption(table(BETAS))
ABAR = (1 - BETAS).cumprod(0)
COUNT = 20_000
MEAN, SPREAD = 0.5, 0.6
GAUSSIAN = GaussianOracle(
    torch.tensor([MEAN], dtype=torch.float64), torch.tensor([[SPREAD]], dtype=torch.float64), CORRUPTION
)
MIXTURE = MixtureOracle.spherical(torch.tensor([0.4, 0.6], dtype=torch.float64), noise(2, 2, seed=7), 0.2, CORRUPTION)

DRAWN = {kind: StepObjective(corruption=CORRUPTION, predicts=kind) for kind in STEP_KINDS}
EXPECTED = {kind: DenoisingObjective(corruption=CORRUPTION, predicts=kind) for kind in (*KINDS, *STEP_KINDS)}
ALL = {
    "E1": DRAWN["previous"],
    "E6": DRAWN["step_noise"],
    "E2": EXPECTED["previous"],
    "E2 of eps": DenoisingObjective(corruption=CORRUPTION, measured="previous"),
    "E3": DenoisingObjective(corruption=CORRUPTION, measured="x0", weight=BoundWeight()),
    "E4": EXPECTED["eps"],
    "E5": EXPECTED["x0"],
    "E5 of eps": DenoisingObjective(corruption=CORRUPTION, measured="x0"),
    "E7": EXPECTED["score"],
    "D4 expected": EXPECTED["step_noise"],
}


def at(step, count=COUNT):
    return torch.full((count,), step / len(BETAS), dtype=torch.float64)


def line_of(oracle, kind, step):
    """The oracle's answer in a kind as slope xt + shift, read off at 0 and 1; data on a line."""
    two = at(step, 2)
    answers = oracle(torch.tensor([[0.0], [1.0]], dtype=torch.float64), two).as_(CORRUPTION.pair(kind, two))
    return (answers[1] - answers[0]).item(), answers[0].item()


def pulls(objective, x0, step, slope, shift, seed):
    """The gradient of each example's loss by the decoder's slope and shift, (batch, 2)."""
    line = torch.tensor([slope, shift], dtype=torch.float64).expand(len(x0), 2).clone().requires_grad_()
    losses = objective.at(step / len(BETAS))(
        lambda x, t, condition: line[:, :1] * x + line[:, 1:], x0, Condition(), seeded(seed)
    )
    return torch.autograd.grad(losses.values.sum(), line)[0]


def gaussian_data(seed=1):
    return MEAN + SPREAD**0.5 * noise(COUNT, 1, seed=seed)


@pytest.mark.parametrize("step", [1, 2, 8])
@pytest.mark.parametrize("name", ALL)
def test_every_loss_is_least_at_the_oracles_slope_and_shift_and_nowhere_else(name, step):
    """Each is a convex square in slope and shift: where the gradient is 0, it is least."""
    objective = ALL[name]
    slope, shift = line_of(GAUSSIAN, objective.predicts, step)
    best = pulls(objective, gaussian_data(), step, slope, shift, seed=2)
    assert (best.mean(0).abs() <= SIGMAS * best.std(0) / COUNT**0.5 + 1e-12).all()
    for away in (0.3, -0.3):
        assert pulls(objective, gaussian_data(), step, slope + away, shift, seed=2).mean(0)[0] * away > 0
        assert pulls(objective, gaussian_data(), step, slope, shift + away, seed=2).mean(0)[1] * away > 0


def mixture_data():
    pick = (torch.rand(COUNT, generator=seeded(5)) < MIXTURE.weights[1]).long()
    return torch.stack([component.mean for component in MIXTURE.components])[pick] + 0.2 * noise(COUNT, 2, seed=6)


MOVES = {
    "constant": lambda best, x: torch.tensor([0.3, -0.2], dtype=x.dtype).expand_as(x),
    "smaller": lambda best, x: -0.1 * best,
    "a wave": lambda best, x: 0.2 * torch.sin(3 * x.flip(1)),
}


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("name", ALL)
def test_moving_a_mixtures_oracle_raises_every_loss_by_the_weight_times_the_square(name, move):
    objective, t, x0 = ALL[name], at(4), mixture_data()
    moves = []

    def network(scale):
        def answer(x, t, condition):
            best = MIXTURE(x, t).as_(CORRUPTION.pair(objective.predicts, t))
            moves.append(scale * MOVES[move](best, x))
            return best + moves[-1]

        return answer

    def losses(scale):
        return objective.at(float(t[0]))(network(scale), x0, Condition(), seeded(8)).values

    raised = losses(1.0) - losses(0.0)
    weight = torch.ones(())
    if isinstance(objective, DenoisingObjective):
        unit = torch.ones(1, 1, dtype=torch.float64)
        own = objective.corruption.pair(objective.predicts, t[:1])
        weight = objective.error(own.a.unsqueeze(1) + unit, unit, 0 * unit, t[:1])
    expected = weight * moves[0].square().mean(1)
    difference = raised - expected
    assert difference.mean().abs() < SIGMAS * difference.std() / COUNT**0.5 + 1e-12
    assert raised.mean() > 0


@pytest.mark.parametrize("step", [1, 2, 4, 5, 8])
@pytest.mark.parametrize("kind", STEP_KINDS)
def test_a_drawn_target_has_the_expected_ones_gradient_and_more_variance_by_the_closed_form(kind, step):
    """At the oracle the residual r does not depend on xt, and the gradient by the slope is 2 r xt.

    Expected target: r has variance c² Cov[x0 | xt], c being what the target moves with x0 at given xt. Drawn: the
    target's own variance given x0 and xt is added, btilde for xs and btilde (1 - beta) / beta for the noise of the
    step. Either way the factor is

        1 + (1 - abar_s) / (abar_s share Cov[x0 | xt]),   share = beta / (1 - abar)

    with Cov[x0 | xt] = v (1 - abar) / Var xt, and 1 at the first step, where xs is x0 itself.
    """
    slope, shift = line_of(GAUSSIAN, kind, step)
    x0 = gaussian_data()
    drawn = pulls(DRAWN[kind], x0, step, slope, shift, seed=3)
    expected = pulls(EXPECTED[kind], x0, step, slope, shift, seed=4)
    abar, beta = ABAR[step - 1], BETAS[step - 1]
    before = abar / (1 - beta)
    share, left = beta / (1 - abar), SPREAD * (1 - abar) / (abar * SPREAD + 1 - abar)
    factor = 1 + (1 - before) / (before * share * left)
    assert abs(factor - 1) < 1e-9 if step == 1 else factor > 1.2
    squares = [values[:, 0].square() for values in (drawn, expected)]
    ratio = squares[0].mean() / squares[1].mean()
    error = sum((values.std() / values.mean()).square() / COUNT for values in squares).sqrt()
    assert (ratio / factor - 1).abs() < SIGMAS * error
    assert SIGMAS * error < 0.3


@pytest.mark.parametrize("step", [2, 7])
@pytest.mark.parametrize("kind", STEP_KINDS)
def test_away_from_the_minimum_too_the_mean_gradients_agree(kind, step):
    x0 = gaussian_data()
    drawn, expected = pulls(DRAWN[kind], x0, step, 0.1, 0.4, 5), pulls(EXPECTED[kind], x0, step, 0.1, 0.4, 6)
    error = ((drawn.var(0) + expected.var(0)) / COUNT).sqrt()
    assert ((drawn.mean(0) - expected.mean(0)).abs() < SIGMAS * error).all()
    assert (expected.mean(0).abs() > 2 * SIGMAS * error).any()


@pytest.mark.parametrize("step", [1, 3, 8])
def test_the_previous_latent_is_the_noise_of_the_step_under_the_weight_beta_over_1_minus_beta(step):
    """The lectures' eps-decoder, dec = (z_l - sqrt(beta) eps_hat) / sqrt(1 - beta), draw by draw."""
    beta = BETAS[step - 1]

    def guess(x):
        return torch.sin(2 * x)

    def decoder(x, t, condition):
        return (x - beta.sqrt() * guess(x)) / (1 - beta).sqrt()

    x0, t = noise(50, 3, seed=1), step / len(BETAS)
    one = DRAWN["previous"].at(t)(decoder, x0, Condition(), seeded(2)).values
    other = DRAWN["step_noise"].at(t)(lambda x, t, condition: guess(x), x0, Condition(), seeded(2)).values
    assert torch.allclose(one, beta / (1 - beta) * other, rtol=1e-9)


@pytest.mark.parametrize("kind", STEP_KINDS)
def test_both_ends_of_a_step_have_their_marginals_and_the_step_its_variance(kind):
    """A network that gives 0 leaves the mean square of the target; one that gives xt shows how it goes along."""
    seen = []

    def network(x, t, condition):
        seen.append(x)
        return torch.zeros_like(x)

    for step in (1, 3, 8):
        x0 = torch.full((COUNT, 1), 1.5, dtype=torch.float64)
        losses = DRAWN[kind].at(step / len(BETAS))(network, x0, Condition(), seeded(3))
        before = ABAR[step - 1] / (1 - BETAS[step - 1])
        power = before * 1.5**2 + 1 - before if kind == "previous" else torch.ones(())
        assert (losses.values.mean() - power).abs() < SIGMAS * losses.values.std() / COUNT**0.5 + 1e-12
        xt = seen[-1].squeeze(1)
        assert (xt.mean() - ABAR[step - 1].sqrt() * 1.5).abs() < SIGMAS * xt.std() / COUNT**0.5
        assert (xt.var() / (1 - ABAR[step - 1]) - 1).abs() < SIGMAS * (2 / COUNT) ** 0.5
        assert torch.equal(losses.times, at(step))


def test_training_draws_every_step_of_the_table():
    losses = DRAWN["previous"](lambda x, t, condition: x, noise(80, 2), Condition(), seeded(0))
    counts = torch.bincount((losses.times * len(BETAS)).round().long())
    assert counts[0] == 0
    assert (counts[1:] == 10).all()


@pytest.mark.parametrize("name", ["E1", "E6", "E2", "E3", "E5", "E7", "D4 expected", "D7"])
def test_every_objective_trains_all_of_a_network(name):
    hybrid = VarianceObjective(corruption=CORRUPTION, predicts="v")
    objective = replace(hybrid if name == "D7" else ALL[name], drop_condition=0.5)
    torch.manual_seed(0)
    network = perturbed(Mlp(2, width=8, depth=1, classes=3, outputs=2 if name == "D7" else 1))
    x0, label = noise(64, 2, dtype=torch.float32), torch.arange(64) % 3
    assert isinstance(objective, GaussianObjective)
    losses = objective(network, x0, Condition(label=label), seeded(1))
    assert losses.values.shape == (64,)
    losses.values.mean().backward()
    for parameter in network.parameters():
        assert parameter.grad.isfinite().all()
        assert (parameter.grad.flatten(1) != 0).any(1).all() if parameter.ndim > 1 else parameter.grad.any()


@pytest.mark.parametrize("kind", STEP_KINDS)
def test_the_denoiser_of_a_step_objective_reads_what_it_was_trained_to_give(kind):
    denoiser = DRAWN[kind].denoiser(lambda x, t, condition: MIXTURE(x, t).as_(CORRUPTION.pair(kind, t)))
    assert isinstance(denoiser, NetworkDenoiser)
    xt, t = noise(8, 2), torch.arange(1, 9, dtype=torch.float64) / 8
    assert torch.allclose(denoiser(xt, t).x0, MIXTURE(xt, t).x0, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("name", ["E1", "E2", "D7"])
def test_in_continuous_time_there_is_no_step_to_learn(name):
    objective = VarianceObjective(corruption=CORRUPTION) if name == "D7" else ALL[name]
    continuous = replace(objective, corruption=GaussianCorruption(COSINE))
    with pytest.raises(EbbtideError, match="continuous time"):
        continuous(lambda x, t, condition: x.repeat(1, 2 if name == "D7" else 1), noise(4, 2), Condition(), seeded(0))


def test_two_kinds_given_as_pairs_are_compared_by_their_numbers():
    """Pairs of tensors have no truth value as a whole."""
    t = torch.arange(1, 9, dtype=torch.float64) / 8
    x0, eps, prediction = noise(8, 2, seed=1), noise(8, 2, seed=2), noise(8, 2, seed=3)
    named = DenoisingObjective(corruption=CORRUPTION, predicts="previous", measured="v")
    own, other = (Pair(*(1.0 * number for number in CORRUPTION.pair(kind, t))) for kind in ("previous", "v"))
    paired = replace(named, predicts=own, measured=other)
    assert torch.allclose(paired.error(prediction, x0, eps, t), named.error(prediction, x0, eps, t), rtol=1e-12)
