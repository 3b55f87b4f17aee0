"""A recipe tried out: the precision is the faster one, the speed is that of training, and nothing of it stays."""

from dataclasses import replace

import pytest
import torch

from ebbtide.recipes import trial
from ebbtide.recipes.presets import PRESETS
from ebbtide.recipes.run import open_run
from ebbtide.recipes.trial import Trial, made_up, tried
from trials import differing, last, point_run, small, trained


def with_precision(precision, **training):
    recipe = small("moons")
    return replace(recipe, training=replace(recipe.training, precision=precision, **training))


@pytest.fixture
def able(monkeypatch):
    """A machine that can do bf16 in hardware, where an update takes what `seconds` says."""
    seconds = {"fp32": 1.0, "bf16": 1.0}
    monkeypatch.setattr(trial, "native_bf16", lambda device: True)
    monkeypatch.setattr(trial, "_times", lambda recipe, dataset, device, precision, batch: {1: [seconds[precision]]})
    return seconds


@pytest.mark.parametrize(
    ("bf16", "better"), [(0.5, "bf16"), (1.0, "fp32"), (2.0, "fp32"), (1 / (trial.GAIN + 0.01), "bf16")]
)
def test_the_faster_precision_is_chosen(able, bf16, better):
    able["bf16"] = bf16
    found = tried(with_precision("auto"), made_up((2,), 0))
    assert found.precision == better
    assert found.gain == pytest.approx(1 / bf16)
    assert found.speed == pytest.approx(16 / able[better])
    assert better in found.words()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_precision_that_is_asked_for_is_kept(able, precision):
    found = tried(with_precision(precision), made_up((2,), 0))
    assert (found.precision, found.gain) == (precision, None)


def test_without_the_hardware_bf16_is_not_even_tried(able, monkeypatch):
    monkeypatch.setattr(trial, "native_bf16", lambda device: False)
    able["bf16"] = 1e-9
    assert tried(with_precision("auto"), made_up((2,), 0)).precision == "fp32"


def test_a_busy_moment_does_not_decide(able, monkeypatch):
    """One precision is held up in most of its updates, by threads that wait for one another; its quickest one tells."""
    times = {"fp32": {1: [1.0, 1.0], 2: [1.0, 1.0]}, "bf16": {1: [0.9, 0.5], 2: [30.0]}}
    monkeypatch.setattr(trial, "_times", lambda recipe, dataset, device, precision, batch: times[precision])
    found = tried(with_precision("auto"), made_up((2,), 0))
    assert (found.precision, found.gain) == ("bf16", 2.0)
    assert found.speed == pytest.approx(16 / 0.7)


def test_a_large_batch_is_drawn_out_from_two_small_ones(able, monkeypatch):
    """An update of seconds = 3 + images / 8 is found exactly, from a part of the images."""
    sizes = []

    def times(recipe, dataset, device, precision, batch):
        sizes.append(batch)
        return {1: [30 + batch / 8], 2: [3 + batch / 8]}

    monkeypatch.setattr(trial, "_times", times)
    preset = PRESETS["cifar10-base"]
    batch = preset.recipe.training.batch
    found = tried(preset.recipe, made_up(preset.shape, preset.classes))
    assert found.speed == pytest.approx(batch / (3 + batch / 8))
    assert max(sizes) <= batch / 8


@pytest.mark.parametrize(("shape", "classes"), [((2,), 0), ((1, 8, 8), 3)])
def test_a_trial_takes_real_updates_and_leaves_no_trace(shape, classes, monkeypatch):
    monkeypatch.setattr(trial, "SECONDS", 0.0)
    recipe, before = small("moons" if len(shape) == 1 else "digits"), torch.get_rng_state()
    found = tried(recipe, made_up(shape, classes))
    assert found.speed > 0
    assert torch.equal(torch.get_rng_state(), before)


def test_training_is_the_same_with_and_without_a_trial(tmp_path, monkeypatch):
    monkeypatch.setattr("ebbtide.recipes.train.WORTH", 0)
    monkeypatch.setattr(trial, "SECONDS", 0.0)
    happened = trained(small("swiss-roll"), tmp_path / "tried")
    assert any("to expect" in getattr(one, "text", "") for one in happened)
    assert not differing(last(point_run()), last(tmp_path / "tried"))


def test_a_run_is_drawn_and_goes_on_in_the_precision_it_began_in(tmp_path, monkeypatch):
    monkeypatch.setattr("ebbtide.recipes.train.WORTH", 0)
    monkeypatch.setattr(
        "ebbtide.recipes.train.tried", lambda recipe, dataset, device: Trial(precision="bf16", speed=1.0)
    )
    trained(small(precision="auto"), tmp_path / "run")
    run = open_run(tmp_path / "run")
    assert run.machine["precision"] == "bf16"
    asked = []
    monkeypatch.setattr(
        "ebbtide.recipes.train.tried",
        lambda recipe, dataset, device: asked.append(recipe.training.precision) or Trial(precision="fp32", speed=1.0),
    )
    for native, precision in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr("ebbtide.recipes.run.native_bf16", lambda device, native=native: native)
        assert run.precision_on("cpu") == precision
        trained(small(precision="auto", updates=8), tmp_path / "run", resume=True)
        assert asked[-1] == precision
