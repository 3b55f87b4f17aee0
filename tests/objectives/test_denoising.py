"""Items E4, E5, H1: what is minimised, in every kind, and that the ideal denoiser minimises it."""

from dataclasses import replace

import pytest
import torch

from ebbtide.conditions import NO_LABEL, Condition
from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers import GaussianOracle, MixtureOracle
from ebbtide.errors import EbbtideError
from ebbtide.levels import KINDS, convert
from ebbtide.objectives import DenoisingObjective, Objective
from ebbtide.schedules import linear_schedule
from parts import COSINE, SIGMAS, noise, seeded

CORRUPTION = GaussianCorruption(COSINE)
COUNT = 20_000
T = torch.linspace(0.05, 0.95, 12, dtype=torch.float64)
X0, EPS = noise(12, 2, 3, seed=1), noise(12, 2, 3, seed=2)
LEVEL = CORRUPTION.level(T)
XT = LEVEL.mix(X0, EPS)


def truth(kind):
    return convert(EPS, "eps", kind, XT, LEVEL)


@pytest.mark.parametrize("measured", [*KINDS, None])
@pytest.mark.parametrize("predicts", KINDS)
def test_the_error_of_a_kind_is_that_of_the_converted_prediction(predicts, measured):
    prediction = noise(12, 2, 3, seed=3)
    objective = DenoisingObjective(corruption=CORRUPTION, predicts=predicts, measured=measured)
    kind = measured or predicts
    direct = (convert(prediction, predicts, kind, XT, LEVEL) - truth(kind)).square().mean((1, 2))
    assert torch.allclose(objective.error(prediction, X0, EPS, T), direct, rtol=1e-8)


@pytest.mark.parametrize("predicts", KINDS)
def test_a_true_prediction_has_no_error(predicts):
    objective = DenoisingObjective(corruption=CORRUPTION, predicts=predicts)
    assert objective.error(truth(predicts), X0, EPS, T).max() < 1e-20


def test_a_weight_multiplies_each_example_by_a_function_of_its_own_level():
    plain = DenoisingObjective(corruption=CORRUPTION, predicts="v", measured="x0")
    weighted = replace(plain, weight=lambda corruption, t: corruption.level(t).snr + 1)
    prediction = noise(12, 2, 3, seed=3)
    expected = (LEVEL.snr + 1) * plain.error(prediction, X0, EPS, T)
    assert torch.allclose(weighted.error(prediction, X0, EPS, T), expected, rtol=1e-12)


def test_losses_are_one_number_an_example_and_do_not_meet():
    objective = DenoisingObjective(corruption=CORRUPTION)
    prediction = noise(12, 2, 3, seed=3)
    whole = objective.error(prediction, X0, EPS, T)
    assert torch.allclose(whole[4:5], objective.error(prediction[4:5], X0[4:5], EPS[4:5], T[4:5]), rtol=1e-13)


GAUSSIAN = GaussianOracle(
    torch.tensor([0.5, -1.0], dtype=torch.float64),
    torch.diag(torch.tensor([0.3, 2.0], dtype=torch.float64)),
    CORRUPTION,
)
MIXTURE = MixtureOracle.spherical(torch.tensor([0.4, 0.6], dtype=torch.float64), noise(2, 2, seed=7), 0.2, CORRUPTION)


def data_of(oracle):
    if oracle is GAUSSIAN:
        return oracle.mean + noise(COUNT, 2, seed=4) * oracle.matrix.diagonal().sqrt()
    pick = (torch.rand(COUNT, generator=seeded(5)) < oracle.weights[1]).long()
    means = torch.stack([component.mean for component in oracle.components])
    return means[pick] + 0.2 * noise(COUNT, 2, seed=6)


@pytest.mark.parametrize("measured", KINDS)
@pytest.mark.parametrize("oracle", [GAUSSIAN, MIXTURE], ids=["gaussian", "mixture"])
def test_moving_the_oracles_prediction_by_d_raises_the_loss_by_d_squared(oracle, measured):
    objective = DenoisingObjective(corruption=CORRUPTION, predicts=measured)
    x0, eps = data_of(oracle), noise(COUNT, 2, seed=8)
    t = torch.full((COUNT,), 0.4, dtype=torch.float64)
    best = oracle(CORRUPTION.level(t).mix(x0, eps), t).as_(measured)
    base = objective.error(best, x0, eps, t)
    for move in (torch.tensor([0.3, -0.2]), 0.1 * best, best.flip(1).sign() * 0.2):
        raised = objective.error(best + move, x0, eps, t) - base
        expected = move.square().expand_as(best).mean(1)
        difference = raised - expected
        assert difference.mean().abs() < SIGMAS * difference.std() / COUNT**0.5
        assert raised.mean() > 0


@pytest.mark.parametrize("schedule", [COSINE, linear_schedule()], ids=["cosine", "linear"])
def test_the_noise_loss_of_the_oracle_of_standard_normal_data_is_alpha_squared(schedule):
    corruption = GaussianCorruption(schedule)
    oracle = GaussianOracle(torch.zeros(4, dtype=torch.float64), torch.eye(4, dtype=torch.float64), corruption)
    objective = DenoisingObjective(corruption=corruption)
    times = []

    def network(x, t, condition):
        times.append(t)
        return oracle(x, t).eps

    losses = objective(network, noise(COUNT, 4, seed=1), Condition(), seeded(2))
    assert torch.equal(losses.times, times[0])
    difference = losses.values - corruption.level(losses.times).alpha.square()
    assert difference.mean().abs() < SIGMAS * difference.std() / COUNT**0.5


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.7, 1.0])
def test_labels_are_withheld_at_the_rate_and_at_random(rate):
    objective = DenoisingObjective(corruption=CORRUPTION, drop_condition=rate)
    seen = []

    def network(x, t, condition):
        seen.append((t, condition.label))
        return x

    labels = torch.arange(COUNT) % 3
    objective(network, noise(COUNT, 1, dtype=torch.float32), Condition(label=labels), seeded(3))
    t, label = seen[0]
    dropped = label == NO_LABEL
    error = SIGMAS * (rate * (1 - rate) / COUNT) ** 0.5
    assert (dropped.double().mean() - rate).abs() <= error
    assert torch.equal(label[~dropped], labels[~dropped])
    if 0 < rate < 1:
        assert (t[dropped].mean() - t[~dropped].mean()).abs() < SIGMAS * (1 / 12 / COUNT / rate / (1 - rate)) ** 0.5


def test_a_seed_names_the_losses():
    objective = DenoisingObjective(corruption=CORRUPTION, drop_condition=0.5)

    def losses(seed):
        return objective(lambda x, t, condition: x, noise(9, 3), Condition(), seeded(seed)).values

    assert isinstance(objective, Objective)
    assert torch.equal(losses(1), losses(1))
    assert not torch.equal(losses(1), losses(2))


def test_at_one_time_all_else_is_drawn_as_ever():
    objective, seen = DenoisingObjective(corruption=CORRUPTION, drop_condition=0.5), []

    def network(x, t, condition):
        seen.append(condition.label)
        return torch.zeros_like(x)

    labels = torch.arange(400) % 3
    losses = objective.at(0.3)(network, torch.zeros(400, 5, dtype=torch.float64), Condition(label=labels), seeded(3))
    assert (losses.times == 0.3).all()
    assert losses.times.shape == losses.values.shape == (400,)
    assert 100 < (seen[0] == NO_LABEL).sum() < 300
    assert losses.values.unique().numel() == 400  # eps of each example is its own
    assert replace(objective.at(0.3), times=objective.times) == objective


def test_the_times_are_drawn_as_the_objective_says():
    def halves(count, stepped, generator):
        assert stepped is CORRUPTION
        return 0.5 * torch.rand(count, generator=generator, dtype=torch.float64)

    objective = DenoisingObjective(corruption=CORRUPTION, times=halves)
    times = objective(lambda x, t, condition: x, noise(50, 2), Condition(), seeded(1)).times
    assert torch.equal(times, halves(50, CORRUPTION, seeded(1)))


def test_the_loss_reaches_the_network():
    weight = torch.ones((), requires_grad=True)
    objective = DenoisingObjective(corruption=CORRUPTION, predicts="v", measured="x0")
    objective(lambda x, t, condition: weight * x, noise(9, 3).float(), Condition(), seeded(0)).values.mean().backward()
    assert weight.grad.abs() > 0


def test_the_denoiser_reads_the_network_as_it_is_trained():
    objective = DenoisingObjective(corruption=CORRUPTION, predicts="v")
    denoiser = objective.denoiser(lambda x, t, condition: truth("v"))
    assert torch.allclose(denoiser(XT, T).x0, X0, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("rate", [-0.1, 1.1])
def test_a_rate_outside_0_and_1_is_refused(rate):
    with pytest.raises(EbbtideError, match="rate"):
        DenoisingObjective(corruption=CORRUPTION, drop_condition=rate)
