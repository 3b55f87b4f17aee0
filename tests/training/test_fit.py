"""The loop: what it minimises, what never reaches the weights, and what it leaves alone."""

from __future__ import annotations

import copy
import importlib
import itertools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ebbtide.corruptions import GaussianCorruption
from ebbtide.data import Dataset, load
from ebbtide.errors import TrainingStopped
from ebbtide.networks import Mlp
from ebbtide.objectives import DenoisingObjective, Losses
from ebbtide.recipes.build import build_trainee
from ebbtide.recipes.recipe import TrainingRecipe
from ebbtide.schedules import CosineSchedule
from ebbtide.training import FitSettings, Trainee, fit
from ebbtide.training.average import Average
from ebbtide.training.fit import PATIENCE
from ebbtide.training.machine import accelerator_of

STEADY = {"warmup": 0, "decay": 0.0}
POINTS = Dataset(name="points", values=np.random.default_rng(0).normal(size=(30, 2)).astype(np.float32))
DENOISING = DenoisingObjective(corruption=GaussianCorruption(CosineSchedule()), predicts="v")


def mlp_trainee(dropout: float = 0.0) -> Trainee:
    torch.manual_seed(0)
    return build_trainee(TrainingRecipe(half_life=100), Mlp(2, width=16, depth=1, dropout=dropout))


def run(trainee: Trainee, objective: Any, dataset: Dataset = POINTS, precision: str = "fp32", **settings: Any) -> Any:
    options = {"batch": 6, "updates": 10, "rate": 1e-2} | settings
    return fit(trainee, objective, dataset, FitSettings(**options), accelerator_of(precision))


def frozen(trainee: Trainee) -> dict[str, Tensor]:
    """Every tensor that training may change, as it is now."""
    tensors = trainee.checkpoint().tensors
    return {f"{group}/{name}": value.clone() for group, some in tensors.items() for name, value in some.items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


class Pull(nn.Module):
    """Two weights that are their own output."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight.expand_as(x)


def pull(network: Callable[..., Tensor], x0: Tensor, condition: Any, generator: torch.Generator) -> Losses:
    """-x0·w: its gradient is minus the mean of the batch, whatever the weights."""
    return Losses(-(network(x0) * x0).sum(1), torch.full((len(x0),), 0.5, dtype=torch.float64))


def pull_trainee() -> Trainee:
    network = Pull()
    return Trainee(network, torch.optim.SGD(network.parameters(), lr=1.0), Average(network, 100))


def test_the_loss_falls():
    objective = DenoisingObjective(corruption=DENOISING.corruption, predicts="eps")
    losses = [update.loss for update in run(mlp_trainee(), objective, load("mixture"), batch=128, updates=100)]
    assert np.mean(losses[:3]) == pytest.approx(1, abs=0.15), "a new network predicts 0 for noise of variance 1"
    assert np.mean(losses[-20:]) < 0.7


@pytest.mark.parametrize("accumulate", [1, 2, 3, 6])
def test_an_update_follows_the_mean_gradient_over_all_its_parts(accumulate):
    whole, parts = pull_trainee(), pull_trainee()
    options = {"rate": 1.0, "clip": 1e9, "updates": 4} | STEADY
    expected = list(run(whole, pull, **options))
    got = list(run(parts, pull, **options, accumulate=accumulate))
    assert torch.allclose(whole.network.weight, parts.network.weight, atol=1e-6)
    assert [update.loss for update in got] == pytest.approx([update.loss for update in expected], abs=1e-6)
    assert [update.images for update in got] == [6, 12, 18, 24]


def test_an_epoch_of_updates_adds_up_to_the_mean_of_the_data():
    trainee = pull_trainee()
    list(run(trainee, pull, rate=1.0, clip=1e9, updates=5, **STEADY))
    assert torch.allclose(trainee.network.weight, torch.from_numpy(POINTS.values).mean(0) * 5, atol=1e-5)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_the_gradient_is_clipped_to_a_norm_and_never_enlarged(scale):
    def scaled(network, x0, condition, generator):
        return Losses(scale * (network(x0) * torch.tensor([3.0, 4.0])).sum(1), torch.ones(len(x0)).double())

    trainee = pull_trainee()
    (update,) = run(trainee, scaled, rate=1.0, clip=0.5, updates=1, **STEADY)
    assert update.grad_norm == pytest.approx(5 * scale, rel=1e-4)
    assert trainee.network.weight.norm().item() == pytest.approx(min(0.5, 5 * scale), rel=1e-4)


def test_the_rate_that_is_reported_is_the_one_that_is_used():
    trainee = pull_trainee()
    before, moved = trainee.network.weight.detach().clone(), []
    objective = lambda network, x0, condition, generator: Losses(  # noqa: E731
        (network(x0) * torch.tensor([1.0, 0.0])).sum(1), torch.ones(len(x0)).double()
    )
    updates = []
    for update in run(trainee, objective, rate=0.1, clip=1e9, updates=20, warmup=5, decay=0.5):
        moved.append((before - trainee.network.weight.detach()).norm().item())
        before = trainee.network.weight.detach().clone()
        updates.append(update)
    assert moved == pytest.approx([update.rate for update in updates], abs=1e-6)
    assert max(moved) == pytest.approx(0.1)
    assert moved[-1] < 0.01


@dataclass
class Faulty:
    """An objective with a fault in some of its calls."""

    fault: str
    calls: set[int]
    places: tuple[int, ...] = (0,)
    count: itertools.count = field(default_factory=itertools.count)

    def __call__(self, network, x0, condition, generator):
        losses = DENOISING(network, x0, condition, generator)
        if next(self.count) not in self.calls:
            return losses
        bad = torch.zeros(len(x0))
        bad[list(self.places)] = {"nan": math.nan, "inf": math.inf, "gradient": 0.0}[self.fault]
        if self.fault == "gradient":  # the loss is finite, its gradient is 0 * inf
            bad = (losses.values * 0).sqrt()
        return Losses(losses.values + bad, losses.times)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("fault", ["nan", "inf", "gradient"])
def test_an_update_that_is_not_finite_changes_nothing(fault, precision):
    trainee, faulty = mlp_trainee(dropout=0.1), {0, 3, 4, 7}
    before, bins = frozen(trainee), copy.deepcopy(trainee.bins)
    for index, update in enumerate(run(trainee, Faulty(fault, faulty), precision=precision)):
        after = frozen(trainee)
        assert update.skipped == (index in faulty)
        assert same(before, after) == update.skipped
        assert (trainee.bins == bins) == update.skipped
        before, bins = after, copy.deepcopy(trainee.bins)
    assert (trainee.counters.skipped, trainee.counters.skipped_in_a_row, trainee.counters.step) == (4, 0, 10)
    assert all(torch.isfinite(value).all() for value in before.values())


def test_one_bad_part_spoils_the_whole_update():
    trainee = mlp_trainee()
    before = frozen(trainee)
    (update,) = run(trainee, Faulty("nan", {1}), updates=1, accumulate=3)
    assert update.skipped
    assert same(before, frozen(trainee))


def test_after_too_many_in_a_row_it_stops_and_names_where_and_which():
    """Batches of all the data, two examples of which are bad after the first three updates."""
    trainee, calls = mlp_trainee(), itertools.count()
    guilty = torch.from_numpy(POINTS.values[[7, 12]])

    def objective(network, x0, condition, generator):
        losses = DENOISING(network, x0, condition, generator)
        bad = (x0[:, None] == guilty).all(2).any(1) & (next(calls) >= 3)
        return Losses(losses.values.masked_fill(bad, math.nan), torch.where(bad, 0.25, losses.times))

    with pytest.raises(TrainingStopped) as raised:
        list(run(trainee, objective, batch=30, updates=100))
    message = str(raised.value)
    assert trainee.counters.step == 3 + PATIENCE
    assert f"at update {3 + PATIENCE}:" in message
    assert "2 of 30 losses" in message
    assert "t=0.250 to 0.250" in message
    assert set(re.findall(r"points\[\d+\]", message)) == {"points[7]", "points[12]"}


def test_a_good_update_in_between_starts_the_count_anew():
    trainee, period = mlp_trainee(), PATIENCE
    faulty = {call for call in range(30) if call % period != period - 1}
    updates = list(run(trainee, Faulty("inf", faulty), updates=30))
    assert sum(update.skipped for update in updates) == trainee.counters.skipped == len(faulty)


def test_a_gradient_that_stays_bad_stops_it_too():
    with pytest.raises(TrainingStopped, match=r"the gradient \(norm nan\)"):
        list(run(mlp_trainee(), Faulty("gradient", set(range(100))), updates=100))


def test_the_generators_of_the_caller_are_left_alone():
    trainee = mlp_trainee(dropout=0.3)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    for _ in run(trainee, DENOISING):
        assert torch.equal(torch.get_rng_state(), before[0])
        assert np.random.get_state()[1].tolist() == before[1]


def test_what_the_caller_draws_meanwhile_changes_nothing():
    quiet, noisy = mlp_trainee(dropout=0.3), mlp_trainee(dropout=0.3)
    list(run(quiet, DENOISING))
    for update in run(noisy, DENOISING):
        torch.manual_seed(update.step)
        torch.rand(update.step)
    assert same(frozen(quiet), frozen(noisy))


@pytest.mark.parametrize(("change", "equal"), [({}, True), ({"seed": 1}, False)])
def test_the_seed_decides_everything(change, equal):
    one, other = mlp_trainee(dropout=0.3), mlp_trainee(dropout=0.3)
    list(run(one, DENOISING))
    list(run(other, DENOISING, **change))
    assert same(frozen(one), frozen(other)) == equal


def test_dropout_is_new_in_every_update():
    masks = []

    def watching(network, x0, condition, generator):
        masks.append(nn.functional.dropout(torch.ones(50), 0.5, training=network.training))
        return DENOISING(network, x0, condition, generator)

    trainee = mlp_trainee()
    trainee.network.eval()
    list(run(trainee, watching, accumulate=2))
    assert len({tuple(mask.tolist()) for mask in masks}) == 20


def test_in_bf16_the_weights_and_their_average_stay_in_float32():
    trainee = mlp_trainee()
    list(run(trainee, DENOISING, precision="bf16"))
    assert {value.dtype for value in frozen(trainee).values()} == {torch.float32}


def test_the_average_follows_the_weights_with_its_own_half_life():
    trainee = mlp_trainee()
    expected = Average(copy.deepcopy(trainee.network), 100)
    for update in run(trainee, DENOISING):
        expected.update(trainee.network, batch=6, images=update.images)
    pairs = zip(trainee.average.network.parameters(), expected.network.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_budget_of_time_ends_it_with_a_rate_near_zero(monkeypatch):
    """One second of the clock for each time that it is read."""
    clock = itertools.count()
    module = importlib.import_module("ebbtide.training.fit")
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: float(next(clock))))
    trainee = mlp_trainee()
    updates = list(run(trainee, DENOISING, updates=None, seconds=200.0, warmup=3, decay=0.5))
    assert updates[-1].progress == 1.0
    assert 200 <= trainee.counters.seconds < 205
    assert max(update.rate for update in updates) == pytest.approx(1e-2)
    assert updates[-1].rate < 1e-4
    assert all(update.progress < 1 for update in updates[:-1])


def test_a_trainee_whose_budget_is_spent_is_left_alone():
    trainee = mlp_trainee()
    assert len(list(run(trainee, DENOISING))) == 10
    before = frozen(trainee)
    assert list(run(trainee, DENOISING)) == []
    assert same(before, frozen(trainee))
    assert len(list(run(trainee, DENOISING, updates=13))) == 3
