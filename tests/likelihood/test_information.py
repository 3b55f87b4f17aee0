"""Items I8, B5: information from errors of denoising, against entropies, divergences and quadrature."""

import math

import pytest
import torch

from ebbtide.conditions import Condition
from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers import FiniteOracle, GaussianOracle, MixtureOracle, NetworkDenoiser
from ebbtide.errors import EbbtideError
from ebbtide.gaussian import kl
from ebbtide.likelihood.information import (
    InformationCurve,
    _integral,
    expected_error,
    expected_error_of_oracle,
    information_curve,
)
from ebbtide.schedules import FunctionSchedule
from ebbtide.times import time_of
from parts import COSINE, SCHEDULES, SIGMAS, corruption_of, noise, seeded, slopes

CORRUPTION = GaussianCorruption(COSINE)
BIT = math.log(2)


def even_times(schedule, count, high=9.0):
    """About `count` times that the schedule knows, about evenly apart in log-SNR, up to its last."""
    if schedule.steps is None:
        last = float(schedule.level(torch.ones(1, dtype=torch.float64)).log_snr)
        return time_of(schedule, torch.linspace(high, last, count, dtype=torch.float64)).unique()
    known = torch.arange(1, schedule.steps + 1, dtype=torch.float64) / schedule.steps
    log_snr = schedule.level(known).log_snr
    wanted = torch.linspace(float(log_snr[0]), float(log_snr[-1]), count, dtype=torch.float64)
    return known[(log_snr - wanted.unsqueeze(1)).abs().argmin(1)].unique()


def gaussian(variances, corruption=CORRUPTION):
    """Data of these variances, along random directions, with a mean."""
    values = torch.tensor(variances, dtype=torch.float64)
    axes = torch.linalg.qr(noise(len(values), len(values), seed=4)).Q
    return GaussianOracle(noise(len(values), seed=5), (axes * values) @ axes.mT, corruption)


def drawn(oracle, count, seed):
    """Data of a Gaussian oracle."""
    values, vectors = torch.linalg.eigh(oracle.matrix)
    return oracle.mean + (noise(count, len(values), seed=seed) * values.clamp(min=0).sqrt()) @ vectors.mT


@pytest.mark.parametrize("variances", [[4.0, 1.0, 0.2, 0.01], [9.0, 0.05], [1.5, 0.0]])
@pytest.mark.parametrize("name", SCHEDULES)
def test_gaussian_data_tell_half_the_logarithm_of_one_plus_snr_in_each_direction(name, variances):
    oracle = gaussian(variances, corruption_of(name))
    times = even_times(SCHEDULES[name], 32)
    curve = information_curve(oracle, noise(2, len(variances)), times, seeded(0), oracle=True)
    snr = SCHEDULES[name].level(times).snr
    want = 0.5 * torch.log2(1 + snr.unsqueeze(1) * torch.tensor(variances, dtype=torch.float64)).sum(1)
    few = name == "list"  # 8 points, up to 2.6 of log-SNR apart
    assert torch.allclose(curve.bits, want, rtol=0, atol=5e-3 if few else 1e-3)
    assert torch.equal(curve.standard_error, torch.zeros_like(times))


@pytest.mark.parametrize("name", ["cosine", "normal", "linear"])
def test_even_times_of_a_schedule_will_do_though_their_last_step_is_a_leap(name):
    times = torch.arange(1, 51, dtype=torch.float64) / 50
    curve = information_curve(gaussian([2.0, 0.3], corruption_of(name)), noise(2, 2), times, seeded(0), oracle=True)
    snr = curve.log_snr.exp().unsqueeze(1)
    want = 0.5 * torch.log2(1 + snr * torch.tensor([2.0, 0.3], dtype=torch.float64)).sum(1)
    assert torch.allclose(curve.bits, want, rtol=0, atol=3e-3)


def test_halving_the_steps_leaves_less_than_an_eighth_of_the_error():
    variances, errors = torch.tensor([4.0, 0.2], dtype=torch.float64), []
    for points in (17, 33, 65, 129):
        log_snr = torch.linspace(8, -18, points, dtype=torch.float64)
        error = torch.sigmoid(log_snr.unsqueeze(1) + variances.log()).sum(1)
        curve = InformationCurve.of(log_snr, error, torch.zeros_like(error), 2)
        want = 0.5 * torch.log1p(log_snr.exp().unsqueeze(1) * variances).sum(1)
        errors.append(float((curve.nats - want).abs().max()))
    assert min(slopes(errors)) > 3


def test_a_parabola_over_uneven_points_is_integrated_exactly():
    x = (0.1 + torch.rand(12, generator=seeded(0), dtype=torch.float64)).cumsum(0)
    want = ((x + 5) ** 3 - (x[0] + 5) ** 3) / 3
    assert torch.allclose(_integral(x, (x + 5) ** 2), want, rtol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_noise_in_the_errors_moves_the_curve_no_further_than_trapezoids_with_half_their_rise(seed):
    """What few draws at uneven points give: a cubic that overshot would be worth more than it knows."""
    x = torch.rand(30, generator=seeded(seed), dtype=torch.float64).pow(3).cumsum(0)
    y = noise(30, seed=seed)
    got = _integral(x, y).diff()
    trapezoids = x.diff() * (y[1:] + y[:-1]) / 2
    assert ((got - trapezoids).abs() <= x.diff() * y.diff().abs() / 2 + 1e-14).all()


LINE = {
    "mixture": MixtureOracle.spherical(
        torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64),
        torch.tensor([[-1.0], [0.3], [2.0]], dtype=torch.float64),
        0.25,
        CORRUPTION,
    ),
    "points": FiniteOracle(torch.tensor([[-1.0], [-0.2], [0.5], [1.5]], dtype=torch.float64), CORRUPTION),
}


def entropy_told(oracle, t):
    """h(xt) - h(sigma eps) in bits, on a line, by quadrature."""
    sigma = float(CORRUPTION.level(t).sigma)
    xt = torch.linspace(-4 - 8 * sigma, 4 + 8 * sigma, 8001, dtype=torch.float64)
    log_prob = oracle.log_prob(xt.unsqueeze(1), t)
    entropy = -float((log_prob.exp() * log_prob).sum() * (xt[1] - xt[0]))
    return (entropy - 0.5 * math.log(2 * math.pi * math.e * sigma**2)) / BIT


def error_left(oracle, t):
    """E‖eps - eps_hat‖², on a line, by quadrature over xt."""
    level = CORRUPTION.level(t)
    xt = torch.linspace(-4 - 8 * float(level.sigma), 4 + 8 * float(level.sigma), 8001, dtype=torch.float64)
    mass = oracle.log_prob(xt.unsqueeze(1), t).exp() * (xt[1] - xt[0])
    return level.snr * (mass @ oracle.covariance(xt.unsqueeze(1), t.expand(8001)).flatten())


@pytest.mark.parametrize("name", LINE)
def test_on_a_line_the_curve_is_the_entropy_of_xt_beyond_that_of_its_noise(name):
    oracle, t = LINE[name], even_times(COSINE, 48, high=7.0)
    want = torch.tensor([entropy_told(oracle, one) for one in t], dtype=torch.float64)
    error = torch.stack([error_left(oracle, one) for one in t])
    exact = InformationCurve.of(CORRUPTION.level(t).log_snr, error, torch.zeros_like(t), 1, t)
    assert torch.allclose(exact.bits, want, rtol=0, atol=1e-3)
    curve = information_curve(oracle, data_on_a_line(oracle, 40_000), t, seeded(8), oracle=True, batch=40_000)
    assert (curve.bits - want).abs().max() < 1e-3 + SIGMAS * added_up(curve)


def added_up(curve):
    """The standard error of independent errors' integral, in bits."""
    width = -(curve.log_snr.roll(-1) - curve.log_snr.roll(1))[1:-1] / 2
    return float((width * curve.standard_error[1:-1]).square().sum().sqrt()) / 2 / BIT


def data_on_a_line(oracle, count):
    if isinstance(oracle, FiniteOracle):
        return oracle.points.repeat(count // len(oracle.points), 1)
    which = torch.multinomial(oracle.weights, count, replacement=True, generator=seeded(6))
    means = torch.stack([component.mean for component in oracle.components])
    return means[which] + 0.25 * noise(count, 1, seed=7)


def test_n_points_are_worth_log_n_bits_and_what_the_steps_spend_adds_up_to_it():
    points = noise(6, 3, seed=1)
    curve = information_curve(
        FiniteOracle(points, CORRUPTION), points, even_times(COSINE, 30), seeded(2), draws=500, batch=3000, oracle=True
    )
    assert float(curve.bits[0]) == pytest.approx(math.log2(6), abs=0.01)
    assert (curve.spent >= 0).all()
    assert float(curve.spent.sum() + curve.bits[-1]) == pytest.approx(float(curve.bits[0]), rel=1e-12)
    assert 0 < float(curve.bits[-1]) < 1e-4
    assert curve.dimensions == 3


def test_who_believes_in_another_law_pays_the_divergence_from_it_too():
    """Verdú 2010: KL(p_t ‖ q_t), at every t."""
    truth = gaussian([1.0, 0.3])
    belief = GaussianOracle(truth.mean + 0.3, torch.eye(2, dtype=torch.float64) / 2, CORRUPTION)
    t, x0 = even_times(COSINE, 24, high=6.0), drawn(truth, 20_000, seed=6)
    ideal, paid = (information_curve(one, x0, t, seeded(7), batch=20_000) for one in (truth, belief))
    want = torch.stack([kl(truth.marginal(one), belief.marginal(one)) for one in t]) / BIT
    assert float(want[0]) > 0.5
    assert torch.allclose(paid.bits - ideal.bits, want, rtol=0.05, atol=1e-3)


def test_a_biased_denoiser_pays_half_its_snr_weighted_bias():
    oracle, x0, t = gaussian([1.0, 0.3]), drawn(gaussian([1.0, 0.3]), 5000, seed=6), even_times(COSINE, 20, high=4.0)
    biased = NetworkDenoiser(lambda xt, time, condition: oracle(xt, time).x0 + 0.2, CORRUPTION, "x0")
    ideal, paid = (information_curve(one, x0, t, seeded(7), batch=5000) for one in (oracle, biased))
    want = 0.5 * CORRUPTION.level(t).snr * 2 * 0.2**2
    assert torch.allclose(paid.nats - ideal.nats, want, rtol=0.1, atol=1e-3)


ORACLES = {
    "gaussian": gaussian([1.0, 0.3]),
    "mixture": LINE["mixture"],
    "points": FiniteOracle(noise(5, 1, 2, 2, seed=3), CORRUPTION),
}


@pytest.mark.parametrize("name", ORACLES)
def test_errors_of_an_oracle_are_its_covariance_in_the_mean_but_more_uncertain(name):
    oracle, count = ORACLES[name], 4000
    x0 = {
        "gaussian": lambda: drawn(oracle, count, seed=6),
        "mixture": lambda: data_on_a_line(oracle, count),
        "points": lambda: oracle.points.repeat(count // 5, 1, 1, 1),
    }[name]()
    times = torch.tensor([0.05, 0.2, 0.5, 0.8, 1.0], dtype=torch.float64)
    plain = information_curve(oracle, x0, times, seeded(1), batch=1500)
    traced = information_curve(oracle, x0, times, seeded(2), batch=1500, oracle=True)
    error = (plain.standard_error.square() + traced.standard_error.square()).sqrt()
    assert ((plain.error - traced.error).abs() < SIGMAS * error).all()
    assert (traced.standard_error < plain.standard_error)[1:].all()  # at 0.05 few draws decide both
    for measured in (expected_error, expected_error_of_oracle):
        values = measured(oracle, x0.float(), torch.full((count,), 0.5, dtype=torch.float64), seeded(3))
        assert values.shape == (count,)
        assert values.dtype == torch.float64
        want = traced.error[2] / CORRUPTION.level(times[2]).snr
        assert abs(float(values.mean() - want)) < SIGMAS * math.sqrt(2) * float(values.std()) / math.sqrt(count)


@pytest.mark.parametrize(("count", "draws"), [(5000, 1), (3000, 4), (1, 5000)])
def test_standard_errors_are_those_of_squares_of_gaussian_noise(count, draws):
    """x0 - x0_hat = a (x0 - m) - b eps: Var = 2 a⁴ v² between examples, 2 b⁴ + 4 a² b² (x0 - m)² in one."""
    v, t = 0.7, torch.tensor([0.1, 0.4, 0.9], dtype=torch.float64)
    oracle = GaussianOracle(noise(1, seed=1), torch.full((1, 1), v, dtype=torch.float64), CORRUPTION)
    x0 = drawn(oracle, count, seed=2)
    level = CORRUPTION.level(t)
    gain = level.alpha * v / (level.alpha.square() * v + level.sigma.square())
    a, b = 1 - gain * level.alpha, gain * level.sigma
    within = 2 * b**4 + 4 * a.square() * b.square() * (x0 - oracle.mean).square().mean()
    between = 2 * a**4 * v**2 if count > 1 else 0
    want = level.snr * ((between + within / draws) / count).sqrt()
    curve = information_curve(oracle, x0, t, seeded(3), draws=draws, batch=5000)
    assert torch.allclose(curve.standard_error, want, rtol=0.15)


def test_every_example_keeps_its_own_condition_in_all_batches_and_draws():
    table, labels = noise(3, 2, seed=1), torch.tensor([0, 2, 1, 1, 0, 2, 2])
    told = NetworkDenoiser(lambda xt, t, condition: table[condition.label], CORRUPTION, "x0")
    t = torch.tensor([0.1, 0.5, 1.0], dtype=torch.float64)

    def paid(given):
        condition = Condition(label=given)
        return information_curve(told, table[labels], t, seeded(0), draws=3, batch=4, condition=condition).bits

    assert torch.equal(paid(labels), torch.zeros_like(t))
    assert (paid(labels.roll(1)) > 0).all()


TIMES = torch.tensor([0.1, 0.5, 1.0], dtype=torch.float64)
NETWORK = NetworkDenoiser(lambda xt, t, condition: xt, CORRUPTION)


@pytest.mark.parametrize(
    "times",
    [
        TIMES.flip(0),
        torch.tensor([0.1, 0.5, 0.5, 1.0]),
        torch.tensor([0.0, 0.5, 1.0]),
        torch.tensor([0.1, 0.5, 1.1]),
        torch.tensor([0.1, math.nan, 1.0]),
        TIMES[:2],
        TIMES.unsqueeze(0),
        torch.tensor([0, 1, 2]),
    ],
    ids=str,
)
def test_times_that_do_not_rise_from_above_nothing_to_one_are_refused(times):
    with pytest.raises(EbbtideError, match="came, expected"):
        information_curve(ORACLES["gaussian"], noise(4, 2), times, seeded(0))


def test_what_cannot_be_measured_is_refused():
    oracle, x0 = ORACLES["gaussian"], noise(4, 2)
    with pytest.raises(EbbtideError, match="knows only"):
        information_curve(gaussian([1.0, 2.0], corruption_of("list")), x0, TIMES, seeded(0))
    endless = gaussian([1.0, 2.0], GaussianCorruption(FunctionSchedule(lambda t: 1 - t, of="abar")))
    with pytest.raises(EbbtideError, match="expected finite numbers"):
        information_curve(endless, x0, TIMES, seeded(0), oracle=True)
    for wrong in ({"draws": 0}, {"batch": 0}):
        with pytest.raises(EbbtideError, match="at least 1 of each"):
            information_curve(oracle, x0, TIMES, seeded(0), **wrong)
    with pytest.raises(EbbtideError, match="more draws"):
        information_curve(oracle, x0[:1], TIMES, seeded(0))
    with pytest.raises(EbbtideError, match="with a covariance"):
        information_curve(NETWORK, x0, TIMES, seeded(0), oracle=True)
    with pytest.raises(EbbtideError, match="no condition"):
        information_curve(oracle, x0, TIMES, seeded(0), oracle=True, condition=Condition())
    broken = NetworkDenoiser(lambda xt, t, condition: xt * math.nan, CORRUPTION)
    with pytest.raises(EbbtideError, match="no number"):
        information_curve(broken, x0, TIMES, seeded(0))


@pytest.mark.parametrize(
    ("log_snr", "error"),
    [
        ([-1.0, 0.0, 1.0], [1.0, 1.0, 1.0]),
        ([1.0, 0.0, -math.inf], [1.0, 1.0, 1.0]),
        ([1.0, 0.0], [1.0, 1.0]),
        ([1.0, 0.0, -1.0], [1.0, 1.0]),
        ([1.0, 0.0, -1.0], [1.0, -1.0, 1.0]),
        ([1.0, 0.0, -1.0], [1.0, math.nan, 1.0]),
    ],
)
def test_a_curve_of_points_in_another_order_or_of_no_errors_is_refused(log_snr, error):
    with pytest.raises(EbbtideError, match="came"):
        InformationCurve.of(torch.tensor(log_snr), torch.tensor(error), torch.zeros(len(error)), 1)
