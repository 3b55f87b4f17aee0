"""The likelihood by the probability-flow ODE against densities in closed form, quadrature and itself.

The ODE's density is exactly that of N(0, I) carried back, so schedules here go on until nothing is left (log-SNR -26 or
less): at their usual end, -15, N(0, I) is only near to p_1.
"""

import sys
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.distributions import Normal

from ebbtide.conditions import Condition
from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers import FiniteOracle, GaussianOracle, MixtureOracle, NetworkDenoiser
from ebbtide.errors import EbbtideError
from ebbtide.guidance import Clipped
from ebbtide.likelihood.ode import continuous, log_prob_by_ode
from ebbtide.networks import Mlp
from ebbtide.randomness import SampleGenerators
from ebbtide.samplers import Ddim, final, sample
from ebbtide.schedules import (
    CosineSchedule,
    FunctionSchedule,
    InterpolatedSchedule,
    NormalSchedule,
    SigmoidSchedule,
    table,
)
from ebbtide.times import time_of
from parts import SIGMAS, covariance, noise, perturbed, seeded

LINE = FunctionSchedule(lambda t: 8 - 34 * t)
TABLE = table(torch.linspace(1e-3, 0.6, 70, dtype=torch.float64))
SCHEDULES = {
    "normal": NormalSchedule(std=5.0, last_log_snr=-26),
    "function": LINE,
    "cosine": CosineSchedule(last_log_snr=-26),
    "nothing left at all": SigmoidSchedule(last_log_snr=float("-inf")),
    "table": TABLE,
}
WEIGHTS = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
X = noise(5, 2, seed=3)


def oracle_of(name, corruption, size=2):
    mean, matrix = noise(size, seed=1), covariance(size)
    match name:
        case "gaussian":
            return GaussianOracle(mean, matrix, corruption)
        case "singular":
            return GaussianOracle(mean, covariance(size, 1), corruption)
        case "mixture":
            parts = tuple(GaussianOracle(noise(size, seed=s), covariance(size, s, s), corruption) for s in (1, 2, 3))
            return MixtureOracle(WEIGHTS, parts)
        case "finite":
            return FiniteOracle(noise(4, size, seed=11), corruption)


def exact(oracle, x, t):
    return oracle.log_prob(x, torch.tensor(t, dtype=torch.float64))


class Smooth(nn.Module):
    """A network that is nobody's, so its density is known by no formula; over time as smooth as trained ones are."""

    def __init__(self, size, seed, scale):
        super().__init__()
        torch.manual_seed(seed)
        self.mlp = perturbed(Mlp(size, width=16, depth=1), seed=seed, scale=scale)

    def forward(self, x, t, condition):
        return self.mlp(x.float(), t / 1000, condition)


def network(size, seed=0, scale=0.2):
    return NetworkDenoiser(Smooth(size, seed, scale), GaussianCorruption(LINE), "v")


# --- densities in closed form -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gaussian", "singular", "mixture", "finite"])
def test_it_is_the_oracles_own_density(name):
    oracle = oracle_of(name, GaussianCorruption(LINE))
    for first in (0.25, 0.6):
        ours = log_prob_by_ode(oracle, X, first=first)
        assert ours.nats.dtype == torch.float64
        assert torch.allclose(ours.nats, exact(oracle, X, first), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", SCHEDULES)
def test_it_is_the_same_under_any_schedule(name):
    oracle = oracle_of("mixture", GaussianCorruption(SCHEDULES[name]))
    first = 0.3
    ours = log_prob_by_ode(oracle, X, first=first).nats
    assert torch.allclose(ours, exact(continuous(oracle), X, first), rtol=0, atol=1e-4)
    if name == "table":
        assert torch.allclose(ours, exact(oracle, X, first), rtol=0, atol=1e-4)


def test_errors_fall_with_the_tolerance():
    oracle = oracle_of("mixture", GaussianCorruption(FunctionSchedule(lambda t: 8 - 48 * t)))
    runs = [log_prob_by_ode(oracle, X, first=0.2, tolerance=tolerance) for tolerance in (1e-2, 1e-4, 1e-6)]
    errors = [float((run.nats - exact(oracle, X, 0.2)).abs().max()) for run in runs]
    assert errors[1] < errors[0] / 10
    assert errors[2] < errors[1] / 10
    assert errors[2] < 1e-4
    assert runs[0].evaluations < runs[1].evaluations < runs[2].evaluations


def test_images_are_vectors_in_their_own_shape():
    oracle = oracle_of("gaussian", GaussianCorruption(LINE), size=4)
    x = noise(3, 1, 2, 2, seed=5)
    images = log_prob_by_ode(oracle, x, first=0.3)
    assert torch.allclose(images.nats, log_prob_by_ode(oracle, x.flatten(1), first=0.3).nats)
    assert torch.allclose(images.nats, exact(oracle, x, 0.3), rtol=0, atol=1e-4)


def test_a_schedule_that_ends_early_carries_the_standard_normal_back():
    """For data N(m, s²) the ODE is x -> alpha m + sqrt(alpha² s² + sigma²) z with z kept (Song et al. 2021)."""
    short = FunctionSchedule(lambda t: 4 - 5 * t)
    mean, variance, first = torch.tensor([1.5], dtype=torch.float64), 0.04, 0.1
    oracle = GaussianOracle(mean, torch.full((1, 1), variance, dtype=torch.float64), GaussianCorruption(short))
    level = short.level(torch.tensor([first, 1.0], dtype=torch.float64))
    centre, scale = level.alpha * mean, (level.alpha.square() * variance + level.sigma.square()).sqrt()
    x = torch.linspace(0, 2, 7, dtype=torch.float64).unsqueeze(1)
    end = centre[1] + scale[1] * (x.squeeze(1) - centre[0]) / scale[0]
    expected = Normal(0.0, 1.0).log_prob(end) + (scale[1] / scale[0]).log()
    for tolerance in (1e-4, 1e-6):
        ours = log_prob_by_ode(oracle, x, first=first, tolerance=tolerance).nats
        assert torch.allclose(ours, expected, rtol=0, atol=30 * tolerance)


def test_a_network_is_told_the_time_and_the_condition():
    """The noise of N(label, 1) as a network would predict it: E[eps | xt] = sigma (xt - alpha label)."""
    label = torch.tensor([0, 2, 5])

    def predict(x, t, condition):
        level = LINE.level(t)
        return level.sigma.unsqueeze(1) * (x - (level.alpha * condition.label).unsqueeze(1))

    x, first = noise(3, 1, seed=4), 0.2
    denoiser = NetworkDenoiser(predict, GaussianCorruption(LINE))
    ours = log_prob_by_ode(denoiser, x, first=first, condition=Condition(label=label))
    level = LINE.level(torch.tensor(first, dtype=torch.float64))
    assert torch.allclose(ours.nats, Normal(level.alpha * label, 1.0).log_prob(x.squeeze(1)), rtol=0, atol=1e-4)


# --- densities that are known by no formula ---------------------------------------------------------------------------


def test_the_density_of_any_network_integrates_to_1():
    x = torch.linspace(-14, 14, 1401, dtype=torch.float64).unsqueeze(1)
    density = log_prob_by_ode(network(1), x, first=0.15).nats.exp()
    assert float(density.sum() * (x[1] - x[0])) == pytest.approx(1, abs=1e-4)
    assert float((density - Normal(0.0, 1.0).log_prob(x.squeeze(1)).exp()).abs().max()) > 0.05


def test_examples_of_a_batch_do_not_meet():
    denoiser, x = network(2), noise(6, 2, seed=9)
    together = log_prob_by_ode(denoiser, x, first=0.2).nats
    alone = torch.cat([log_prob_by_ode(denoiser, x[i : i + 1], first=0.2).nats for i in range(2)])
    assert torch.allclose(together[:2], alone, rtol=0, atol=2e-4)


def test_a_hard_example_is_not_outvoted():
    """Steps are chosen for the worst example: as many copies of another as one likes leave them as they are."""
    oracle = oracle_of("finite", GaussianCorruption(LINE))
    two = torch.cat([X.new_zeros(1, 2), X[-1:]])
    many = torch.cat([X.new_zeros(300, 2), X[-1:]])
    few, crowd = (log_prob_by_ode(oracle, x, first=0.2, tolerance=1e-4) for x in (two, many))
    assert few.evaluations == crowd.evaluations
    assert torch.allclose(few.nats, crowd.nats[-2:], rtol=0, atol=1e-10)


def test_a_network_in_float32_is_asked_in_float32():
    inner, x, types = network(2), noise(4, 2, seed=9), set()

    def seen(x, t, condition):
        types.add((x.dtype, t.dtype))
        return inner.network(x, t, condition)

    single = log_prob_by_ode(replace(inner, network=seen), x.float(), first=0.2)
    assert types == {(torch.float32, torch.float32)}
    assert single.nats.dtype == torch.float64
    assert torch.allclose(single.nats, log_prob_by_ode(inner, x, first=0.2).nats, rtol=0, atol=1e-4)


# --- Hutchinson -------------------------------------------------------------------------------------------------------


def test_on_a_line_hutchinson_is_exact():
    denoiser, x = network(1), noise(4, 1, seed=2)
    found = log_prob_by_ode(denoiser, x, first=0.2)
    assert torch.equal(
        log_prob_by_ode(denoiser, x, first=0.2, trace="hutchinson", generator=seeded(1)).nats, found.nats
    )


@pytest.mark.parametrize("probes", [1, 4])
def test_hutchinson_is_unbiased_and_probes_share_its_variance(probes):
    """A batch of one example again and again is one example under as many draws."""
    denoiser, count = oracle_of("mixture", GaussianCorruption(LINE), size=3), 500
    x = noise(1, 3, seed=6)
    truth = log_prob_by_ode(denoiser, x, first=0.3, tolerance=1e-4).nats

    def error(probes, seed):
        many = x.expand(count, 3)
        drawn = log_prob_by_ode(
            denoiser, many, first=0.3, trace="hutchinson", generator=seeded(seed), probes=probes, tolerance=1e-4
        )
        return drawn.nats - truth

    found = error(probes, probes)
    assert abs(found.mean()) < SIGMAS * found.std() / count**0.5 + 1e-3
    assert found.std() > 0.02
    if probes > 1:
        # a variance out of 500 is known to a tenth or better
        assert 0.5 < probes * found.var() / error(1, 7).var() < 2


def test_an_examples_own_generator_draws_its_probes():
    denoiser, x = network(3), noise(4, 3, seed=2)

    def by(indices):
        generator = SampleGenerators.of(5, indices)
        drawn = log_prob_by_ode(denoiser, x[indices], first=0.2, trace="hutchinson", generator=generator, probes=3)
        return drawn.nats

    assert torch.allclose(by([0, 1, 2, 3])[[3, 1]], by([3, 1]), rtol=0, atol=2e-4)


# --- tables -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gaussian", "mixture", "finite"])
def test_denoisers_on_a_table_are_asked_at_every_time(name):
    oracle = oracle_of(name, GaussianCorruption(TABLE))
    between = continuous(Clipped(oracle, -9.0, 9.0))
    assert isinstance(between, Clipped)
    assert isinstance(between.corruption.schedule, InterpolatedSchedule)
    assert oracle.corruption.schedule is TABLE
    x, known = noise(3, 2, seed=1), torch.full((3,), 21 / 70, dtype=torch.float64)
    assert torch.allclose(between(x, known).x0, oracle(x, known).x0, rtol=1e-9)
    ours = log_prob_by_ode(Clipped(oracle, -9.0, 9.0), X, first=21 / 70)
    assert torch.allclose(ours.nats, exact(oracle, X, 21 / 70), rtol=0, atol=1e-4)


def test_what_knows_every_time_is_left_as_it_is():
    denoiser = Clipped(network(2))
    assert continuous(denoiser) is denoiser


def test_a_network_keeps_what_it_predicts():
    denoiser = NetworkDenoiser(Mlp(2, width=8, depth=1), GaussianCorruption(TABLE), "v")
    between = continuous(denoiser)
    assert between == replace(denoiser, corruption=between.corruption)


# --- modes and graphs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_it_works_in_any_mode_and_leaves_nothing_behind(mode):
    denoiser, x = network(2), noise(3, 2, seed=1)
    expected = log_prob_by_ode(network(2), x, first=0.5).nats
    start = time_of(LINE, LINE.level(torch.tensor(0.5, dtype=torch.float64)).log_snr)
    grid = torch.stack([start, torch.zeros_like(start)])
    final(sample(denoiser, Ddim(), grid, x, seeded(0)))  # what it remembers must not stand in the way
    with mode():
        found = log_prob_by_ode(denoiser, x.clone().requires_grad_(mode is torch.enable_grad), first=0.5)
    assert torch.equal(found.nats, expected)
    assert not found.nats.requires_grad
    assert all(parameter.grad is None for parameter in denoiser.network.parameters())


def test_it_counts_how_often_the_denoiser_is_asked():
    inner, calls = network(2), []

    def counted(x, t, condition):
        calls.append(len(t))
        return inner.network(x, t, condition)

    found = log_prob_by_ode(replace(inner, network=counted), X, first=0.5)
    assert found.evaluations == len(calls)
    assert set(calls) == {len(X)}


# --- wrong input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"first": 0.0}, "first=0"),
        ({"first": 1.0}, "first=1"),
        ({"tolerance": 0.0}, "tolerance=0"),
        ({"trace": "hutchinson"}, "generator"),
        ({"trace": "hutchinson", "generator": seeded(0), "probes": 0}, "probes=0"),
    ],
)
def test_wrong_numbers_are_refused(wrong, named):
    with pytest.raises(EbbtideError, match=named):
        log_prob_by_ode(network(2), X, **({"first": 0.5} | wrong))


def test_numbers_that_are_not_finite_are_refused():
    with pytest.raises(EbbtideError, match="finite"):
        log_prob_by_ode(network(2), X / 0, first=0.5)


def test_a_network_about_single_steps_has_no_ode():
    denoiser = NetworkDenoiser(Mlp(2, width=8, depth=1), GaussianCorruption(TABLE), "step_noise")
    with pytest.raises(EbbtideError, match="step_noise"):
        continuous(denoiser)


def test_a_table_that_is_not_found_is_refused():
    class Own:
        corruption = GaussianCorruption(TABLE)

        def __call__(self, xt, t, condition=None):
            raise NotImplementedError

    with pytest.raises(EbbtideError, match="Own"):
        continuous(Own())


def test_without_torchdiffeq_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchdiffeq", None)
    with pytest.raises(EbbtideError, match=r"pip install \"ebbtide\[ode\]\""):
        log_prob_by_ode(network(2), X, first=0.5)
