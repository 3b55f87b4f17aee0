"""ebbtide bits: every part is named and kept in the run; wrong input is one line that writes nothing."""

import io
import json
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from ebbtide.cli import bits as command
from ebbtide.cli import decoder
from ebbtide.evaluation.bits import told
from ebbtide.recipes import pixels
from ebbtide.recipes.bits import BitsSettings, ask, join, measure, summary
from ebbtide.recipes.run import open_run
from trials import call, everything_in, grey_run, newest, point_run, refusal, table_run

QUICK = ("--examples", 4, "--levels", 4)


@pytest.fixture
def run(tmp_path):
    """A run on digits that may be written into."""
    return shutil.copytree(grey_run(), tmp_path / "run")


@pytest.fixture
def undrawn(monkeypatch):
    """Without the picture, which takes longer than all the rest."""
    monkeypatch.setattr(command, "bits_figure", lambda found: None)
    monkeypatch.setattr(command, "png_bytes", lambda figure: b"")


def bits(path, *options):
    outcome = call("bits", path, *options)
    assert outcome.code == 0, outcome
    return outcome.out, json.loads(newest(path, "bits").read_text())


def shown(out, words):
    """The number at the end of the line with these words."""
    (line,) = [line for line in out.splitlines() if words in line]
    return float(line.split()[-1])


@pytest.mark.parametrize(("options", "labels"), [((), True), (("--no-labels",), False)])
def test_whether_labels_were_told_is_said_and_can_be_chosen(tmp_path, undrawn, options, labels):
    run = shutil.copytree(table_run(), tmp_path / "run")
    out, found = bits(run, *QUICK, *options)
    assert ("given the labels" in out) == found["labels"] == labels
    settings = BitsSettings(examples=4, levels=4, labels=False)
    asked = ask(open_run(run), settings)
    alone = summary(asked, join(list(measure(asked, asked.reconstruction()))))
    assert (alone["bits"] == pytest.approx(found["bits"], abs=1e-6)) != labels
    assert ("given the labels" in told(found)) == labels


def test_examples_that_were_learned_from_are_called_so(run, undrawn):
    out, found = bits(run, *QUICK, "--split", "train")
    assert "train (which it learned from)" in out
    assert found["learned_from"]


def test_all_parts_are_printed_and_kept(run):
    out, found = bits(run, *QUICK)
    assert "4 test images of digits" in out
    assert "in the limit of many steps" in out
    for words, value in (
        ("L_T", found["parts"]["prior"]),
        ("L_(t-1)", found["parts"]["steps"]),
        ("L_0: the last step, bins of a Gaussian", found["parts"]["reconstruction"]),
        ("the bound  ", found["bits"]),
        ("of levels and noise", found["noise_error"]),
        ("of the choice of examples", found["example_error"]),
        ("a histogram of each pixel", found["baselines"]["a histogram of each pixel"]),
        ("PNG files", found["baselines"]["PNG files"]),
    ):
        assert shown(out, words) == pytest.approx(value, abs=6e-5), words
    for path in (run / "bits.json", run / "pictures" / "bits.png"):
        assert str(path) in out
    assert found["bits"] == pytest.approx(sum(found["parts"].values()))
    assert "exact" not in found
    with Image.open(run / "pictures" / "bits.png") as picture:
        picture.load()


def test_nothing_else_in_the_run_changes_and_the_report_shows_the_picture(run):
    before = everything_in(run)
    _, found = bits(run, *QUICK)
    after = everything_in(run)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"bits.json", "pictures/bits.png"}
    assert call("report", run).code == 0
    page = (run / "report.html").read_text()
    assert "<h2>Bits</h2>" in page
    assert 'alt="bits"' in page
    assert f"{found['bits']:.3f} ± {found['noise_error']:.3f}" in page


def test_the_file_is_json_without_nan(run, undrawn):
    bits(run, "--examples", 1, "--levels", 2)

    def no_constant(name):
        raise AssertionError(f"{name} is no JSON")

    found = json.loads((run / "bits.json").read_text(), parse_constant=no_constant)
    assert found["example_error"] is None


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--chain", 10, "--full"], "of a chain of 10 steps"),
        (["--split", "train"], "4 train images"),
        (["--highest", 5], "in the limit"),
    ],
)
def test_options_reach_what_is_measured(run, undrawn, options, says):
    _, plain = bits(run, *QUICK)
    out, found = bits(run, *QUICK, *options)
    assert says in out
    assert found["bits"] != plain["bits"]


def test_seed_weights_and_variance_reach_it_too(tmp_path, undrawn):
    run = shutil.copytree(table_run("hybrid"), tmp_path / "run")
    several = [[], ["--seed", 1], ["--weights", "network"], ["--variance", "posterior"], ["--variance", "step"]]
    found = [bits(run, *QUICK, *options)[1]["bits"] for options in several]
    assert len(set(found)) == len(several)
    assert bits(run, *QUICK, "--variance", "learned")[1]["bits"] == found[0] == bits(run, *QUICK)[1]["bits"]


def test_other_data_are_measured_under_their_own_name(run, undrawn, tmp_path):
    file = tmp_path / "[red]mine.npy"
    np.save(file, np.random.default_rng(0).integers(0, 256, (3, 8, 8), dtype=np.uint8))
    out, found = bits(run, *QUICK, "--data", file, "--split", "train")
    assert "3 train images of [red]mine" in out
    assert set(found["baselines"]) == {"PNG files"}
    assert "is not what" in out
    assert not found["of"]["own"]
    assert not (run / "bits.json").exists()


def test_the_ode_is_asked_for_points(tmp_path, undrawn):
    run = shutil.copytree(point_run(), tmp_path / "run")
    out, found = bits(run, *QUICK, "--ode", "--ode-examples", 2)
    assert "points of swiss-roll" in out
    assert "a Gaussian density" in out
    assert (found["decoder"], found["baselines"]) == ("density", {})
    assert found["exact"]["examples"] == 2
    assert shown(out, "by the ODE, 2 of them") == pytest.approx(found["exact"]["bits"], abs=6e-5)
    assert shown(out, "the bound of the same ones") == pytest.approx(found["exact"]["bound"], abs=6e-5)
    assert f"{found['exact']['evaluations']} evaluations" in out
    assert found["exact"]["bound"] != found["bits"]
    assert bits(run, *QUICK, "--ode", "--ode-examples", 9)[1]["exact"]["bound"] == found["bits"]


def test_the_ode_is_asked_for_images(run, undrawn):
    out, found = bits(run, *QUICK, "--ode", "--ode-examples", 1)
    assert np.isfinite(found["exact"]["bits"])
    assert "by the ODE, 1 of them" in out


def test_a_decoder_is_trained_once(run, undrawn, monkeypatch):
    monkeypatch.setattr(pixels, "SETTINGS", replace(pixels.SETTINGS, updates=3, batch=8, warmup=1))
    out, found = bits(run, *QUICK, "--decoder", "trained")
    assert found["decoder"] == "trained"
    assert shown(out, "L_0: the last step, the trained decoder") > 0
    monkeypatch.setattr(decoder, "train_decoder", None)
    assert bits(run, *QUICK, "--decoder", "trained") == (out, found)


def test_on_a_terminal_there_are_bars_and_the_same_numbers(run, undrawn, monkeypatch):
    monkeypatch.setattr(pixels, "SETTINGS", replace(pixels.SETTINGS, updates=3, batch=8, warmup=1))
    terminal = Console(file=io.StringIO(), force_terminal=True, highlight=False, width=150)
    monkeypatch.setattr(command, "screen", terminal)
    monkeypatch.setattr(decoder, "screen", terminal)
    _, found = bits(run, *QUICK, "--decoder", "trained", "--ode", "--ode-examples", 1)
    for words in ("training the last decoder", "measuring", f"{found['bits']:.4f}"):
        assert words in terminal.file.getvalue()


# --- wrong input ------------------------------------------------------------------------------------------------------

REFUSED = {
    "one level": (grey_run, ["--levels", 1], "--levels 1"),
    "no examples": (grey_run, ["--examples", 0], "0 examples"),
    "no examples for the ODE": (grey_run, ["--ode", "--ode-examples", 0], "--ode-examples 0"),
    "every step of none": (grey_run, ["--full"], "--chain 1000"),
    "the chain by its old name": (grey_run, ["--steps", 10], "now called --chain"),
    "one step": (grey_run, ["--chain", 1], "one step"),
    "a variance of no step": (grey_run, ["--variance", "posterior"], "--chain 1000"),
    "a variance that was not learned": (grey_run, ["--variance", "learned", "--chain", 10], "--variance learned"),
    "more steps than the table's": (table_run, ["--chain", 21], "21 steps"),
    "an end for a chain of steps": (table_run, ["--highest", 5], "--highest"),
    "an end without end": (grey_run, ["--highest", "inf", "--decoder", "trained"], "--highest inf"),
    "an end below the last": (grey_run, ["--highest", -16, "--decoder", "trained"], "-16"),
    "bytes of points": (point_run, ["--decoder", "trained"], "--decoder trained"),
    "points for pictures": (grey_run, ["--data", "moons"], "shape 2"),
    "data that is not there": (grey_run, ["--data", "nowhere"], "nowhere"),
    "a word that is no variance": (grey_run, ["--variance", "beta"], "beta"),
    "a word that is no decoder": (grey_run, ["--decoder", "train"], "train"),
    "a word that is no split": (grey_run, ["--split", "valid"], "valid"),
    "an option that is none": (grey_run, ["--bins", 3], "--bins"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_wrong_option_is_one_line_and_nothing_is_written(tmp_path, monkeypatch, case):
    make, options, says = REFUSED[case]
    run = shutil.copytree(make(), tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    before = everything_in(tmp_path)
    assert says in refusal("bits", run, *options)
    assert everything_in(tmp_path) == before


def test_pictures_of_another_size_are_refused(run, tmp_path):
    np.save(tmp_path / "other.npy", np.zeros((3, 9, 9), np.uint8))
    line = refusal("bits", run, "--data", tmp_path / "other.npy", "--split", "train")
    assert "1x9x9" in line
    assert "1x8x8" in line
    assert not (run / "bits.json").exists()


def test_a_folder_without_a_test_set_says_so(run, tmp_path):
    np.save(tmp_path / "three.npy", np.zeros((3, 8, 8), np.uint8))
    assert "no test split" in refusal("bits", run, "--data", tmp_path / "three.npy")
    assert not (run / "bits.json").exists()


def test_what_is_no_run_or_has_no_checkpoint_is_refused(run, tmp_path):
    assert "there is no run" in refusal("bits", tmp_path / "nowhere")
    assert "is no run" in refusal("bits", tmp_path)
    shutil.rmtree(run / "checkpoints")
    before = everything_in(run)
    assert "no checkpoint" in refusal("bits", run)
    assert everything_in(run) == before


def test_without_torchdiffeq_it_says_what_to_install_before_the_work(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchdiffeq", None)
    monkeypatch.setattr(decoder, "measure", None)
    before = everything_in(run)
    assert 'pip install "ebbtide[ode]"' in refusal("bits", run, "--ode", "--decoder", "trained", *QUICK)
    assert everything_in(run) == before


def test_a_run_about_single_steps_has_no_ode(tmp_path, monkeypatch):
    run = shutil.copytree(table_run("step-noise"), tmp_path / "run")
    monkeypatch.setattr(decoder, "measure", None)
    assert "step_noise" in refusal("bits", run, "--ode", *QUICK)
