"""What training says by itself: about the data before the first update, about losses that rise, about levels."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from ebbtide.doctor import watch
from ebbtide.evaluation.records import read_records
from ebbtide.recipes.build import build_data, build_schedule
from ebbtide.recipes.objectives import with_objective
from ebbtide.recipes.recipe import ScheduleRecipe
from ebbtide.recipes.session import Ended, Note
from ebbtide.training import Update
from ebbtide.training.bins import BINS
from trials import pictures, small, trained

TROUBLE = True


def notes(happenings, trouble=None):
    found = [happening for happening in happenings if isinstance(happening, Note)]
    return [note.text for note in found if trouble in (None, note.trouble)]


def of_kind(out, kind):
    return [record for record in read_records(out / "metrics.jsonl") if record["kind"] == kind]


# --- before the first update ------------------------------------------------------------------------------------------


def test_files_that_cannot_be_read_are_named_before_the_first_update_and_on_record(tmp_path):
    source = pictures(tmp_path / "pictures", 20, colour=False)
    (source / "broken.png").write_bytes(b"\x89PNG\r\n")
    happenings = trained(small("images", source=str(source), updates=2), tmp_path / "run")
    (text,) = notes(happenings, TROUBLE)
    assert "1 of 21 files cannot be read" in text
    assert "broken.png" in text
    first = next(index for index, happening in enumerate(happenings) if isinstance(happening, Update))
    assert text in notes(happenings[:first])
    assert text in [record["message"] for record in of_kind(tmp_path / "run", "event")]


def test_few_examples_are_worth_a_word_and_no_trouble(tmp_path):
    source = pictures(tmp_path / "pictures", 20, colour=False)
    happenings = trained(small("images", source=str(source), updates=1), tmp_path / "run")
    assert notes(happenings, TROUBLE) == []
    assert any("20 examples: so few may be learned by heart" in text for text in notes(happenings))


@pytest.mark.parametrize(("low", "high", "said"), [(0.0, 255.0, True), (0.0, 1.0, False), (None, None, False)])
def test_data_on_another_scale_than_the_noise_are_said_to_be_not_normalised(tmp_path, low, high, said):
    recipe = small(updates=1)
    recipe = replace(recipe, data=replace(recipe.data, low=low, high=high))
    found = [text for text in notes(trained(recipe, tmp_path), TROUBLE) if "not normalised" in text]
    assert len(found) == said
    if said:
        assert "leave data.low and data.high out" in found[0]


def test_a_schedule_that_leaves_signal_is_trouble(tmp_path):
    recipe = replace(small("moons", updates=1), schedule=ScheduleRecipe(name="constant", steps=3, beta=0.1))
    (text,) = notes(trained(recipe, tmp_path), TROUBLE)
    assert "bits a dimension" in text
    assert "use more steps or larger betas" in text


# --- bars by level ----------------------------------------------------------------------------------------------------


def of_table(objective, steps=3):
    recipe = replace(small(updates=steps, pictures=1), schedule=ScheduleRecipe(steps=20))
    return with_objective(recipe, objective)


@pytest.mark.parametrize("objective", ["v", "simple", "score", "min-snr", "bound", "mean"])
def test_losses_by_level_come_with_the_best_constant_and_linear_denoisers(tmp_path, objective):
    trained(of_table(objective), tmp_path)
    (record,) = of_kind(tmp_path, "levels")
    assert len(record["constant"]) == len(record["linear"]) == len(record["loss"]) == BINS
    for constant, linear in zip(record["constant"], record["linear"], strict=True):
        assert 0 <= linear <= constant * (1 + 1e-9) < math.inf
    assert sum(linear < 0.9 * constant for linear, constant in zip(record["linear"], record["constant"], strict=True))


@pytest.mark.parametrize("objective", ["hybrid", "step-noise", "previous"])
def test_losses_that_are_no_squared_error_alone_have_no_bars(tmp_path, objective):
    trained(of_table(objective), tmp_path)
    (record,) = of_kind(tmp_path, "levels")
    assert not {"constant", "linear"} & set(record)


def test_the_bar_of_a_constant_is_the_variance_where_errors_of_x0_count_as_they_are(tmp_path):
    recipe = with_objective(small("swiss-roll", updates=4, pictures=2), "x0")
    trained(recipe, tmp_path)
    records = of_kind(tmp_path, "levels")
    variance = float(build_data(recipe.data).values.astype(np.float64).var(0).mean())
    assert len(records) == 2
    for record in records:
        assert record["constant"] == pytest.approx([variance] * BINS, rel=0.02)  # of 5000 examples
        assert record["linear"] == sorted(record["linear"])
        assert record["linear"][0] < 0.01 * variance
        assert record["linear"][-1] == pytest.approx(variance, rel=0.05)


def test_a_network_that_beats_no_constant_is_told_once(tmp_path, monkeypatch):
    monkeypatch.setattr(watch, "SEEN", 1)
    happenings = trained(small("swiss-roll", updates=6, pictures=3, rate=1e-9), tmp_path)
    constant = [text for text in notes(happenings, TROUBLE) if "guessing the mean" in text]
    assert len(constant) == 1
    assert constant[0] in [record["message"] for record in of_kind(tmp_path, "event")]
    assert isinstance(happenings[-1], Ended)


def test_the_linear_bar_of_few_examples_of_many_numbers_is_not_learned_by_heart(tmp_path):
    """20 pictures of 192 independent pixels of one variance v, where the least error is v / (1 + v SNR)."""
    source = pictures(tmp_path / "pictures", 20, colour=True)
    recipe = with_objective(small("images", source=str(source), updates=1, pictures=1), "x0")
    trained(recipe, tmp_path / "run")
    (record,) = of_kind(tmp_path / "run", "levels")
    schedule = build_schedule(recipe.schedule)
    t = (torch.arange(64 * BINS, dtype=torch.float64) + 0.5) / (64 * BINS)
    v, noise = record["constant"][0], 1 / schedule.level(t).log_snr.exp()
    expected = (v * noise / (v + noise)).reshape(BINS, 64).mean(1).tolist()
    assert v == pytest.approx(1, rel=0.2)
    assert record["linear"] == pytest.approx(expected, rel=0.1)


def test_one_example_is_learned_as_any(tmp_path):
    """There is no covariance of one, so there are no bars; nothing stops."""
    source = pictures(tmp_path / "pictures", 1, colour=False)
    *_, ended = trained(small("images", source=str(source), updates=2, pictures=1), tmp_path / "run")
    assert ended.finished
    (record,) = of_kind(tmp_path / "run", "levels")
    assert not any(record.get("constant", []))


def test_examples_that_are_all_alike_are_learned_as_any(tmp_path, monkeypatch):
    monkeypatch.setattr(watch, "SEEN", 1)
    happenings = trained(small("dots", updates=3, pictures=2), tmp_path)
    assert isinstance(happenings[-1], Ended)
    assert len(of_kind(tmp_path, "levels")) == 2


# --- losses that rise -------------------------------------------------------------------------------------------------


def rising(text):
    return "the loss has risen" in text


def test_a_learning_rate_far_too_high_is_told_once_and_at_a_fair_one_nothing_is(tmp_path, unchecked, monkeypatch):
    """The rate climbs for long, so that there is a loss to rise from."""
    monkeypatch.setattr("ebbtide.recipes.recipe.check_bounds", lambda recipe: None)  # which allow no such rate
    recipe = small("swiss-roll", updates=250, optimizer="adamw", warmup=250, decay=0.0, batch=32)
    for name, rate in (("high", 100.0), ("fair", 2e-3)):
        one = replace(recipe, training=replace(recipe.training, rate=rate))
        found = [text for text in notes(trained(one, tmp_path / name), TROUBLE) if rising(text)]
        assert len(found) == (name == "high")
        messages = [record["message"] for record in of_kind(tmp_path / name, "event")]
        assert [text for text in messages if rising(text)] == found
