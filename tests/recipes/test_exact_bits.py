"""The density of points and the likelihood by the ODE, with ideal denoisers in place of a run's own; and trained
last decoders."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ebbtide.corruptions import GaussianCorruption
from ebbtide.data import Dataset, ValueRange
from ebbtide.data.dataset import spread
from ebbtide.data.toys import MIXTURE
from ebbtide.denoisers import FiniteOracle, GaussianOracle, MixtureOracle
from ebbtide.errors import EbbtideError
from ebbtide.likelihood.ladder import Limit
from ebbtide.likelihood.pixels import TrainedPixels
from ebbtide.recipes import bits, pixels
from ebbtide.recipes.bits import Asked, BitsSettings, ask, check_ode, join, measure, measure_exactly
from ebbtide.recipes.build import build_data
from ebbtide.recipes.pixels import decoder_file, find_decoder, train_decoder
from ebbtide.recipes.run import DataFacts, Run, open_run
from ebbtide.recipes.run_data import RunData
from ebbtide.schedules import FunctionSchedule
from parts import SIGMAS
from trials import grey_run, point_run, relabelled, small, table_run, trained

LINE = GaussianCorruption(FunctionSchedule(lambda t: 12 - 38 * t))


def asked_of(path, **settings):
    return ask(open_run(path), BitsSettings(**settings))


def with_ideal(monkeypatch, oracle, asked, highest=9.0):
    """The run's denoiser exchanged for one that knows the law of the data."""
    monkeypatch.setattr(Run, "denoiser", lambda run, device, weights: oracle)
    return replace(asked, denoiser=oracle, ladder=Limit(oracle.corruption.schedule, highest))


def bits_of(asked):
    return join(list(measure(asked, asked.reconstruction())))


def test_points_are_given_a_finite_density():
    """Of a network that knows next to nothing: about that of the standard normal law."""
    bound = bits_of(asked_of(point_run(), examples=60, levels=16))
    assert torch.isfinite(bound.nats).all()
    assert 0 < bound.bits < 5


def test_the_bound_of_an_ideal_denoiser_is_the_datas_own_density(monkeypatch):
    oracle = MixtureOracle.spherical(MIXTURE.weights, MIXTURE.means, MIXTURE.std, LINE)
    asked = with_ideal(monkeypatch, oracle, asked_of(point_run(), source="mixture", examples=300, levels=32))
    x0 = asked.examples.batch(range(300)).x0
    exact = -oracle.log_prob(x0.double(), torch.tensor(0.0, dtype=torch.float64))
    bound = bits_of(asked)
    gap = bound.bits - bound.in_bits(exact)
    assert -SIGMAS * bound.noise_error < gap < SIGMAS * bound.noise_error + 0.02
    assert bound.noise_error < 0.1


@pytest.mark.parametrize(("highest", "count"), [(9.0, 5), (9.0, 20), (1.0, 5)])
def test_the_ode_with_an_ideal_denoiser_is_its_own_density(monkeypatch, highest, count):
    """p(x0) = alpha^d p(z1) at z1 = alpha x0; where there is little noise it is that of the data, too."""
    monkeypatch.setattr(bits, "ODE_TOLERANCE", 1e-5)
    matrix = torch.tensor([[1.2, 0.5], [0.5, 0.7]], dtype=torch.float64)
    oracle = GaussianOracle(torch.tensor([0.3, -0.5], dtype=torch.float64), matrix, LINE)
    asked = with_ideal(monkeypatch, oracle, asked_of(point_run(), source="mixture", examples=25), highest)
    parts = list(measure_exactly(asked, asked.reconstruction(), count))
    assert [part.examples for part in parts] == ([5] if count == 5 else [16, 4])
    found = torch.cat([part.nats for part in parts])
    x0 = asked.examples.subset(spread(25, count)).batch(range(count)).x0.double()
    first = torch.tensor(asked.ladder.first, dtype=torch.float64)
    alpha = LINE.level(first).alpha
    assert torch.allclose(found, -oracle.log_prob(alpha * x0, first) - 2 * alpha.log(), rtol=0, atol=1e-3)
    if highest == 9.0:
        data = -oracle.log_prob(x0, torch.tensor(0.0, dtype=torch.float64))
        assert torch.allclose(found, data, rtol=0, atol=0.01)
    assert all(part.highest == pytest.approx(highest) for part in parts)


def test_the_tolerance_is_fine_enough_for_points(monkeypatch):
    """A hundredth of a bit, on average over some points of a law with narrow bells."""
    oracle = MixtureOracle.spherical(MIXTURE.weights, MIXTURE.means, MIXTURE.std, LINE)
    asked = with_ideal(monkeypatch, oracle, asked_of(point_run(), source="mixture", examples=16))
    (found,) = measure_exactly(asked, asked.reconstruction(), 16)
    first = torch.tensor(asked.ladder.first, dtype=torch.float64)
    alpha = LINE.level(first).alpha
    exact = -oracle.log_prob(alpha * asked.examples.batch(range(16)).x0.double(), first) - 2 * alpha.log()
    assert (found.nats - exact).abs().mean() < 0.01


def finite_images(log_snr):
    """A run on three pictures of 2x2 pixels that occur unequally often, an ideal denoiser, and an ideal decoder."""
    range_ = ValueRange(low=-1.0, high=1.5)
    pictures = np.array([[[0, 255], [40, 90]], [[250, 10], [128, 128]], [[60, 61], [0, 3]]], dtype=np.uint8)[..., None]
    data = Dataset(name="three", values=pictures[[0, 1, 2, 2, 2, 1]], range=range_)
    oracle = FiniteOracle(data.batch(range(6)).x0.double(), LINE)
    run = Run(path=Path("nowhere"), recipe=small(), data=DataFacts.of(data), machine={})
    ladder = Limit(LINE.schedule, log_snr)
    found = RunData(run=run, recipe=run.recipe.data, train=data, own=True)
    asked = Asked(run=run, settings=BitsSettings(), denoiser=oracle, data=found, dataset=data, ladder=ladder)

    def decode(estimate, x0):
        points = oracle.points.flatten(1)
        alpha, sigma = estimate.level.alpha[:1], estimate.level.sigma[:1]
        apart = (estimate.xt.double().flatten(1).unsqueeze(1) - alpha * points).square().sum(2)
        share = (-0.5 * apart / sigma.square()).softmax(1)
        same = (points.unsqueeze(0) == x0.double().flatten(1).unsqueeze(1)).all(2)
        return -(share * same).sum(1).log()

    return oracle, asked, decode


@pytest.mark.parametrize("log_snr", [2.0, -1.0])
def test_images_are_dequantised_by_bayes_rule(monkeypatch, log_snr):
    """-log p(z1) - log P(x0 | z1) + log q(z1 | x0) is -log P(x0), whatever the noise, if all three are exact."""
    oracle, asked, decode = finite_images(log_snr)
    monkeypatch.setattr(Run, "denoiser", lambda run, device, weights: oracle)
    (found,) = measure_exactly(asked, decode, 6)
    expected = -torch.tensor([1, 2, 3, 3, 3, 2], dtype=torch.float64).div(6).log()
    assert torch.allclose(found.nats, expected, rtol=0, atol=3e-3)
    assert found.nats.std() > 0.3


def test_without_a_solver_or_an_ode_it_is_known_before_the_work(monkeypatch):
    check_ode(asked_of(grey_run(), examples=1))
    check_ode(asked_of(table_run(), examples=1))
    with pytest.raises(EbbtideError, match="step_noise"):
        check_ode(asked_of(table_run("step-noise"), examples=1))
    monkeypatch.setitem(sys.modules, "torchdiffeq", None)
    with pytest.raises(EbbtideError, match=r"ebbtide\[ode\]"):
        check_ode(asked_of(grey_run(), examples=1))


# --- the trained last decoder -----------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(pixels, "SETTINGS", replace(pixels.SETTINGS, updates=3, batch=8, warmup=1))


def learn(asked):
    """All updates of a decoder for what is asked."""
    data = build_data(asked.run.recipe.data, "train", asked.run.data.value_range)
    return list(train_decoder(asked.run, asked.denoiser, data, asked.ladder.first))


def test_it_is_kept_and_found_for_its_checkpoint_and_first_time_only(tmp_path, quick):
    out = shutil.copytree(grey_run(), tmp_path / "run")
    asked = asked_of(out, examples=4, first_noise=4.0)
    first = asked.ladder.first
    assert find_decoder(asked.run, first) is None
    state = torch.get_rng_state()
    assert [update.step for update in learn(asked)] == [1, 2, 3]
    assert torch.equal(torch.get_rng_state(), state), "the caller's generator was used"
    network = find_decoder(asked.run, first)
    assert not network.training
    assert decoder_file(asked.run).parent == out
    assert find_decoder(asked.run, 1.01 * first) is None
    trained(small(updates=8), out, resume=True)
    assert find_decoder(open_run(out), first) is None


def test_what_is_found_is_the_average_of_what_was_learned(tmp_path, quick, monkeypatch):
    """The same from the same seed, bit for bit."""
    files, trainees, real = [], [], pixels.fit
    monkeypatch.setattr(pixels, "fit", lambda trainee, *rest: trainees.append(trainee) or real(trainee, *rest))
    for name in ("one", "two"):
        asked = asked_of(shutil.copytree(grey_run(), tmp_path / name), examples=4)
        learn(asked)
        files.append(decoder_file(asked.run).read_bytes())
    assert files[0] == files[1]
    found = find_decoder(asked.run, asked.ladder.first).state_dict()
    average, last = (part.state_dict() for part in (trainees[1].average.network, trainees[1].network))
    assert all(torch.equal(found[name], value) for name, value in average.items())
    assert not torch.equal(found["last.weight"], last["last.weight"])
    assert found["last.weight"].abs().max() > 0


@pytest.mark.parametrize(("shape", "batch"), [((1, 8, 8), 64), ((3, 32, 32), 2), ((3, 256, 256), 1)])
def test_large_images_come_in_small_batches(monkeypatch, shape, batch):
    """No more than 8192 pixels an update, each with 256 probabilities; but never less than one image."""
    seen = []
    monkeypatch.setattr(pixels, "fit", lambda *parts: seen.append(parts[3]) or iter(()))
    monkeypatch.setattr(pixels, "write_atomically", lambda *parts: None)
    run = open_run(grey_run())
    large = replace(run, data=replace(run.data, event_shape=shape))
    values = np.zeros((1, *shape[1:], shape[0]), dtype=np.uint8)
    assert list(train_decoder(large, run.denoiser(), Dataset(name="black", values=values), 0.1)) == []
    assert [settings.batch for settings in seen] == [batch]


def test_a_damaged_one_is_not_found(tmp_path, quick):
    asked = asked_of(shutil.copytree(grey_run(), tmp_path / "run"), examples=4)
    learn(asked)
    file = decoder_file(asked.run)
    whole = file.read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"\x00" * 100):
        file.write_bytes(content)
        assert find_decoder(asked.run, asked.ladder.first) is None
    file.write_bytes(whole)
    assert find_decoder(asked.run, asked.ladder.first) is not None
    relabelled(file, "I32")
    assert find_decoder(asked.run, asked.ladder.first) is None


def test_it_costs_less_than_bins(tmp_path, monkeypatch):
    """Digits have 17 of the 256 values, and neighbours tell of one another."""
    monkeypatch.setattr(pixels, "SETTINGS", replace(pixels.SETTINGS, updates=30, batch=8))
    asked = asked_of(shutil.copytree(grey_run(), tmp_path / "run"), examples=15, levels=2)
    losses = [update.loss for update in learn(asked)]
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])
    network = find_decoder(asked.run, asked.ladder.first)
    bins = bits_of(asked)
    trained_ = join(list(measure(asked, TrainedPixels(asked.run.data.value_range, network))))
    assert trained_.in_bits(trained_.reconstruction) < 0.5 * bins.in_bits(bins.reconstruction)
    assert torch.equal(trained_.steps, bins.steps)
