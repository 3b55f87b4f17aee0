"""ebbtide info and ebbtide report: what a run is, finished or not."""

import dataclasses
import json
import shutil
from dataclasses import replace

import pytest

from ebbtide.recipes.recipe import TrainingRecipe
from ebbtide.recipes.train import train
from ebbtide.training import Update
from trials import call, colour_run, grey_run, point_run, refusal, small, trained

QUICK = small("swiss-roll", updates=4)


@pytest.fixture
def begun(tmp_path):
    """A run that was left before its first checkpoint."""
    for happening in train(QUICK, tmp_path / "run"):
        if isinstance(happening, Update) and happening.step == 2:
            break
    return tmp_path / "run"


def words(outcome):
    assert outcome.code == 0, outcome
    return " ".join(outcome.out.split())


@pytest.mark.parametrize("run", [grey_run, colour_run, point_run])
def test_info_says_what_a_finished_run_is(run):
    text = words(call("info", run()))
    assert "6 updates, 96 images" in text
    assert "not finished" not in text
    assert "checkpoints step-00000006" in text
    assert ("0, 1, 2, 3, 4, 5, 6, 7, 8, 9" if run is grey_run else "labels none") in text
    for option in ("batch=16", "sampler=", "name=", "predicts=v"):
        assert option in text


@pytest.mark.parametrize("name", ["digits", "moons"])
def test_info_of_a_preset_says_what_it_costs(name):
    text = words(call("info", name))
    for word in ("parameters", "GFLOP an image", "MiB in training", "images/s", f"preset {name}:"):
        assert word in text


@pytest.mark.parametrize(
    ("wrong", "answer"), [("cifar1", "Did you mean cifar10"), ("nowhere/at/all", "there is no run")]
)
def test_info_of_nothing_is_refused(wrong, answer):
    outcome = call("info", wrong)
    assert outcome.code == 2
    assert answer in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1


def test_info_says_how_to_go_on_with_an_unfinished_run(begun):
    text = words(call("info", begun))
    assert "2 updates, 32 images" in text
    assert "not finished" in text
    assert "checkpoints none" in text
    assert "--resume" in text


def test_a_finished_run_that_was_given_more_to_do_is_unfinished_again(tmp_path):
    trained(QUICK, tmp_path / "run")
    longer = replace(QUICK, training=replace(QUICK.training, updates=9))
    for happening in train(longer, tmp_path / "run", resume=True):
        if isinstance(happening, Update) and happening.step == 6:
            break
    assert "not finished" in words(call("info", tmp_path / "run"))


def test_info_works_on_a_run_that_has_done_nothing(begun):
    (begun / "metrics.jsonl").unlink()
    assert "checkpoints none" in words(call("info", begun))


@pytest.mark.parametrize("left", ["images", "seconds", "loss", "every field"])
def test_records_without_their_fields_or_damaged_cost_only_themselves(tmp_path, left):
    run = shutil.copytree(point_run(), tmp_path / "run")
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    keep = ("kind", "step")
    kept = [{n: v for n, v in one.items() if n in keep or left not in (n, "every field")} for one in records]
    lines = ["[" * 3000, *map(json.dumps, kept)]
    (run / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    text = words(call("info", run))
    assert "1 that are damaged were passed over (metrics.jsonl, line 1)" in text
    assert "6 updates" in text
    assert call("report", run).code == 0
    assert "passed over (metrics.jsonl, line 1)" in (run / "report.html").read_text()


def test_a_recipe_fits_a_narrow_terminal_and_no_field_is_broken(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = call("info", point_run()).out.splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith("data recipe"))
    assert max(map(len, lines[first:])) <= 80
    words = " ".join(lines[first:])
    assert all(f" {field.name}=" in words for field in dataclasses.fields(TrainingRecipe))
    assert all(part.count("=") == 1 for line in lines[first:] for part in line[18:].split("  "))


def test_names_in_brackets_are_shown_as_they_are(tmp_path):
    run = shutil.copytree(point_run(), tmp_path / "[red] roll")
    outcome = call("info", run)
    assert outcome.code == 0
    assert str(run) in outcome.out, "a path that is cut or folded cannot be copied"
    assert "[red] roll" in call("report", run).out


@pytest.mark.parametrize("run", [grey_run, colour_run, point_run])
def test_the_report_is_one_page_that_needs_nothing_else(tmp_path, run):
    copy = shutil.copytree(run(), tmp_path / "run")
    assert str(copy / "report.html") in call("report", copy).out
    page = (copy / "report.html").read_text()
    assert "data:image/png;base64," in page
    assert "http" not in page.split("<body")[1].replace("http://www.w3.org", "")


def test_the_report_works_on_an_unfinished_run(begun):
    assert call("report", begun).code == 0
    assert (begun / "report.html").stat().st_size > 1000


@pytest.mark.parametrize("command", ["info", "report"])
def test_a_path_that_is_no_run_is_refused(tmp_path, command):
    assert "there is no run" in refusal(command, tmp_path / "nowhere")
    assert "is no run" in refusal(command, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["info", "report"])
def test_a_damaged_run_is_refused(tmp_path, command):
    run = shutil.copytree(point_run(), tmp_path / "run")
    (run / "recipe.json").write_text("{")
    assert "damaged" in refusal(command, run)
    (run / "recipe.json").write_text(json.dumps({"format": 99}))
    assert "has format 99" in refusal(command, run)
