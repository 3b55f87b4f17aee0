"""ebbtide train: from options to a run; whatever ends it, what was learned is kept and the way to go on is said."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ebbtide.cli import train as command
from ebbtide.cli.main import main
from ebbtide.evaluation.records import read_records
from ebbtide.recipes.as_json import to_json
from ebbtide.recipes.run import open_run
from ebbtide.training import checkpoints
from trials import SMALL, Clock, call, differing, everything_in, last, pictures, point_run, refusal, small, updates

PROGRAM = Path(sys.executable).with_name("ebbtide")
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def train(*arguments, code=0):
    outcome = call("train", *arguments)
    assert outcome.code == code, outcome
    return outcome


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder of its own for every test."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_preset_becomes_a_run_under_its_name(here):
    outcome = train("swiss-roll", "--updates", 3, *SMALL)
    run = open_run(Path("runs/swiss-roll"))
    assert run.recipe.training.updates == 3
    assert last(run.path).step == 3
    assert (run.path / "pictures" / "final.png").is_file()
    assert "ebbtide sample runs/swiss-roll" in outcome.out


def test_options_change_the_recipe_and_nothing_else():
    train("moons", "--updates", 2, "--seed", 5, *SMALL, "--objective.predicts", "eps", "--out", "run")
    recipe = open_run(Path("run")).recipe
    expected = small("moons", updates=2, seed=5)
    assert recipe.training == replace(expected.training, warmup=recipe.training.warmup)
    assert recipe.objective == replace(expected.objective, predicts="eps")
    assert (recipe.schedule, recipe.data, recipe.sampling) == (expected.schedule, expected.data, expected.sampling)


def test_a_json_recipe_trains(here):
    (here / "mine.json").write_text(json.dumps(to_json(replace(small("moons", updates=3), name="mine"))))
    train("mine.json")
    assert open_run(Path("runs/mine")).recipe == replace(small("moons", updates=3), name="mine")
    assert last(Path("runs/mine")).step == 3


def test_the_recipe_of_a_run_is_a_recipe_too():
    train(point_run() / "recipe.json", "--out", "again")
    assert differing(last(point_run()), last(Path("again"))) == []


def test_ones_own_pictures_are_learned(here):
    pictures(here / "photos", 12, colour=True, size=20)
    train("images", "--data", "photos", "--data.size", 8, "--updates", 2, *SMALL, "--out", "run")
    assert open_run(Path("run")).data.event_shape == (3, 8, 8)


def test_a_budget_of_minutes_is_kept_and_ends_with_a_rate_near_zero(monkeypatch):
    """Of any clock: this one is read at least twice an update."""
    monkeypatch.setattr(sys.modules["ebbtide.training.fit"], "time", Clock(tick=0.005))
    train("swiss-roll", "--minutes", 0.05, *SMALL, "--out", "run")
    found = last(Path("run"))
    assert found.step < 310
    assert 3.0 <= found.state["counters"]["seconds"] < 3.0 + 0.1
    rates = [record["rate"] for record in read_records("run/metrics.jsonl") if record["kind"] == "update"]
    assert max(rates) > 0.9 * open_run(Path("run")).recipe.training.rate
    assert rates[-1] < 0.01 * max(rates)


REFUSED = {
    "an unknown preset": (["swis-roll"], "Did you mean swiss-roll"),
    "an option first": (["--updates", 3], "came first, expected a preset"),
    "a recipe that is not there": (["mine.json"], "mine.json"),
    "data that is not there": (["digits", "--data", "nowhere"], "nowhere"),
    "data that is nearly built in": (["digits", "--data", "digit"], "Did you mean digits"),
    "no data": (["images"], "--data FOLDER"),
    "no batch": (["swiss-roll", "--training.batch", 0], "training.batch=0"),
    "no steps": (["swiss-roll", "--updates", 0], "training.updates=0"),
    "negative minutes": (["swiss-roll", "--minutes", -1], "training.minutes=-1"),
    "two budgets": (["swiss-roll", "--updates", 3, "--minutes", 1], "give one of them"),
    "an eta above 1": (["swiss-roll", "--sampling.eta", 2], "sampling.eta=2"),
    "a dropout of all": (["swiss-roll", "--network.dropout", 1], "network.dropout=1"),
    "more sampling steps than a table has": (
        ["digits", "--schedule.name", "linear", "--schedule.steps", 20, "--sampling.steps", 50],
        "50 sampling steps came",
    ),
    "an image network for points": (["moons", "--network.name", "unet"], "unet and hourglass want images"),
    "betas for another schedule": (["moons", "--schedule.betas", 0.1, 0.2], "only 'list' takes them"),
    "updates by their old name": (["moons", "--steps", 3], "now called --updates"),
    "updates by their old field": (["moons", "--training.steps=3"], "now called --training.updates"),
    "checkpoints by their old field": (["moons", "--training.checkpoint_steps", 3], "--training.checkpoint-updates"),
    "nothing to resume": (["moons", "--resume"], "no run runs/moons to resume"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_wrong_option_is_one_line_and_nothing_is_written(here, case):
    options, says = REFUSED[case]
    assert says in refusal("train", *options)
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("option", ["--training.precision", "--schedule.name", "--sampling.sampler"])
def test_a_word_that_is_no_choice_ends_with_2_and_no_traceback(here, option):
    outcome = call("train", "moons", option, "linaer")
    assert outcome.code == 2
    assert "linaer" in outcome.err
    assert "Traceback" not in outcome.err
    assert list(here.iterdir()) == []


def test_a_folder_with_something_in_it_is_left_alone(here):
    (here / "run").mkdir()
    (here / "run" / "thesis.txt").write_text("mine")
    assert "is not empty" in refusal("train", "moons", "--updates", 2, "--out", "run")
    assert everything_in(here) == {"run/thesis.txt": b"mine"}


def test_a_run_is_never_trained_over_by_accident(here):
    train("moons", "--updates", 2, *SMALL, "--out", "run")
    before = everything_in(here)
    assert "add --resume" in refusal("train", "run")
    assert "--resume" in refusal("train", "moons", "--out", "run")
    assert everything_in(here) == before


def test_a_file_is_no_folder_for_a_run(here):
    (here / "run").write_text("mine")
    assert "run" in refusal("train", "moons", "--updates", 2, *SMALL, "--out", "run")
    assert everything_in(here) == {"run": b"mine"}


@pytest.mark.parametrize("again", [["run"], ["moons", "--out", "run"], ["moons", *SMALL, "--seed", 3, "--out", "run"]])
def test_resuming_takes_the_runs_own_recipe_and_what_is_said_now(again):
    options = [*SMALL, "--seed", 3, "--training.decay", 0]
    train("moons", "--updates", 3, *options, "--out", "run")
    train(*again, "--resume", "--updates", 5, "--training.keep", 7)
    train("moons", "--updates", 5, *options, "--out", "whole", "--training.keep", 7)
    assert differing(last(Path("whole")), last(Path("run"))) == []
    assert open_run(Path("run")).recipe == open_run(Path("whole")).recipe


@pytest.mark.parametrize("change", [["--seed", 4], ["--network.width", 32], ["--schedule.name", "sigmoid"]])
def test_resuming_refuses_what_would_make_another_run_of_it(here, change):
    train("moons", "--updates", 2, *SMALL, "--out", "run")
    before = everything_in(here)
    assert "cannot resume" in refusal("train", "run", "--resume", "--updates", 4, *change)
    assert everything_in(here) == before


def test_a_checkpoint_of_another_format_is_refused(here):
    train("moons", "--updates", 2, *SMALL, "--out", "run")
    (state,) = Path("run").glob("checkpoints/*/state.json")
    state.write_text(json.dumps(json.loads(state.read_text()) | {"format": 99}))
    before = everything_in(here)
    assert "has format 99" in refusal("train", "run", "--resume", "--updates", 4)
    assert everything_in(here) == before


def test_a_full_disk_is_one_line_and_the_checkpoint_before_stays(monkeypatch):
    train("moons", "--updates", 2, *SMALL, "--out", "run")
    expected = last(Path("run"))

    def full(*arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save_file", full)
        assert "the disk is full" in refusal("train", "run", "--resume", "--updates", 4)
    assert differing(expected, last(Path("run"))) == []


def test_stopping_saves_a_checkpoint_and_says_how_to_go_on(monkeypatch):
    """A signal in the midst of the third update."""
    real, seen = command._Meter.take, []

    def take(meter, update):
        seen.append(update.step)
        if update.step == 3:
            os.kill(os.getpid(), random.choice([signal.SIGINT, signal.SIGTERM]))
        return real(meter, update)

    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        patch.setattr(command._Meter, "take", take)
        outcome = train("moons", "--updates", 9, *SMALL, "--out", "run", code=130)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert seen == [1, 2, 3]
    assert last(Path("run")).step == 3
    assert "ebbtide train run --resume" in outcome.out
    assert outcome.err == ""
    train("run", "--resume")
    train("moons", "--updates", 9, *SMALL, "--out", "whole")
    assert differing(last(Path("whole")), last(Path("run"))) == []
    assert updates(Path("whole")) == updates(Path("run"))


class Closed(io.StringIO):
    """Standard output whose reader leaves before the second line."""

    def write(self, text):
        if self.getvalue().count("\n") >= 1:
            raise self.error
        return super().write(text)


class Pipe(Closed):
    error = BrokenPipeError(errno.EPIPE, "Broken pipe")


class Terminal(Closed):
    error = OSError(errno.EIO, "Input/output error")


def end_of(*arguments):
    """The exit code of a call whose output goes where it goes."""
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return left.value.code


@pytest.mark.parametrize("stream", [Pipe, Terminal])
def test_training_that_nobody_can_read_stops_with_a_checkpoint(stream):
    said = io.StringIO()
    with contextlib.redirect_stdout(stream()), contextlib.redirect_stderr(said):
        assert end_of("train", "moons", "--updates", 9, *SMALL, "--out", "run") == 130
    assert last(Path("run")).step == 1
    assert "standard output was closed: stopped; a checkpoint is saved" in said.getvalue()
    train("run", "--resume")
    assert last(Path("run")).step == 9


@pytest.mark.parametrize("stream", [Pipe, Terminal])
def test_other_work_goes_on_where_nobody_reads(stream):
    run = Path(shutil.copytree(point_run(), "run"))
    with contextlib.redirect_stdout(stream()):
        assert end_of("report", run) == 0
        assert end_of("sample", run, "-n", 3, "--out", "out") == 0
    assert (run / "report.html").is_file()
    assert sorted(path.name for path in Path("out").iterdir() if not path.name.startswith(".")) == [
        "points.npz",
        "points.png",
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_each_polite_signal_stops_and_a_closing_terminal_may_send_several(number, monkeypatch):
    """One Ctrl-C, or a hang-up that comes twice, as shells and the kernel send it."""
    real = command._Meter.take

    def take(meter, update):
        for _ in range(1 if number == signal.SIGINT else 2):
            os.kill(os.getpid(), number)
        return real(meter, update)

    monkeypatch.setattr(command._Meter, "take", take)
    outcome = train("moons", "--updates", 9, *SMALL, "--out", "run", code=130)
    assert outcome.out.count("stopping after this update") == 1
    assert last(Path("run")).step == 1


def test_nohup_trains_on(monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with command._stop_signals() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def wait_for(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def start(*arguments):
    words = [str(PROGRAM), "train", *map(str, arguments)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)


def test_head_ends_training_with_a_checkpoint_and_no_traceback():
    """A pipe of the system's: what is still held for it when the program ends must not fail either."""
    process = start("mixture", "--updates", 100_000, *SMALL, "--out", "run")
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.startswith("ebbtide: standard output was closed: stopped; a checkpoint is saved")
    assert err.count("\n") == 1
    assert last(Path("run")).step == 1


def steps_done(out):
    return len((out / "metrics.jsonl").read_text().splitlines()) if (out / "metrics.jsonl").exists() else 0


def test_ctrl_c_from_outside_ends_with_130_and_a_checkpoint():
    process = start("mixture", "--updates", 100_000, *SMALL, "--out", "run")
    wait_for(lambda: steps_done(Path("run")) > 5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Go on with: ebbtide train run --resume" in out
    assert "Traceback" not in err
    assert last(Path("run")).step == updates(Path("run"))[-1][0]


def test_killed_again_and_again_it_comes_to_the_same_end():
    """kill -9 at random moments: in an update, in the midst of a checkpoint, between the two."""
    budget = ["--updates", 60, "--training.checkpoint-updates", 7, *SMALL, "--network.dropout", 0.1]
    out, chance = Path("run"), random.Random()
    for resume in ([], ["--resume"]):
        end = steps_done(out) + chance.randrange(1, 20)
        process = start("dots", *budget, "--out", out, *resume)
        wait_for(lambda end=end, process=process: steps_done(out) >= end or process.poll() is not None)
        time.sleep(chance.uniform(0.0, 0.02))
        process.kill()
        process.communicate(timeout=60)
    train(out, "--resume")
    train("dots", *budget, "--out", "whole")
    assert last(out).step == 60
    assert differing(last(Path("whole")), last(out)) == []
    assert updates(out) == updates(Path("whole"))
    assert [step for step, _ in updates(out)] == list(range(1, 61))
    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == ["step-00000056", "step-00000060"]


def test_two_processes_share_the_work_and_write_one_run(here):
    torchrun = PROGRAM.with_name("torchrun")
    options = ["mixture", "--updates", 8, *SMALL, "--training.pictures", 2, "--out", "run"]
    words = [torchrun, "--standalone", "--nproc_per_node", 2, "--no-python", PROGRAM, "train", *options]
    environment = ENVIRONMENT | {"ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": ""}
    with (here / "said").open("w") as said:
        process = subprocess.Popen([*map(str, words)], stdout=said, stderr=said, env=environment)
        try:
            code = process.wait(timeout=100)
        finally:
            process.terminate()  # it ends the processes that it started
            process.wait(timeout=60)
    assert code == 0, (here / "said").read_text()
    assert [step for step, _ in updates(Path("run"))] == list(range(1, 9))
    checkpoint = last(Path("run"))
    assert checkpoint.state["counters"]["images"] == 8 * 16 * 2
    assert all(torch.isfinite(value).all() for group in checkpoint.tensors.values() for value in group.values())
    assert open_run(Path("run")).machine["processes"] == 2
    assert len(list(Path("run/checkpoints").iterdir())) == 1
    assert len(list(Path("run/samples").iterdir())) == 2
