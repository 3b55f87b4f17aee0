"""ebbtide evaluate: what is printed is what is kept and shown; wrong input is one line that writes nothing."""

import io
import json
import re
import shutil
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from ebbtide.cli import decoder
from ebbtide.cli import evaluate as command
from ebbtide.cli import features as command_features
from ebbtide.cli.options import Screen
from ebbtide.evaluation.quality import METRICS, SCALE
from ebbtide.recipes import evaluate as recipe_module
from ebbtide.recipes import features, pixels
from trials import (
    call,
    colour_run,
    everything_in,
    grey_run,
    learned_from,
    newest,
    pictures,
    point_run,
    refusal,
    table_run,
)

QUICK = ("--samples", 60, "--bits", 2)


@pytest.fixture(scope="module", autouse=True)
def cheap():
    """Little training, few rows, and a screen so wide that no table is broken."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "MOST_UPDATES", 2)
        patch.setattr(pixels, "SETTINGS", replace(pixels.SETTINGS, updates=2, batch=8, warmup=1))
        patch.setattr(recipe_module, "MOST_ROWS", 300)
        patch.setattr(recipe_module, "MOST_NEAR", 100)
        patch.setattr(command, "screen", Screen(highlight=False, soft_wrap=True, width=250))
        yield


@pytest.fixture
def undrawn(monkeypatch):
    """Without the picture, which takes longer than all the rest."""
    monkeypatch.setattr(command, "quality_figure", lambda *sets: None)
    monkeypatch.setattr(command, "png_bytes", lambda figure: b"")


def strict(path):
    def no_constant(name):
        raise AssertionError(f"{name} is no JSON")

    return json.loads(path.read_text(), parse_constant=no_constant)


def evaluated(path, *options):
    before = everything_in(path)
    outcome = call("evaluate", path, *options)
    assert outcome.code == 0, outcome
    return SimpleNamespace(
        path=path, before=before, out=outcome.out, err=outcome.err, found=strict(newest(path, "evaluation"))
    )


@pytest.fixture(scope="module")
def grey(tmp_path_factory):
    """A run on digits: labels, a test split."""
    return evaluated(shutil.copytree(grey_run(), tmp_path_factory.mktemp("grey") / "run"), *QUICK)


@pytest.fixture(scope="module")
def colour(tmp_path_factory):
    """A run on unlabelled pictures in colour whose data lie elsewhere now; no test split, fewer unseen than samples."""
    folder = tmp_path_factory.mktemp("colour")
    source = pictures(folder / "moved", 100, colour=True)
    run = learned_from(shutil.copytree(colour_run(), folder / "run"), source)
    return evaluated(run, *QUICK, "--data", source)


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    """A run on points."""
    return evaluated(shutil.copytree(point_run(), tmp_path_factory.mktemp("points") / "run"), *QUICK)


@pytest.fixture(params=["grey", "colour", "points"])
def each(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def run(tmp_path):
    """A run on digits that may be written into."""
    return shutil.copytree(grey_run(), tmp_path / "run")


# --- what is printed, kept and shown ----------------------------------------------------------------------------------


def test_the_table_holds_the_numbers_of_the_file_each_with_its_error(each):
    sets = each.found["sets"]
    shown = [name for name in METRICS if any(name in one for one in sets.values())]
    assert {"frechet", "kernel", "precision", "recall"} <= set(shown)
    for name in shown:
        (line,) = [line for line in each.out.splitlines() if line.lstrip().startswith(METRICS[name])]
        printed = re.findall(r"(-?\d+(?:\.\d+)?) ± (\d+(?:\.\d+)?)", line)
        measured = [one[name] for one in sets.values() if name in one]
        assert len(printed) == len(measured)
        for pair, number in zip(printed, measured, strict=True):
            for text, field in zip(pair, ("value", "error"), strict=True):
                half = 0.5 * 10.0 ** -len(text.partition(".")[2])
                assert float(text) == pytest.approx(number[field] * SCALE.get(name, 1.0), abs=1.001 * half)


def test_what_each_column_is_stands_above_it(grey, colour, points):
    assert list(grey.found["sets"]) == ["samples", "unseen"]
    assert [one["count"] for one in grey.found["sets"].values()] == [60, 297]
    assert re.search(r"60 samples +297 held-out *\n", grey.out)
    assert "297 held-out examples are the floor" in grey.out
    assert [one["count"] for one in colour.found["sets"].values()] == [60, 50, 50]
    assert re.search(r"60 samples +50 samples +50 real, other half *\n", colour.out)
    assert points.found["sets"]["unseen"]["count"] == 10_000


def test_features_data_and_reference_are_named(grey, colour, points):
    for done, words, source, reference in (
        (grey, "a classifier of the data's labels", "digits", 1500),
        (colour, "a classifier of which way up a picture is", "moved", 50),
        (points, "the data's own numbers", "swiss-roll", 10_000),
    ):
        assert done.found["features"].startswith(words)
        assert done.found["reference"] == reference
        assert f"against {reference:,} training examples of {source}\n" in done.out
        assert f"in the features of {done.found['features']}\n" in done.out
    assert (grey.found["split"], colour.found["split"]) == ("test", "half of train")
    assert "inception_score" in grey.found["sets"]["samples"]
    assert "inception_score" not in colour.found["sets"]["samples"]


def test_copies_and_bits_are_told(each):
    copies, bits = each.found["copying"], each.found["bits"]
    assert copies["samples"] == 60
    assert f"in {copies['nearer']['value']:.0%} ±" in each.out
    assert f"{copies['copies']} of 60 samples are exact copies" in each.out
    assert bits["examples"] == 2
    assert bits["split"] == ("test" if each.found["split"] == "test" else "train")
    assert f"bits a dimension: {bits['bits']:.3f} ± " in each.out
    assert bits["bits"] == pytest.approx(sum(bits["parts"].values()))


def test_how_it_was_drawn_is_kept(each):
    sampling = each.found["sampling"]
    assert sampling["seed"] == 0
    assert sampling["weights"] == "average"
    assert sampling["steps"] == 3
    assert sampling["a_second"] > 0


def test_nothing_else_in_the_run_changes_and_what_was_written_is_named(each):
    after = everything_in(each.path)
    assert {name: after[name] for name in each.before} == each.before
    images = each.found["features"] != "the data's own numbers"
    made = {"evaluation.json", "pictures/evaluation.png"}
    made |= {"pictures/neighbours.png", "pixel-decoder.safetensors"} if images else set()
    assert set(after) - set(each.before) == made
    assert each.err == ""
    for name in made - {"pixel-decoder.safetensors"}:
        assert str(each.path / name) in each.out
        if name.endswith(".png"):
            with Image.open(each.path / name) as picture:
                picture.load()


def test_the_report_shows_it(each, tmp_path):
    run = shutil.copytree(each.path, tmp_path / "run")
    assert call("report", run).code == 0
    page = (run / "report.html").read_text()
    assert page.count("<h2>Evaluation</h2>") == 1
    assert 'alt="Features and nearest distances"' in page
    assert ('alt="Samples and their nearest training examples"' in page) == (each.found["features"][0] == "a")
    assert "<h2>Neighbours</h2>" not in page
    for name, title in METRICS.items():
        measured = any(name in one for one in each.found["sets"].values())
        assert (f">{title}</th>" in page) == measured
    assert f"{each.found['reference']:,} training examples" in page


# --- options ----------------------------------------------------------------------------------------------------------


def plain(found):
    """Without what the clock says."""
    return {
        **{name: value for name, value in found.items() if name not in ("seconds", "sampling")},
        "sampling": found["sampling"] | {"a_second": None},
    }


VALUES = ("--samples", 50, "--bits", 0, "--features", "values")


def test_the_same_call_finds_the_same_and_every_option_reaches_the_samples(run, undrawn):
    whole = evaluated(run, *VALUES).found
    assert plain(evaluated(run, *VALUES).found) == plain(whole)
    assert "bits" not in whole
    assert not (run / "pixel-decoder.safetensors").exists()
    assert whole["features"] == "the data's own numbers"
    distances = [whole["sets"]["samples"]["frechet"]["value"]]
    for options, kept in (
        (["--seed", 1], {"seed": 1}),
        (["--weights", "network"], {"weights": "network"}),
        (["--steps", 5], {"steps": 5}),
        (["--sampler", "ancestral"], {"sampler": "ancestral"}),
    ):
        found = evaluated(run, *VALUES, *options).found
        assert found["sampling"].items() >= kept.items()
        assert found["sets"]["unseen"] == whole["sets"]["unseen"]
        distances.append(found["sets"]["samples"]["frechet"]["value"])
    assert len(set(distances)) == len(distances)


def test_a_classifier_is_trained_once(run, undrawn, monkeypatch, tmp_path):
    monkeypatch.setenv("EBBTIDE_CACHE", str(tmp_path / "cache"))
    options = ("--samples", 50, "--bits", 0, "--features", "turns")
    first = evaluated(run, *options).found
    assert len(list((tmp_path / "cache" / "features").iterdir())) == 1
    monkeypatch.setattr(command_features, "train_classifier", None)
    assert plain(evaluated(run, *options).found) == plain(first)
    assert "right on held-out images" in first["features"]


def test_a_set_without_a_test_split_says_what_its_classifier_was_judged_on(colour):
    assert "right on training images" in colour.found["features"]


def test_on_a_terminal_there_are_bars(run, undrawn, monkeypatch, tmp_path):
    monkeypatch.setenv("EBBTIDE_CACHE", str(tmp_path / "cache"))
    terminal = Screen(file=io.StringIO(), force_terminal=True, highlight=False, width=250)
    monkeypatch.setattr(command, "screen", terminal)
    monkeypatch.setattr(command_features, "screen", terminal)
    monkeypatch.setattr(decoder, "screen", terminal)
    evaluated(run, *QUICK)
    for words in (
        *("training the features", "looking at the training set", "looking at unseen examples", "drawing samples"),
        *("comparing sets", "looking for copies", "measuring bits", "Fréchet distance"),
    ):
        assert words in terminal.file.getvalue()


def test_names_of_data_stay_text(run, undrawn, tmp_path):
    source = tmp_path / "[red]mine.npy"
    np.save(source, np.random.default_rng(0).integers(0, 256, (100, 8, 8), dtype=np.uint8))
    assert "training examples of [red]mine\n" in evaluated(run, *VALUES, "--data", source).out


def test_the_help_says_what_floors_features_and_errors_are():
    text = " ".join(call("evaluate", "--help").out.replace("│", " ").split())
    for words in ("floor", "standard error", "held-out", "labels", "turns", "inception", "--weights-file"):
        assert words in text
    assert "the network of the literature (--weights-file)" in text


# --- wrong input ------------------------------------------------------------------------------------------------------

REFUSED = {
    "too few samples": (grey_run, ["--samples", 49], "--samples 49"),
    "negative bits": (grey_run, ["--bits", -1], "--bits -1"),
    "no steps": (grey_run, ["--steps", 0], "--steps 0"),
    "a negative seed": (grey_run, ["--seed", -1], "--seed -1"),
    "more steps than the table's": (table_run, ["--steps", 21], "21 sampling steps"),
    "weights of no inception": (grey_run, ["--weights-file", "inception.pth"], "--features inception"),
    "labels of none": (point_run, ["--features", "labels"], "features of labels came for swiss-roll"),
    "turns of points": (point_run, ["--features", "turns"], "features of turns came for swiss-roll"),
    "inception of points": (point_run, ["--features", "inception"], "inception came for swiss-roll"),
    "inception without its package": (grey_run, ["--features", "inception"], 'pip install "ebbtide[inception]"'),
    "points for pictures": (grey_run, ["--data", "moons"], "examples of shape 2, but"),
    "data that is not there": (grey_run, ["--data", "nowhere"], "nowhere"),
    "data that were deleted": (colour_run, [], "are no longer at"),
    "a word that is no kind of features": (grey_run, ["--features", "label"], "label"),
    "a word that is no sampler": (grey_run, ["--sampler", "euler"], "euler"),
    "a word for a number": (grey_run, ["--samples", "many"], "many"),
    "an option that is none": (grey_run, ["--metric", "fid"], "--metric"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_wrong_option_is_one_line_before_any_work_and_nothing_is_written(tmp_path, monkeypatch, case):
    make, options, says = REFUSED[case]
    run = shutil.copytree(make(), tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EBBTIDE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    monkeypatch.setattr(command, "draw_samples", None)
    before = everything_in(tmp_path)
    assert says in refusal("evaluate", run, *options)
    assert everything_in(tmp_path) == before


def test_pictures_of_another_size_or_too_few_are_refused(run, tmp_path):
    before = everything_in(run)
    np.save(tmp_path / "other.npy", np.zeros((100, 9, 9), np.uint8))
    line = refusal("evaluate", run, *QUICK, "--data", tmp_path / "other.npy")
    assert "1x9x9" in line
    assert "1x8x8" in line
    np.save(tmp_path / "few.npy", np.zeros((99, 8, 8), np.uint8))
    assert "99 examples" in refusal("evaluate", run, *QUICK, "--data", tmp_path / "few.npy")
    assert everything_in(run) == before


def test_data_with_other_labels_are_refused_before_anything_is_drawn_unless_no_bits_are_asked_for(
    run, tmp_path, monkeypatch, undrawn
):
    values = np.random.default_rng(0).integers(0, 256, (100, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "three.npz", images=values, labels=np.arange(100) % 3)
    with monkeypatch.context() as patch:
        patch.setattr(command, "draw_samples", None)
        before = everything_in(run)
        assert "same ones" in refusal("evaluate", run, *QUICK, "--data", tmp_path / "three.npz")
        assert everything_in(run) == before
    assert evaluated(run, *VALUES, "--data", tmp_path / "three.npz").found["data"] == "three"


def test_what_is_no_run_or_has_no_checkpoint_is_refused(run, tmp_path):
    assert "there is no run" in refusal("evaluate", tmp_path / "nowhere", *QUICK)
    assert "is no run" in refusal("evaluate", tmp_path, *QUICK)
    shutil.rmtree(run / "checkpoints")
    before = everything_in(run)
    assert "no checkpoint" in refusal("evaluate", run, *QUICK)
    assert everything_in(run) == before


def test_samples_that_are_no_numbers_send_to_the_doctor(run, monkeypatch):
    def broken(run, denoiser, count, **options):
        return real(run, denoiser, count, **options) * float("nan")

    real = recipe_module.draw_all
    monkeypatch.setattr(recipe_module, "draw_all", broken)
    before = everything_in(run)
    assert f"ebbtide doctor {run}" in refusal("evaluate", run, *VALUES)
    assert everything_in(run) == before
