"""A run can be stopped at any update and goes on exactly; what goes wrong is said and spoils nothing."""

from __future__ import annotations

import errno
import itertools
import json
import math
import os
import random
import sys
from dataclasses import asdict, dataclass, replace
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from ebbtide.errors import EbbtideError, TrainingStopped
from ebbtide.evaluation.records import Records, read_records
from ebbtide.objectives import DenoisingObjective, Losses
from ebbtide.recipes import lock, session, showing
from ebbtide.recipes import train as train_module
from ebbtide.recipes.corruptions import objective_of
from ebbtide.recipes.draw import draw_all
from ebbtide.recipes.run import open_run
from ebbtide.recipes.session import Ended, Note
from ebbtide.recipes.train import train
from ebbtide.recipes.trial import WORTH
from ebbtide.training import Update, checkpoints
from ebbtide.training.fit import PATIENCE
from trials import Clock, differing, everything_in, last, pictures, small, trained, updates

QUICK = partial(small, "swiss-roll")


def notes(happenings, trouble=None):
    found = [happening for happening in happenings if isinstance(happening, Note)]
    return [note.text for note in found if trouble in (None, note.trouble)]


def stop_after(count):
    """A question that is answered with yes after so many updates."""
    asked = itertools.count(1)
    return lambda: next(asked) == count


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["digits", "swiss-roll"])
def test_a_run_that_was_stopped_and_resumed_is_the_run_that_never_stopped(tmp_path, name, precision):
    recipe = small(name, dropout=0.1, updates=14, precision=precision, half_life=100)
    trained(recipe, tmp_path / "whole")
    stops = sorted(random.Random(name + precision).sample(range(1, 14), 3))
    before = 0
    for stop in stops:
        *_, ended = trained(recipe, tmp_path / "cut", resume=before > 0, stop=stop_after(stop - before))
        assert isinstance(ended, Ended)
        assert not ended.finished
        assert last(tmp_path / "cut").step == stop
        before = stop
    *_, ended = trained(recipe, tmp_path / "cut", resume=True)
    assert ended.finished
    assert differing(last(tmp_path / "whole"), last(tmp_path / "cut")) == []
    assert updates(tmp_path / "whole") == updates(tmp_path / "cut")
    assert [step for step, _ in updates(tmp_path / "cut")] == list(range(1, 15))


def test_what_is_otherwise_after_a_resume_is_told(tmp_path):
    trained(QUICK(updates=2), tmp_path / "run")
    told = notes(trained(QUICK(updates=3, batch=8, clip=0.5), tmp_path / "run", resume=True))
    assert "from here on with batch 8 instead of 16, clip 0.5 instead of 1.0" in told
    told = notes(trained(QUICK(updates=4, batch=8, clip=0.5), tmp_path / "run", resume=True))
    assert not any("from here on" in note for note in told)


def test_what_was_done_after_the_last_checkpoint_is_taken_back(tmp_path):
    """The loop is left where it stands, as a kill would, two updates after a checkpoint."""
    recipe = QUICK(updates=12, checkpoint_updates=4)
    trained(recipe, tmp_path / "whole")
    for happening in train(recipe, tmp_path / "cut"):
        if isinstance(happening, Update) and happening.step == 10:
            break
    assert [step for step, _ in updates(tmp_path / "cut")] == list(range(1, 11))
    happenings = trained(recipe, tmp_path / "cut", resume=True)
    assert "resumed from update 8" in notes(happenings)
    assert differing(last(tmp_path / "whole"), last(tmp_path / "cut")) == []
    assert updates(tmp_path / "whole") == updates(tmp_path / "cut")


def test_without_a_checkpoint_it_begins_again(tmp_path):
    recipe = QUICK(updates=5)
    trained(recipe, tmp_path / "whole")
    for happening in train(recipe, tmp_path / "cut"):
        if isinstance(happening, Update) and happening.step == 3:
            break
    happenings = trained(recipe, tmp_path / "cut", resume=True)
    assert "no checkpoint was made yet: starting from the beginning" in notes(happenings)
    assert differing(last(tmp_path / "whole"), last(tmp_path / "cut")) == []
    assert updates(tmp_path / "whole") == updates(tmp_path / "cut")


def test_a_finished_run_goes_on_with_a_larger_budget(tmp_path):
    recipe = QUICK(updates=4, decay=0.0)
    trained(recipe, tmp_path / "run")
    trained(replace(recipe, training=replace(recipe.training, updates=9)), tmp_path / "run", resume=True)
    trained(QUICK(updates=9, decay=0.0), tmp_path / "whole")
    assert differing(last(tmp_path / "whole"), last(tmp_path / "run")) == []
    assert open_run(tmp_path / "run").recipe.training.updates == 9


@pytest.mark.parametrize(
    ("what", "section", "change"),
    [
        ("number of examples", "data", {"limit": 100}),
        ("data shape", "data", {"source": "threes.npy"}),
        ("network", "network", {"width": 32}),
        ("schedule", "schedule", {"name": "sigmoid"}),
        ("objective", "objective", {"predicts": "x0"}),
        ("seed", "training", {"seed": 1}),
        ("optimizer", "training", {"optimizer": "muon"}),
    ],
)
def test_another_model_or_other_data_cannot_take_a_run_over(tmp_path, monkeypatch, what, section, change):
    monkeypatch.chdir(tmp_path)
    np.save("threes.npy", np.ones((10_000, 3)))
    recipe, out = QUICK(updates=2), tmp_path / "run"
    trained(recipe, out)
    before = everything_in(out)
    other = replace(recipe, **{section: replace(getattr(recipe, section), **change)})
    with pytest.raises(EbbtideError, match=f"cannot resume .* its {what} (was|had)"):
        trained(other, out, resume=True)
    assert everything_in(out) == before


@pytest.mark.parametrize(
    "recipe",
    [
        QUICK(updates=0),
        QUICK(source="nowhere"),
        replace(QUICK(), schedule=replace(QUICK().schedule, name="list")),
        replace(QUICK(), schedule=replace(QUICK().schedule, name="linear", steps=2)),
        replace(QUICK(), network=replace(QUICK().network, name="unet")),
        replace(small(), network=replace(small().network, attention=(True,))),
    ],
    ids=["range", "no data", "no betas", "fewer steps than sampling takes", "network", "levels"],
)
def test_nothing_is_written_before_the_input_is_known_to_be_good(tmp_path, recipe):
    with pytest.raises(EbbtideError):
        trained(recipe, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["recipe.json", "holiday.jpg"])
def test_a_folder_with_something_in_it_is_left_alone(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(EbbtideError, match="is not empty"):
        trained(QUICK(), tmp_path)
    assert everything_in(tmp_path) == {name: b"mine"}


def test_only_one_process_trains_a_run_at_a_time(tmp_path):
    """A second training, or a resume, beside one that is at work; when that has ended the run goes on."""
    recipe = QUICK(updates=6, checkpoint_updates=2)
    going = train(recipe, tmp_path / "run")
    assert any(isinstance(happening, Update) and happening.step == 3 for happening in going)
    before = everything_in(tmp_path)
    for resume in (False, True):
        with pytest.raises(EbbtideError, match=f"run is being trained by process {os.getpid()} on"):
            trained(recipe, tmp_path / "run", resume=resume)
    assert everything_in(tmp_path) == before
    assert torch.isfinite(draw_all(open_run(tmp_path / "run"), open_run(tmp_path / "run").denoiser(), 2)).all()
    going.close()
    assert not (tmp_path / "run" / lock.FILE).exists()
    trained(recipe, tmp_path / "run", resume=True)
    assert [step for step, _ in updates(tmp_path / "run")] == list(range(1, 7))


def test_a_training_that_began_meanwhile_is_not_written_over(tmp_path, monkeypatch):
    """Both found the folder empty; the other one was there first, and has ended since."""
    real = train_module.build_data

    def meanwhile(recipe):
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "recipe.json").write_text("theirs")
        return real(recipe)

    monkeypatch.setattr(train_module, "build_data", meanwhile)
    with pytest.raises(EbbtideError, match="is not empty"):
        trained(QUICK(), tmp_path / "run")
    assert everything_in(tmp_path) == {"run/recipe.json": b"theirs"}


def test_a_run_that_was_left_locked_is_taken_over_and_that_is_said(tmp_path):
    trained(QUICK(updates=2), tmp_path)
    (tmp_path / lock.FILE).write_text(json.dumps(asdict(lock.Owner.this())))
    said = notes(trained(QUICK(updates=3), tmp_path, resume=True))
    assert any(f"process {os.getpid()} on" in text and "taken over" in text for text in said)


@pytest.mark.parametrize(("training", "expected"), [({"checkpoint_updates": 3, "keep": 3}, [3, 6, 7]), ({}, [7])])
def test_checkpoints_come_at_their_steps_and_at_the_end(tmp_path, training, expected):
    trained(QUICK(updates=7, **training), tmp_path)
    found = checkpoints.everything(tmp_path / "checkpoints")
    assert [int(path.name.removeprefix("step-")) for path in found] == expected


def test_checkpoints_come_by_the_clock_where_no_steps_are_given(tmp_path):
    trained(QUICK(updates=4, checkpoint_minutes=1e-9, keep=9), tmp_path)
    assert len(checkpoints.everything(tmp_path / "checkpoints")) == 4


@pytest.mark.parametrize(("steps", "count", "expected"), [(4, 2, [2, 4]), (2, 100, [1, 2]), (3, 0, [])])
def test_pictures_are_spread_evenly_over_the_run(tmp_path, steps, count, expected):
    trained(QUICK(updates=steps, pictures=count), tmp_path)
    records = read_records(tmp_path / "metrics.jsonl")
    sampled = [record for record in records if record["kind"] == "sampled"]
    assert [record["step"] for record in sampled] == expected
    assert [record["step"] for record in records if record["kind"] == "levels"] == expected
    for record in sampled:
        with Image.open(tmp_path / record["file"]) as image:
            image.verify()


def test_the_diary_says_what_every_update_did(tmp_path):
    happenings = trained(QUICK(updates=6), tmp_path)
    seen = [happening for happening in happenings if isinstance(happening, Update)]
    records = [record for record in read_records(tmp_path / "metrics.jsonl") if record["kind"] == "update"]
    for update, record in zip(seen, records, strict=True):
        for name in ("step", "images", "loss", "rate", "grad_norm"):
            assert record[name] == getattr(update, name)
    assert read_records(tmp_path / "metrics.jsonl")[-1]["kind"] == "done"


@dataclass(frozen=True, kw_only=True)
class Failing(DenoisingObjective):
    """Losses that are not finite in the calls with some numbers, counted from 1."""

    calls: list
    bad: frozenset

    def __call__(self, network, x0, condition, generator):
        losses = super().__call__(network, x0, condition, generator)
        self.calls.append(None)
        return Losses(losses.values + (math.nan if len(self.calls) in self.bad else 0.0), losses.times)


@pytest.fixture
def failing(monkeypatch):
    """Has training meet losses that are not finite in the updates with these numbers, from 1."""

    def fail(*bad):
        def objective(recipe, shape, limits):
            whole = objective_of(recipe, shape, limits)
            return Failing(corruption=whole.corruption, predicts=whole.predicts, calls=[], bad=frozenset(bad))

        monkeypatch.setattr(train_module, "objective_of", objective)

    return fail


def test_training_that_cannot_go_on_leaves_a_good_checkpoint_and_says_where(tmp_path, failing):
    failing(*range(5, 99))
    recipe = QUICK(updates=100, decay=0.0, checkpoint_updates=6)
    with pytest.raises(TrainingStopped) as raised:
        trained(recipe, tmp_path / "bad")
    message = str(raised.value)
    path = checkpoints.latest(tmp_path / "bad" / "checkpoints")
    assert f"at update {4 + PATIENCE}:" in message
    assert str(path) in message
    assert "noise levels t=" in message
    assert "swiss-roll[" in message
    trained(QUICK(updates=4, decay=0.0), tmp_path / "good")
    assert differing(last(tmp_path / "good"), last(tmp_path / "bad")) == []
    groups = last(tmp_path / "bad").tensors.values()
    assert all(torch.isfinite(value).all() for group in groups for value in group.values())
    assert read_records(tmp_path / "bad" / "metrics.jsonl")[-1]["kind"] == "event"


def test_after_it_was_mended_it_goes_on_from_there(tmp_path, failing):
    failing(*range(5, 99))
    recipe = QUICK(updates=4 + PATIENCE + 3)
    with pytest.raises(TrainingStopped):
        trained(recipe, tmp_path)
    failing()
    *_, ended = trained(recipe, tmp_path, resume=True)
    assert ended.finished
    assert last(tmp_path).state["counters"]["skipped"] == PATIENCE


def test_a_skipped_update_is_told_and_counted(tmp_path, failing):
    failing(2, 4)
    happenings = trained(QUICK(updates=6), tmp_path)
    assert len(notes(happenings, trouble=True)) == 2
    assert "update 2 was skipped" in notes(happenings, trouble=True)[0]
    records = [record for record in read_records(tmp_path / "metrics.jsonl") if record["kind"] == "update"]
    assert [record["skipped"] for record in records] == [0, 1, 1, 2, 2, 2]
    assert [record["step"] for record in records if record["loss"] is None] == [2, 4]


def test_a_schedule_that_leaves_data_behind_is_warned_of(tmp_path):
    recipe = QUICK(updates=2)
    recipe = replace(recipe, schedule=replace(recipe.schedule, name="constant", steps=3, beta=0.1))
    (text,) = notes(trained(recipe, tmp_path / "bad"), trouble=True)
    assert "bits a dimension" in text
    assert notes(trained(QUICK(updates=2), tmp_path / "good"), trouble=True) == []


def test_files_that_cannot_be_read_are_named(tmp_path):
    source = pictures(tmp_path / "pictures", 20, colour=False)
    (source / "broken.png").write_bytes(b"\x89PNG\r\n")
    (text,) = notes(trained(small("images", source=str(source), updates=1), tmp_path / "run"), trouble=True)
    assert "1 of 21 files cannot be read" in text
    assert "broken.png" in text


def test_without_tensorboard_it_trains_and_says_where_the_records_are(tmp_path, monkeypatch):
    monkeypatch.setattr("ebbtide.recipes.board.open_board", lambda folder: None)
    happenings = trained(QUICK(updates=2), tmp_path)
    assert notes(happenings, trouble=True) == []
    (said,) = (text for text in notes(happenings) if "pip install" in text)
    assert "metrics.jsonl" in said
    assert not (tmp_path / "tensorboard").exists()


def test_what_to_expect_is_said_first(tmp_path):
    recipe = small("swiss-roll", updates=WORTH + 1)
    said = [happening.text for happening in trained(recipe, tmp_path) if isinstance(happening, Note)]
    assert "images/s" in said[1]
    assert said[1].startswith("to expect: about")


def test_a_compiled_run_says_how_long_compiling_took_and_has_the_same_losses(tmp_path):
    """torch's compiler is told to do nothing: here only that it is asked, and that checkpoints stay what they were."""
    trained(QUICK(updates=3), tmp_path / "plain")
    with torch.compiler.set_stance("force_eager"):
        happenings = trained(QUICK(updates=3, compile="on"), tmp_path / "compiled")
    said = [happening.text for happening in happenings if isinstance(happening, Note)]
    assert sum("torch compiled the network" in text for text in said) == 1
    assert updates(tmp_path / "compiled") == updates(tmp_path / "plain")
    plain, other = (last(tmp_path / name) for name in ("plain", "compiled"))
    assert plain.tensors["network"].keys() == other.tensors["network"].keys()


def test_tensorboard_sees_the_loss_of_every_update(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    trained(QUICK(updates=4, pictures=2), tmp_path)
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    seen = [(event.step, event.value) for event in events.Scalars("train/loss")]
    assert seen == [(step, pytest.approx(loss)) for step, loss in updates(tmp_path)]
    assert [event.step for event in events.Images("samples")] == [2, 4]


@pytest.mark.parametrize("where", ["records", "checkpoint"])
def test_a_full_disk_is_said_in_one_line_and_the_run_can_go_on(tmp_path, monkeypatch, where):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    recipe = QUICK(updates=6, checkpoint_updates=2)
    trained(recipe, tmp_path / "whole")
    with monkeypatch.context() as patch:
        for happening in train(recipe, tmp_path / "run"):
            if isinstance(happening, Update) and happening.step == 3:
                break
        patch.setattr(*((Records, "append", full) if where == "records" else (checkpoints, "save_file", full)))
        with pytest.raises(EbbtideError, match="the disk is full"):
            trained(recipe, tmp_path / "run", resume=True)
    assert last(tmp_path / "run").step == 2
    trained(recipe, tmp_path / "run", resume=True)
    assert differing(last(tmp_path / "whole"), last(tmp_path / "run")) == []


def test_nothing_that_could_run_code_is_written(tmp_path):
    trained(QUICK(updates=2, pictures=1), tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.parent.name != "tensorboard"]
    assert {path.suffix for path in files} == {".json", ".jsonl", ".safetensors", ".png"}


def test_pictures_take_a_small_share_of_a_budget_of_minutes(tmp_path, monkeypatch):
    """Slow pictures are left out rather than training; with a budget of steps they are all drawn."""
    each, minutes, clock = 0.2, 0.05, Clock(tick=0.02)
    monkeypatch.setattr(sys.modules["ebbtide.training.fit"], "time", clock)
    monkeypatch.setattr(session, "time", clock)

    def slowly(run, denoiser, dataset, step, device):
        clock.now += each
        path = run.path / "samples" / f"step-{step:08d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("L", (4, 4)).save(path)
        return path

    monkeypatch.setattr(showing, "progress_picture", slowly)
    trained(QUICK(updates=None, minutes=minutes, pictures=30), tmp_path / "minutes")
    trained(QUICK(updates=30, pictures=3), tmp_path / "updates")
    drawn = [
        len([r for r in read_records(tmp_path / name / "metrics.jsonl") if r["kind"] == "sampled"])
        for name in ("minutes", "updates")
    ]
    # one before its price is known, one after the end, and a tenth of the time between
    assert 1 <= drawn[0] <= 2 + 0.1 * 60 * minutes / each + 1
    assert drawn[1] == 3
