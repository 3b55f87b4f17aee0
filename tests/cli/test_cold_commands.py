"""Every command on runs whose corruption is no Gaussian noise: what works, and what says that it cannot."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from ebbtide.recipes import features
from trials import call, cold_run, everything_in, grey_run, pictures, refusal, small, trained


@pytest.fixture(autouse=True)
def quick_features(tmp_path, monkeypatch):
    """Features that hardly learned: what is measured in them is not looked at here."""
    monkeypatch.setenv("EBBTIDE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(features, "MOST_UPDATES", 2)


PRESETS = ("cold-blur", "cold-pixelate", "cold-inpaint", "cold-animorph", "naive", "naive-pixelwise")


@pytest.mark.parametrize("preset", PRESETS)
def test_a_run_can_be_sampled_restored_and_reported(preset, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(cold_run(preset), run)
    assert call("sample", run, "-n", 5, "--film", "--gif").code == 0
    assert len(list((run / "samples-0").glob("0*.png"))) == 5
    assert call("restore", run, "--examples", 2, "--level", 0.5).code == 0
    assert call("info", run).code == 0
    assert call("report", run).code == 0
    assert (run / "start.safetensors").is_file() == preset.startswith("cold")


def test_a_seed_names_a_picture_in_any_batch(tmp_path):
    for name, batch in (("one", 1), ("all", 4)):
        assert call("sample", cold_run("cold-inpaint"), "-n", 4, "--batch", batch, "--out", tmp_path / name).code == 0
    one, whole = everything_in(tmp_path / "one"), everything_in(tmp_path / "all")
    for number in range(4):
        first, second = (
            np.asarray(Image.open(tmp_path / name / f"{number:05d}.png")).astype(int) for name in ("one", "all")
        )
        assert np.abs(first - second).max() <= 1
    assert set(one) == set(whole)


def test_what_was_trained_and_what_was_resumed_are_the_same(tmp_path):
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    trained(small("cold-inpaint", checkpoint_updates=3), whole)
    shutil.copytree(whole, halves)
    for late in sorted((halves / "checkpoints").iterdir())[1:]:
        shutil.rmtree(late) if late.is_dir() else late.unlink()
    trained(small("cold-inpaint", checkpoint_updates=3), halves, resume=True)
    one, two = (load_file(path / "start.safetensors") for path in (whole, halves))
    assert all(np.array_equal(one[name], two[name]) for name in one)
    samples = [call("sample", run, "-n", 2, "--out", tmp_path / f"{run.name}-out") for run in (whole, halves)]
    assert [sample.code for sample in samples] == [0, 0]
    assert everything_in(tmp_path / "whole-out") == everything_in(tmp_path / "halves-out")


def test_pictures_that_are_degraded_already_are_taken_as_they_are(tmp_path):
    folder = pictures(tmp_path / "pictures", 2, colour=False)
    out = tmp_path / "out.png"
    outcome = call(
        "restore", cold_run("cold-blur"), folder / "0.png", folder / "1.png", "--degraded", "--level", 0.7, "--out", out
    )
    assert outcome.code == 0, outcome
    assert "off by" not in outcome.out
    shown = np.asarray(Image.open(out).convert("L"))[20:]
    mine = np.asarray(Image.open(folder / "0.png"))
    assert all((shown[:64] == value).any() for value in (mine[0, 0], mine[3, 4], mine[7, 7]))


def test_measuring_writes_a_table_of_likenesses(tmp_path):
    run = tmp_path / "run"
    shutil.copytree(cold_run("cold-blur"), run)
    outcome = call("restore", run, "--measure", 60)
    assert outcome.code == 0, outcome
    found = json.loads((run / "restoration.json").read_text())
    assert [row["name"] for row in found["rows"]] == ["degraded", "direct", "sampled"]
    assert found["level"] == 1.0
    assert "60 pictures of the test split" in outcome.out


def test_evaluate_and_doctor_leave_out_what_is_about_noise(tmp_path):
    run = tmp_path / "run"
    shutil.copytree(cold_run("cold-blur"), run)
    outcome = call("evaluate", run, "--samples", 60)
    assert outcome.code == 0, outcome
    assert "no bits" in outcome.out
    outcome = call("doctor", run)
    assert outcome.code in (0, 3), outcome
    assert "learned to undo blur" in outcome.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("bits",), "which has no levels of noise"),
        (("race",), "which has no levels of noise"),
        (("sample", "--sampler", "ddim"), "expected one of renoise, cold"),
        (("sample", "--grid", "karras"), "levels of noise"),
        (("restore", "--examples", 1, "--level", 0), "--level 0"),
        (("restore", "--examples", 1, "--degraded"), "--degraded is for picture files"),
        (("restore", "--measure", 3), "--measure 3 came"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(arguments, said, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(cold_run("cold-blur"), run)
    before = everything_in(run)
    assert said in refusal(arguments[0], run, *arguments[1:])
    assert everything_in(run) == before


def test_other_samplers_and_degraded_pictures_are_refused_where_noise_was_learned(tmp_path):
    picture = pictures(tmp_path / "pictures", 1, colour=False) / "0.png"
    assert "expected one of" in refusal("sample", grey_run(), "--sampler", "cold", "--out", tmp_path / "out")
    assert "learned to undo noise" in refusal("restore", grey_run(), picture, "--degraded")
    assert "previous" in refusal("sample", cold_run("naive"), "--steps", 7, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--corruption.name", "blurr"), "Did you mean blur"),
        (("--corruption.name", "naive+blur"), "only those can be joined"),
        (("--corruption.other", "digits"), "only animorph"),
        (("--objective.predicts", "eps"), "no Gaussian noise"),
        (("--objective.predicts", "previous"), "has no steps"),
        (("--objective.weight", "bound"), "about Gaussian noise"),
        (("--schedule.name", "linear"), "no levels of noise: leave it out"),
        (("--corruption.share", 0.2), "share=0.2 came for the corruption blur"),
        (("--sampling.threshold", 0.99), "sampling.threshold=0.99"),
        (("--data", "moons"), "only Gaussian noise is for them"),
        (("--sampling.sampler", "ddim"), "expected one of renoise, cold"),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused_before_anything_is_written(options, said, tmp_path):
    assert said in refusal("train", "cold-blur", "--updates", 2, "--out", tmp_path / "run", *options)
    assert not (tmp_path / "run").exists()


def test_errors_of_restoring_are_not_for_noise(tmp_path):
    said = refusal("train", "digits", "--updates", 2, "--objective.error", "bernoulli", "--out", tmp_path / "run")
    assert "squared errors" in said
