"""ebbtide samplers and ebbtide race: what is printed is what is kept; wrong input is one line that writes nothing."""

import html
import json
import shutil
from functools import partial
from types import SimpleNamespace

import pytest
from PIL import Image

from ebbtide.cli import race as command
from ebbtide.cli.options import Screen
from ebbtide.evaluation.race import leader_in_words
from ebbtide.recipes import evaluate as recipe_module
from ebbtide.recipes import features
from ebbtide.recipes.samplers import SAMPLERS
from trials import call, everything_in, point_run, refusal, table_run


@pytest.fixture(scope="module", autouse=True)
def cheap():
    """A reference of few steps, little training, and a screen so wide that no table is broken."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "MOST_UPDATES", 2)
        patch.setattr(recipe_module, "MOST_ROWS", 300)
        patch.setattr(command, "RaceSettings", partial(command.RaceSettings, reference_steps=20))
        patch.setattr(command, "screen", Screen(highlight=False, soft_wrap=True, width=250))
        yield


def raced(path, *options):
    outcome = call("race", path, "--samples", 50, *options)
    assert outcome.code == 0, outcome
    return SimpleNamespace(out=outcome.out, found=json.loads((path / "race.json").read_text()))


@pytest.fixture(scope="module")
def race(tmp_path_factory):
    path = shutil.copytree(point_run(), tmp_path_factory.mktemp("race") / "run")
    before = everything_in(path)
    raced_so = raced(path, "--samplers", "dpm2m", "rk4", "sde-dpm2m", "--evaluations", 6, 3)
    return SimpleNamespace(path=path, before=before, **vars(raced_so))


@pytest.mark.parametrize("columns", [80, 120])
def test_every_sampler_is_listed_with_its_source_and_no_line_is_half_empty_or_too_long(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    outcome = call("samplers")
    assert outcome.code == 0
    head, *lines, _ = outcome.out.splitlines()
    begins = [index for index, line in enumerate(lines) if line[:1] != " "]
    assert [lines[index].split()[0] for index in begins] == list(SAMPLERS)
    for (name, about), begin, end in zip(SAMPLERS.items(), begins, [*begins[1:], len(lines)], strict=True):
        line, text = lines[begin], " ".join(" ".join(lines[begin:end]).split())
        assert line[head.index("order") :].startswith(f"{about.order} "), name
        assert f" {about.evaluations or 'own'} " in line
        assert (" yes " in line or " eta " in line[:34]) == (about.stochastic or about.eta is not None)
        assert text.endswith(f"{about.about} ({about.source})")
    assert max(map(len, lines)) <= columns
    assert len(lines) <= {80: 52, 120: 34}[columns]


def test_laps_are_kept_in_order_and_who_cannot_spend_so_few_is_left_out(race):
    assert [(lap["evaluations"], lap["sampler"], lap["steps"]) for lap in race.found["laps"]] == [
        (3, "dpm2m", 3),
        (3, "sde-dpm2m", 3),
        (6, "dpm2m", 6),
        (6, "rk4", 1),
        (6, "sde-dpm2m", 6),
    ]
    assert race.found["samples"] == 50
    for lap in race.found["laps"]:
        assert lap["to_data"]["value"] >= 0
        assert lap["a_second"] > 0
        assert (lap["to_reference"] is None) == (lap["sampler"] == "sde-dpm2m")


def test_what_is_printed_is_what_is_kept(race):
    rows = {line.split()[0]: line for line in race.out.splitlines() if line.split()[:1] in (["3"], ["6"])}
    for lap in race.found["laps"]:
        distance = lap["to_data"]
        assert f"{distance['value']:.2f} ± {distance['error']:.2f}" in rows[str(lap["evaluations"])]
    assert leader_in_words(race.found["laps"]) in race.out
    assert race.found["features"] in race.out


def test_how_long_it_takes_is_said_before_the_first_lap(race):
    """50 samples of 3 + 3 + 6 + 4 + 6 evaluations, and 64 of the 20 that show where the ODE leads."""
    first, second = race.out.splitlines()[:2]
    assert "5 laps of 50 samples and where the ODE leads: 2,380 evaluations of the network, about " in first
    assert second.startswith("dpm2m in 3: ")


def test_the_report_says_who_leads_and_shows_the_picture_once(race, tmp_path):
    path = shutil.copytree(race.path, tmp_path / "run")
    assert call("report", path).code == 0
    page = (path / "report.html").read_text()
    words = leader_in_words(race.found["laps"])
    assert html.escape(words[1:]) in page
    assert page.count("<h2>Race of samplers</h2>") == page.count('alt="Distance to the data against') == 1
    assert "<h2>Race</h2>" not in page


def test_nothing_else_in_the_run_changes_and_what_was_written_is_named(race):
    after = everything_in(race.path)
    assert {name: after[name] for name in race.before} == race.before
    assert set(after) - set(race.before) == {"race.json", "pictures/race.png"}
    for name in ("race.json", "pictures/race.png"):
        assert str(race.path / name) in race.out
    with Image.open(race.path / "pictures" / "race.png") as picture:
        picture.verify()


def test_the_same_race_ends_the_same_and_another_seed_otherwise(race, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "png_bytes", lambda figure: b"")
    path = shutil.copytree(point_run(), tmp_path / "run")

    def distances(*options):
        found = raced(path, "--samplers", "dpm2m", "sde-dpm2m", "--evaluations", 3, *options).found
        return [lap["to_data"]["value"] for lap in found["laps"]]

    first = [lap["to_data"]["value"] for lap in race.found["laps"] if lap["evaluations"] == 3]
    assert distances() == pytest.approx(first, rel=1e-6)
    assert distances("--seed", 1) != pytest.approx(first, rel=1e-6)
    assert distances("--weights", "network") != pytest.approx(first, rel=1e-6)


REFUSED = {
    "too few samples": (["--samples", 49], "--samples 49"),
    "no evaluations": (["--evaluations", 0], "--evaluations (0,)"),
    "a sampler that is none": (["--samplers", "dpm2n"], "dpm2n"),
    "one that sets its own": (["--samplers", "adaptive", "--evaluations", 5], "adaptive"),
    "evaluations that are no number": (["--evaluations", "few"], "few"),
    "an option that is none": (["--sampler", "ddim"], "--sampler"),
    "weights that are none": (["--weights", "best"], "best"),
    "features of pictures": (["--features", "classifier"], "features"),
    "data that are not there": (["--data", "nowhere/at/all"], "nowhere"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_input_is_one_line_and_writes_nothing(tmp_path, case):
    options, said = REFUSED[case]
    path = shutil.copytree(point_run(), tmp_path / "run")
    before = everything_in(tmp_path)
    assert said in refusal("race", path, *options)
    assert everything_in(tmp_path) == before


def test_more_steps_than_a_table_has_leave_nobody_to_race(tmp_path):
    path = shutil.copytree(table_run(), tmp_path / "run")
    before = everything_in(tmp_path)
    line = refusal("race", path, "--samplers", "ddim", "--evaluations", 21, "--samples", 50)
    assert "none of ddim can take (21,) evaluations" in line
    assert everything_in(tmp_path) == before


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    for path in (tmp_path / "missing", tmp_path):
        assert str(path) in refusal("race", path)
    assert everything_in(tmp_path) == {}


def test_the_list_takes_nothing():
    assert "ddim" in refusal("samplers", "ddim")
