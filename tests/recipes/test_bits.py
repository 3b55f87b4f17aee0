"""Bits of a run: against plain loops in Ho's notation, densities in closed form, and Bayes' rule."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from scipy.special import ndtri
from scipy.stats import norm

from ebbtide.conditions import Condition
from ebbtide.errors import EbbtideError
from ebbtide.likelihood.ladder import Limit
from ebbtide.likelihood.reconstruction import bin_width
from ebbtide.randomness import generator_of, seed_of
from ebbtide.recipes import bits as module
from ebbtide.recipes.bits import (
    BitsSettings,
    ask,
    highest_log_snr,
    join,
    measure,
    summary,
)
from ebbtide.recipes.build import build_data, build_schedule
from ebbtide.recipes.recipe import DataRecipe
from ebbtide.recipes.run import Run, open_run
from parts import SIGMAS
from trials import colour_run, grey_run, point_run, table_run


def asked_of(path, **settings):
    return ask(open_run(path), BitsSettings(**settings))


def bound_of(asked):
    return join(list(measure(asked, asked.reconstruction())))


# --- an independent implementation: plain loops in Ho's beta and abar -------------------------------------------------


def abars_of(run, times):
    """abar at these times, of the two schedules that the runs here have."""
    schedule = run.recipe.schedule
    assert schedule.name == "normal"
    if schedule.steps is not None:
        betas = build_schedule(schedule).betas.tolist()
        return [math.prod(1 - beta for beta in betas[: round(t * schedule.steps)]) for t in times]
    log_snr = [schedule.mean - schedule.std * ndtri(t * norm.cdf((schedule.mean + 15) / schedule.std)) for t in times]
    return [1 / (1 + math.exp(-value)) for value in log_snr]


def bin_cost(byte, guess, std, low, h):
    """-log of the mass of N(guess, std²) in the byte's bin; those at the ends have no outer edge."""
    below = -math.inf if byte == 0 else (low + (byte - 0.5) * h - guess) / std
    above = math.inf if byte == 255 else (low + (byte + 0.5) * h - guess) / std
    mass = norm.sf(below) - norm.sf(above) if below > 0 else norm.cdf(above) - norm.cdf(below)
    return -math.log(mass)


@dataclass
class Slow:
    """L_T, the sum of L_{l-1} and L_0 of one example in nats, means of two draws of all the noise."""

    run: Run
    steps: int
    variance: str
    seed: int

    def __post_init__(self):
        self.network = self.run.denoiser().denoiser.network
        self.times = [k / self.steps for k in range(1, self.steps + 1)]
        self.abars = abars_of(self.run, self.times)

    def answer(self, k, noises, x0, label):
        """xt, the clipped guess of x0 and, where it is learned, the share of the variance: floats, for each noise."""
        abar, t = self.abars[k], torch.full((len(noises),), self.times[k])
        xt = math.sqrt(abar) * x0.double() + math.sqrt(1 - abar) * noises.double()
        told = Condition(label=None if label is None else torch.full((len(noises),), label))
        with torch.no_grad():
            out = self.network(xt.float(), t, told).double()
        if self.run.recipe.objective.predicts == "eps":
            out, raw = out.chunk(2, dim=1)
            guess = (xt - math.sqrt(1 - abar) * out) / math.sqrt(abar)
        else:
            raw = torch.zeros_like(out)
            guess = math.sqrt(abar) * xt - math.sqrt(1 - abar) * out
        return xt, guess.clamp(*self.run.data.range), (raw + 1) / 2

    def first(self, noises, x0, label):
        low, high = self.run.data.range
        h, total = (high - low) / 255, 0.0
        std = math.sqrt((1 - self.abars[0]) / self.abars[0])
        for guess in self.answer(0, noises, x0, label)[1]:
            for x, mean in zip(x0.flatten().tolist(), guess.flatten().tolist(), strict=True):
                total += bin_cost(round((x - low) / h), mean, std, low, h)
        return total / len(noises)

    def step(self, k, noises, x0, label):
        """KL of the posterior and the decoder from time k to k - 1, coordinate by coordinate."""
        now, before = self.abars[k], self.abars[k - 1]
        alpha, beta = now / before, 1 - now / before
        btilde, total = (1 - before) / (1 - now) * beta, 0.0
        of_x0, of_xt = math.sqrt(before) * beta / (1 - now), math.sqrt(alpha) * (1 - before) / (1 - now)
        for row in zip(*self.answer(k, noises, x0, label), strict=True):
            for x, z, guess, share in zip(x0.flatten().tolist(), *(v.flatten().tolist() for v in row), strict=True):
                log_v = {"step": math.log(beta), "posterior": math.log(btilde)}
                log_v["learned"] = share * math.log(beta) + (1 - share) * math.log(btilde)
                v = math.exp(log_v[self.variance])
                apart = (of_x0 * x + of_xt * z) - (of_x0 * guess + of_xt * z)
                total += 0.5 * (math.log(v / btilde) + btilde / v + apart**2 / v - 1)
        return total / len(noises)

    def __call__(self, index, x0, label):
        generator = generator_of(seed_of(self.seed, "bound"), "sample", index)

        def drawn(count):
            return torch.stack([torch.randn(x0.shape, generator=generator) for _ in range(count)])

        first = self.first(drawn(2), x0, label)
        halves = torch.stack([drawn(self.steps - 1), drawn(self.steps - 1)])
        between = sum(self.step(k, halves[:, k - 1], x0, label) for k in range(1, self.steps))
        last = self.abars[-1]
        prior = sum(0.5 * (last * x**2 + (1 - last) - 1 - math.log1p(-last)) for x in x0.flatten().tolist())
        return prior, between, first


CASES = {
    "table": (table_run, {}, 20, "step"),
    "posterior variance": (table_run, {"variance": "posterior"}, 20, "posterior"),
    "some steps of a table": (table_run, {"chain": 10, "seed": 3}, 10, "step"),
    "learned variance": (lambda: table_run("hybrid"), {}, 20, "learned"),
    "learned, but not taken": (lambda: table_run("hybrid"), {"variance": "step"}, 20, "step"),
    "steps of a continuous schedule": (grey_run, {"chain": 12}, 12, "step"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_full_bound_is_that_of_plain_loops(case):
    make, settings, steps, variance = CASES[case]
    asked = asked_of(make(), examples=2, full=True, **settings)
    found, some = bound_of(asked), asked.examples.batch([0, 1])
    slow = Slow(asked.run, steps, variance, asked.settings.seed)
    for index in range(2):
        prior, between, first = slow(index, some.x0[index], int(some.condition.label[index]))
        assert float(found.prior[index]) == pytest.approx(prior, rel=1e-5)
        assert float(found.steps[index]) == pytest.approx(between, rel=1e-5)
        assert float(found.reconstruction[index]) == pytest.approx(first, rel=1e-5)


def test_labels_are_told_to_the_network():
    """With the labels of plain loops changed or withheld, they come to something else."""
    asked = asked_of(table_run(), examples=1, full=True)
    found, x0 = float(bound_of(asked).nats), asked.examples.batch([0]).x0[0]
    slow, mine = Slow(asked.run, 20, "step", 0), int(asked.examples.labels[0])
    assert found == pytest.approx(sum(slow(0, x0, mine)), rel=1e-5)
    for label in ((mine + 1) % 10, None):
        assert abs(sum(slow(0, x0, label)) / found - 1) > 1e-4


def test_examples_without_labels_are_measured_without(tmp_path):
    asked = asked_of(table_run(), examples=2, full=True)
    np.save(tmp_path / "same.npy", asked.examples.values.squeeze(-1))
    bare = asked_of(table_run(), source=str(tmp_path / "same.npy"), split="train", full=True)
    found = bound_of(bare)
    slow = Slow(asked.run, 20, "step", 0)
    expected = [sum(slow(i, bare.examples.batch([i]).x0[0], None)) for i in range(2)]
    assert found.nats.tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("settings", [{}, {"chain": 10}, {"variance": "posterior"}])
def test_a_few_levels_estimate_the_full_sum(settings):
    full = bound_of(asked_of(table_run(), examples=30, full=True, **settings))
    some = bound_of(asked_of(table_run(), examples=30, levels=8, seed=1, **settings))
    error = math.hypot(full.noise_error, some.noise_error)
    assert abs(full.bits - some.bits) < SIGMAS * error
    assert error < 0.1
    assert torch.equal(full.prior, some.prior)


def test_the_limit_of_a_continuous_schedule_is_what_many_steps_tend_to():
    """Between the same ends; L_0 is left out, as it begins elsewhere."""
    run = open_run(grey_run())
    asked = asked_of(grey_run(), examples=30, levels=40, chain=1000)
    limit = asked_of(grey_run(), examples=30, levels=40, highest=asked.ladder.ends[0], seed=1)
    assert isinstance(limit.ladder, Limit)
    a, b = bound_of(asked), bound_of(limit)
    error = math.hypot(a.noise_error, b.noise_error)
    assert abs(a.in_bits(a.steps) - b.in_bits(b.steps)) < SIGMAS * error + 0.02 * b.in_bits(b.steps)
    assert highest_log_snr(run) == pytest.approx(-2 * math.log(bin_width(run.data.value_range)))


@pytest.mark.parametrize("noise_in_bytes", [1.0, 4.0])
def test_the_chain_of_images_begins_at_noise_of_so_many_bytes(noise_in_bytes):
    asked = asked_of(grey_run(), examples=1, first_noise=noise_in_bytes)
    level = asked.denoiser.corruption.level(torch.tensor([asked.ladder.first], dtype=torch.float64))
    assert float(level.sigma / level.alpha) == pytest.approx(noise_in_bytes * bin_width(asked.run.data.value_range))
    assert highest_log_snr(open_run(point_run())) == module.POINTS_LOG_SNR


# --- what is measured -------------------------------------------------------------------------------------------------


def test_examples_are_held_out_unflipped_spread_and_in_the_runs_own_range(tmp_path):
    run = open_run(shutil.copytree(grey_run(), tmp_path / "run"))
    replace(run, recipe=replace(run.recipe, data=replace(run.recipe.data, flip=True, limit=40))).write()
    asked, test = (
        asked_of(run.path, source="digits", examples=50),
        build_data(DataRecipe(), "test", run.data.value_range),
    )
    assert len(asked.dataset) == len(test)
    assert len(asked.examples) == 50
    assert set(asked.examples.names) <= set(test.names)
    assert torch.equal(asked.dataset.batch(range(9)).x0, test.batch(range(9)).x0)
    assert len(asked_of(run.path, source="digits", examples=10**6).examples) == len(test)
    assert len(asked_of(run.path, source="digits", split="train").dataset) == 1500
    np.save(tmp_path / "dark.npy", np.zeros((3, 8, 8), np.uint8))
    dark = asked_of(run.path, source=str(tmp_path / "dark.npy"), split="train")
    assert dark.dataset.range == run.data.value_range
    assert (dark.examples.batch([0]).x0 == run.data.range[0]).all()


@pytest.fixture
def sources(tmp_path):
    """Data that are not those of the digits."""
    some = np.random.default_rng(0).integers(0, 256, (6, 8, 8), dtype=np.uint8)
    np.save(tmp_path / "small.npy", some[:, :4, :4])
    np.save(tmp_path / "colour.npy", np.stack([some] * 3, axis=-1))
    np.savez(tmp_path / "three.npz", images=some, labels=np.arange(6) % 3)
    np.save(tmp_path / "fits.npy", some)
    return tmp_path


REFUSED = {
    "a smaller picture": (grey_run, {"source": "small.npy"}, "shape 1x4x4.*trained on 1x8x8"),
    "a picture in colour": (grey_run, {"source": "colour.npy"}, "shape 3x8x8.*trained on 1x8x8"),
    "points for pictures": (grey_run, {"source": "moons"}, "shape 2, .*trained on 1x8x8"),
    "pictures for points": (point_run, {"source": "digits"}, "shape 1x8x8.*trained on 2"),
    "other classes": (grey_run, {"source": "three.npz"}, "classes 0, 1, 2.*learned 0, 1, 2, 3, 4"),
    "data that is gone": (colour_run, {}, "pictures"),
    "a file without a test set": (grey_run, {"source": "fits.npy", "split": "test"}, "no test split"),
    "no examples": (grey_run, {"examples": 0}, "0 examples came"),
    "every step of none": (grey_run, {"full": True}, "--chain 1000"),
    "a variance of no step": (grey_run, {"variance": "step"}, "--chain 1000"),
    "a variance that was not learned": (table_run, {"variance": "learned"}, "fixed variance"),
    "more steps than a table has": (table_run, {"chain": 21}, "expected from 1 to 20"),
    "no steps": (grey_run, {"chain": 0}, "0 steps"),
    "one step": (grey_run, {"chain": 1}, "one step came"),
    "an end for a chain of steps": (table_run, {"highest": 5.0}, "--highest"),
    "an end below the last": (grey_run, {"highest": -20.0}, "highest log-SNR of -20"),
    "an end that is no number": (grey_run, {"highest": math.nan}, "highest log-SNR of nan"),
    "an end without end": (grey_run, {"highest": math.inf}, "--highest inf"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_measured_is_refused(sources, case):
    make, settings, says = REFUSED[case]
    settings = {"split": "train"} | settings if "npy" in str(settings) or "npz" in str(settings) else settings
    if "source" in settings and "." in settings["source"]:
        settings = settings | {"source": str(sources / settings["source"])}
    with pytest.raises(EbbtideError, match=says):
        asked_of(make(), **settings)


@pytest.mark.parametrize(
    ("make", "settings"), [(table_run, {"full": True}), (grey_run, {"levels": 4}), (point_run, {"levels": 8})]
)
def test_the_summary_is_json_whose_parts_and_curves_add_up(make, settings):
    asked = asked_of(make(), examples=3, **settings)
    bound = bound_of(asked)
    found = summary(asked, bound)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["bits"] == pytest.approx(sum(found["parts"].values()))
    assert found["log_snr"] == sorted(found["log_snr"])
    assert len({len(found[name]) for name in ("log_snr", "t", "rate", "width", "distortion")}) == 1
    if settings.get("full"):
        total = sum(rate * width for rate, width in zip(found["rate"], found["width"], strict=True))
        assert total == pytest.approx(found["parts"]["steps"])
        assert (found["steps"], found["limit"]) == (20, False)
        assert found["t"] == pytest.approx([k / 20 for k in range(20, 1, -1)])
    else:
        assert (found["steps"], found["limit"]) == (None, True)
        level = asked.denoiser.corruption.level(torch.tensor(found["t"], dtype=torch.float64))
        assert level.log_snr.tolist() == pytest.approx(found["log_snr"])


def test_one_example_says_nothing_of_others():
    asked = asked_of(grey_run(), examples=1, levels=2)
    found = summary(asked, bound_of(asked))
    assert found["example_error"] is None
    assert None in found["rate"]
    json.dumps(found, allow_nan=False)
