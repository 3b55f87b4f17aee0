"""Denoisers on a table, asked between its times."""

from dataclasses import replace

import pytest
import torch

from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers import FiniteOracle, GaussianOracle, MixtureOracle, NetworkDenoiser
from ebbtide.denoisers.continuous import continuous
from ebbtide.errors import EbbtideError
from ebbtide.guidance import Clipped
from ebbtide.networks import Mlp
from ebbtide.schedules import CosineSchedule, InterpolatedSchedule, table
from parts import covariance, noise, perturbed

TABLE = table(torch.linspace(1e-3, 0.6, 70, dtype=torch.float64))


def oracle_of(name, corruption):
    match name:
        case "gaussian":
            return GaussianOracle(noise(2, seed=1), covariance(2), corruption)
        case "mixture":
            parts = tuple(GaussianOracle(noise(2, seed=s), covariance(2, s, s), corruption) for s in (1, 2, 3))
            return MixtureOracle(torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64), parts)
        case "finite":
            return FiniteOracle(noise(4, 2, seed=11), corruption)


@pytest.mark.parametrize("name", ["gaussian", "mixture", "finite"])
def test_it_answers_as_before_at_the_tables_times_and_between_them_too(name):
    oracle = oracle_of(name, GaussianCorruption(TABLE))
    between = continuous(Clipped(oracle, -9.0, 9.0))
    assert isinstance(between, Clipped)
    assert isinstance(between.corruption.schedule, InterpolatedSchedule)
    assert oracle.corruption.schedule is TABLE
    x, known = noise(3, 2, seed=1), torch.full((3,), 21 / 70, dtype=torch.float64)
    torch.testing.assert_close(between(x, known).x0, oracle(x, known).x0, rtol=1e-9, atol=1e-9)
    low, middle, high = (between(x, known + part / 70).level.log_snr for part in (0.0, 0.5, 1.0))
    assert ((low > middle) & (middle > high)).all()


def test_what_knows_every_time_is_left_as_it_is():
    denoiser = Clipped(oracle_of("gaussian", GaussianCorruption(CosineSchedule())))
    assert continuous(denoiser) is denoiser


def test_a_network_keeps_what_it_predicts():
    denoiser = NetworkDenoiser(perturbed(Mlp(2, width=8, depth=1)), GaussianCorruption(TABLE), "v")
    between = continuous(denoiser)
    assert between == replace(denoiser, corruption=between.corruption)


def test_a_network_about_single_steps_has_no_times_between():
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
