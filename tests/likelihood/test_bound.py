"""The whole bound: the stratified estimate is unbiased, its standard error honest, and examples do not meet."""

import math
from itertools import product

import pytest
import torch

from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers import GaussianOracle, NetworkDenoiser
from ebbtide.errors import EbbtideError
from ebbtide.likelihood.bound import Density, aimed, bounds, joined
from ebbtide.likelihood.ladder import Limit, Steps
from ebbtide.likelihood.reconstruction import GaussianDensity
from ebbtide.likelihood.terms import step_term
from ebbtide.schedules import NormalSchedule, linear_schedule
from parts import SIGMAS, covariance, noise

TABLE = linear_schedule(60)
CONTINUOUS = NormalSchedule()
DENSITY = GaussianDensity()


def oracle_of(schedule):
    return GaussianOracle(noise(3, seed=1), covariance(3), GaussianCorruption(schedule))


def data(count):
    oracle = oracle_of(TABLE)
    return oracle.mean + noise(count, 3, seed=2) @ torch.linalg.cholesky(oracle.matrix).mT


def whole(schedule, ladder, x0, **options):
    return joined(bounds(oracle_of(schedule), ladder, x0, DENSITY, **options))


LADDERS = {
    "table": (TABLE, Steps.of(TABLE)),
    "some steps of a table": (TABLE, Steps.of(TABLE, 20)),
    "step variance": (TABLE, Steps.of(TABLE, variance="step")),
    "steps of a continuous schedule": (CONTINUOUS, Steps.of(CONTINUOUS, 40)),
}


@pytest.mark.parametrize("name", LADDERS)
def test_the_estimate_from_a_few_levels_is_the_full_sum(name):
    schedule, ladder = LADDERS[name]
    x0 = data(150)
    full = whole(schedule, ladder, x0, levels=None, seed=1)
    for levels, density in product((4, 10), (None, aimed(oracle_of(schedule), ladder, x0[:8]))):
        some = whole(schedule, ladder, x0, levels=levels, density=density, seed=2)
        error = math.hypot(full.noise_error, some.noise_error)
        assert abs(full.bits - some.bits) < SIGMAS * error
        assert error < 0.6
        assert torch.allclose(full.prior, some.prior)


def test_the_full_sum_is_the_sum_of_every_step():
    ladder, x0 = Steps.of(TABLE), data(200)
    full = whole(TABLE, ladder, x0, levels=None)
    direct, error = 0.0, full.noise_error**2
    for k, (s, t) in enumerate(zip(ladder.times[:-1], ladder.times[1:], strict=True)):
        nats = step_term(oracle_of(TABLE), x0, noise(200, 3, seed=k), s.expand(200), t.expand(200)).nats
        direct += float(nats.mean()) / 3 / math.log(2)
        error += float(nats.var()) / 200 / 9 / math.log(2) ** 2
    assert abs(full.in_bits(full.steps) - direct) < SIGMAS * error**0.5
    curve = float((full.rate * full.width).sum()) / 3 / math.log(2)
    assert curve == pytest.approx(full.in_bits(full.steps), rel=1e-9)


def test_the_limit_of_many_steps_is_what_many_steps_tend_to():
    limit = Limit(CONTINUOUS, 8.0)
    start = limit.first
    times = start + (1 - start) * torch.linspace(0, 1, 3000, dtype=torch.float64)
    x0 = data(150)
    a = whole(CONTINUOUS, limit, x0, levels=40)
    b = whole(CONTINUOUS, Steps(CONTINUOUS, times), x0, levels=40, seed=5)
    assert abs(a.in_bits(a.steps) - b.in_bits(b.steps)) < SIGMAS * math.hypot(a.noise_error, b.noise_error) + 0.01
    assert torch.allclose(a.prior, b.prior)


def test_the_standard_error_is_the_spread_of_repeated_estimates():
    _, ladder = LADDERS["table"]
    x0 = data(60)
    found = [whole(TABLE, ladder, x0, levels=6, seed=seed) for seed in range(30)]
    spread = torch.tensor([bound.bits for bound in found]).std()
    stated = sum(bound.noise_error for bound in found) / len(found)
    assert 0.6 < float(spread) / stated < 1.6


def test_levels_that_are_aimed_leave_less_to_chance():
    schedule, ladder = LADDERS["table"]
    x0 = data(400)
    density = aimed(oracle_of(schedule), ladder, data(8))
    aimed_at, even = (whole(schedule, ladder, x0, levels=8, density=d).noise_error for d in (density, None))
    assert aimed_at < even


def test_an_example_has_its_number_in_any_batch():
    ladder, x0 = Steps.of(TABLE), data(7)
    one, many = (whole(TABLE, ladder, x0, levels=6, batch=batch) for batch in (5, 256))
    assert torch.allclose(one.nats, many.nats, rtol=1e-10)
    assert torch.allclose(one.spread, many.spread, rtol=1e-8)
    first = whole(TABLE, ladder, x0[:3], levels=6)
    assert torch.allclose(first.nats, many.nats[:3], rtol=1e-10)


def test_a_density_is_drawn_from_as_it_says():
    density = Density(
        edges=torch.tensor([4.0, 3.0, 1.0], dtype=torch.float64), values=torch.tensor([0.6, 0.2], dtype=torch.float64)
    )
    share = torch.tensor([0.0, 0.3, 0.6, 0.8, 1.0], dtype=torch.float64)
    where, value = density.at(share)
    assert torch.allclose(where, torch.tensor([4.0, 3.5, 3.0, 2.0, 1.0], dtype=torch.float64))
    assert torch.allclose(value[:2], torch.tensor([0.6, 0.6], dtype=torch.float64))
    assert torch.equal(
        density.bin_of(torch.tensor([4.0, 3.2, 2.9, 1.0], dtype=torch.float64)), torch.tensor([0, 0, 1, 1])
    )


def test_a_float32_network_is_summed_in_float64():
    denoiser = NetworkDenoiser(lambda x, t, condition: 0.5 * x, GaussianCorruption(TABLE))
    bound = joined(bounds(denoiser, Steps.of(TABLE), data(5).float(), DENSITY, levels=4))
    assert bound.nats.dtype == torch.float64
    assert torch.isfinite(bound.nats).all()


def test_wrong_input_is_refused():
    with pytest.raises(EbbtideError, match="no full sum"):
        whole(CONTINUOUS, Limit(CONTINUOUS, 8.0), data(2), levels=None)
    with pytest.raises(EbbtideError, match="at least 2"):
        whole(TABLE, Steps.of(TABLE), data(2), levels=1)
    with pytest.raises(EbbtideError, match="how many"):
        Steps.of(CONTINUOUS)
    with pytest.raises(EbbtideError, match="expected from 1 to 60"):
        Steps.of(TABLE, 61)
    with pytest.raises(EbbtideError, match="the schedule ends"):
        _ = Limit(CONTINUOUS, -20.0).ends
    with pytest.raises(EbbtideError, match="do not rise"):
        Steps(TABLE, torch.tensor([0.5, 0.2, 1.0], dtype=torch.float64))
