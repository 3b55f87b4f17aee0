"""ebbtide doctor: says what is wrong with a run, a recipe or data, by its cause; exit code 3 where something is."""

import io
import json
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from ebbtide.cli import doctor as command
from ebbtide.cli.options import Screen
from ebbtide.doctor.finding import Progress, fine, note, wrong
from ebbtide.recipes.as_json import to_json
from ebbtide.recipes.run import open_run
from ebbtide.training import checkpoints
from trials import call, colour_run, everything_in, grey_run, newest, pictures, point_run, refusal, small

QUICK = ("--examples", 32, "--samples", 16)
MARKED = r"^(wrong|note |fine )  (data|schedule|sampling|training|weights|levels): "


@pytest.fixture(scope="module", autouse=True)
def wide():
    """A screen so wide that no line is broken."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "screen", Screen(highlight=False, soft_wrap=True, width=250))
        yield


@pytest.fixture
def undrawn(monkeypatch):
    monkeypatch.setattr(command, "errors_figure", lambda found: None)
    monkeypatch.setattr(command, "png_bytes", lambda figure: b"")


@pytest.fixture
def run(tmp_path):
    """A run on digits that may be written into."""
    return shutil.copytree(grey_run(), tmp_path / "run")


def strict(path):
    def no_constant(name):
        raise AssertionError(f"{name} is no JSON")

    return json.loads(path.read_text(), parse_constant=no_constant)


def examined(target, *options, code=3):
    outcome = call("doctor", target, *options)
    assert outcome.code == code, outcome
    assert outcome.err == ""
    return outcome.out


def of_run(path, *options, code=3):
    """What is printed, and what is kept."""
    out = examined(path, *QUICK, *options, code=code)
    return out, strict(newest(path, "doctor"))


def wrongs(found):
    return {one["check"]: one for one in found["findings"] if one["verdict"] == "wrong"}


@pytest.fixture(scope="module")
def grey(tmp_path_factory):
    """A run on digits of only 6 updates, which has learned next to nothing."""
    path = shutil.copytree(grey_run(), tmp_path_factory.mktemp("grey") / "run")
    before = everything_in(path)
    out, found = of_run(path)
    return SimpleNamespace(path=path, before=before, out=out, found=found)


# --- what is printed, kept and shown ----------------------------------------------------------------------------------


def test_a_run_that_was_hardly_trained_is_said_to_be_worse_than_a_linear_denoiser(grey):
    bad = wrongs(grey.found)
    assert "worse than the best linear denoiser" in bad["levels: linear"]["text"]
    assert "6 updates on record" in grey.out
    assert "hardly trained: 6 updates, 96 images, 0.064 for each example" in bad["training: length"]["text"]


def test_where_the_run_was_hardly_trained_nothing_else_is_blamed_that_comes_of_it(grey):
    bad = wrongs(grey.found)
    assert "learned nothing from labels" in bad["levels: labels"]["text"]
    assert {one["cause"] for check, one in bad.items() if check.startswith("levels")} == {None}
    assert "the likely cause: a run that was hardly trained" in grey.out.splitlines()[-1]
    fine_ones = {one["check"] for one in grey.found["findings"] if one["verdict"] == "fine"}
    assert {"data: files", "data: range", "schedule: end", "training: finite", "weights: finite"} <= fine_ones


def test_every_finding_is_a_line_and_what_is_wrong_comes_first(grey):
    lines = [line for line in grey.out.splitlines() if re.match(MARKED, line)]
    found = grey.found["findings"]
    assert sorted(lines) == sorted(f"{one['verdict']:5}  {one['check']}: {one['text']}" for one in found)
    assert [line[7:].split(": ")[:2] for line in lines] == [one["check"].split(": ") for one in found]
    order = [["wrong", "note ", "fine "].index(line[:5]) for line in lines]
    assert order == sorted(order)
    bad, notes = (sum(one["verdict"] == verdict for one in found) for verdict in ("wrong", "note"))
    assert notes > 0
    said = f"{bad} of {len(found)} checks found something wrong, {notes} worth a note"
    assert grey.out.splitlines()[-1].startswith(said)


def test_nothing_else_in_the_run_changes_and_what_was_written_is_named(grey):
    after = everything_in(grey.path)
    assert {name: after[name] for name in grey.before} == grey.before
    assert set(after) - set(grey.before) == {"doctor.json", "pictures/doctor.png"}
    for name in ("doctor.json", "pictures/doctor.png"):
        assert str(grey.path / name) in grey.out
    with Image.open(grey.path / "pictures" / "doctor.png") as picture:
        picture.load()


def test_the_file_holds_an_error_for_every_level_and_denoiser(grey):
    levels = grey.found["levels"]
    count = len(levels["log_snr"])
    assert count > 5
    assert levels["log_snr"] == sorted(levels["log_snr"], reverse=True)
    for name in ("linear", "average", "network", "train"):
        assert len(levels[name]) == count
        assert min(levels[name]) > 0
    assert max(levels["linear"]) < 1.2 * levels["constant"]
    assert max(levels["average"]) > min(levels["linear"])


def test_the_report_shows_what_is_not_fine(grey, tmp_path):
    path = shutil.copytree(grey.path, tmp_path / "run")
    assert call("report", path).code == 0
    page = (path / "report.html").read_text()
    assert page.count("<h2>Doctor</h2>") == 1
    assert "best linear denoiser, up to" in page
    assert 'alt="Error at each noise level against the best linear denoiser"' in page
    told = grey.found["findings"]
    assert grey.out.splitlines()[-1].partition(";")[0] in page  # counted as the command counts
    for one in told:
        assert (f"<span>{one['check']}:" in page) == (one["verdict"] != "fine")


def test_points_are_examined_too(tmp_path, undrawn):
    path = shutil.copytree(point_run(), tmp_path / "run")
    _, found = of_run(path)
    assert {"levels: linear", "levels: time", "sampling: brightness"} <= {one["check"] for one in found["findings"]}


@pytest.mark.parametrize(
    ("findings", "code"),
    [
        ([fine("data: files", "a"), note("data: number", "b")], 0),
        ([fine("data: files", "a"), wrong("data: range", "c")], 3),
        ([], 0),
    ],
)
def test_the_exit_code_is_3_where_something_is_wrong(monkeypatch, findings, code):
    monkeypatch.setattr(command, "examine_data", lambda recipe: iter(findings))
    out = examined("patches", code=code)
    assert ("nothing is wrong" in out) == (code == 0)
    assert "the likely cause" not in out


def test_on_a_terminal_the_work_is_seen_and_elsewhere_only_what_was_found(monkeypatch):
    work = [Progress("errors of something", 1, 2), fine("data: files", "a")]
    monkeypatch.setattr(command, "examine_data", lambda recipe: iter(work))
    assert "something" not in examined("patches", code=0)
    terminal = Screen(file=io.StringIO(), force_terminal=True, highlight=False, width=250)
    monkeypatch.setattr(command, "screen", terminal)
    monkeypatch.setattr(command, "examine_data", lambda recipe: iter(work[:1]))
    examined("patches", code=0)
    assert "errors of something" in terminal.file.getvalue()


def test_causes_come_first_and_once_and_brief_leaves_out_what_is_fine(monkeypatch):
    findings = [
        fine("data: files", "all [bold]well[/]"),
        note("data: number", "few"),
        wrong("levels: linear", "bad [red]everywhere"),
        wrong("data: range", "too [large]", "[data] that are not normalised"),
        wrong("weights: size", "large", "[data] that are not normalised"),
    ]
    monkeypatch.setattr(command, "examine_data", lambda recipe: iter(findings))
    lines = examined("patches").splitlines()
    assert lines == [
        "wrong  data: range: too [large]",
        "wrong  weights: size: large",
        "wrong  levels: linear: bad [red]everywhere",
        "note   data: number: few",
        "fine   data: files: all [bold]well[/]",
        "3 of 5 checks found something wrong, 1 worth a note; the likely cause: [data] that are not normalised",
    ]
    assert examined("patches", "--brief").splitlines() == [line for line in lines if not line.startswith("fine")]


# --- broken runs ------------------------------------------------------------------------------------------------------


def edit(path, change):
    file = path / "recipe.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def reweigh(path, group, change):
    file = checkpoints.latest(path / "checkpoints") / f"{group}.safetensors"
    save_file({name: change(name, value) for name, value in load_file(file).items()}, file)


def full_range(path):
    edit(path, lambda content: content["data"].update(range=[0, 255]))


def first_weights(path):
    first = open_run(path).network().state_dict()
    reweigh(path, "average", lambda name, value: first[name].contiguous())


def nan_weights(path):
    def spoil(name, value):
        value = value.clone()
        value.view(-1)[0] = float("nan")
        return value

    reweigh(path, "network", spoil)


def nan_data(path):
    values = np.random.default_rng(0).random((100, 8, 8))
    values[3, 4, 5] = np.nan
    np.save(path.parent / "broken.npy", values)
    edit(path, lambda content: content["recipe"]["data"].update(source=str(path.parent / "broken.npy")))


def leaking(path):
    edit(path, lambda content: content["recipe"]["schedule"].update(name="constant", steps=30, beta=0.02))


BROKEN = {
    "a range of 0 to 255": (full_range, "data: range", "data that are not normalised"),
    "an average that is the first weights": (
        first_weights,
        "weights: average",
        "a moving average that was never updated",
    ),
    "weights that are NaN": (nan_weights, "weights: finite", "weights that are NaN"),
    "data that hold NaN": (nan_data, "data: files", "values that are not numbers in a file"),
    "a schedule that ends too early": (leaking, "schedule: end", "a schedule that leaves signal at t = 1"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_run_is_told_by_its_cause(run, undrawn, case, grey):
    spoil, check, cause = BROKEN[case]
    spoil(run)
    before = everything_in(run)
    out, found = of_run(run)
    assert wrongs(found)[check]["cause"] == cause
    assert cause in out.splitlines()[-1]
    assert cause not in grey.out
    assert {name: everything_in(run)[name] for name in before} == before


def test_weights_that_are_nan_are_not_asked_for_levels(run):
    nan_weights(run)
    out, found = of_run(run)
    assert found["levels"] == {}
    assert not (run / "pictures" / "doctor.png").exists()
    assert "levels:" not in out


def test_weights_that_blew_up_are_wrong_and_the_file_is_still_json(run):
    for group in ("network", "average"):
        reweigh(run, group, lambda name, value: value * 1e35)
    _, found = of_run(run)
    assert None in found["levels"]["average"]
    assert "levels: finite" in wrongs(found)
    assert wrongs(found)["weights: size"]["cause"] == "a learning rate that is far too high"
    good = " ".join(one["text"] for one in found["findings"] if one["verdict"] == "fine")
    assert not re.search(r"\b(nan|inf)\b", good)
    with Image.open(run / "pictures" / "doctor.png") as picture:
        picture.load()


def test_weights_of_another_network_are_one_line(run):
    edit(run, lambda content: content["recipe"]["network"].update(channels=16))
    before = everything_in(run)
    assert "do not fit the run's recipe" in refusal("doctor", run, *QUICK)
    assert everything_in(run) == before


def test_data_that_are_gone_are_said_and_the_rest_is_still_looked_at(tmp_path, undrawn):
    path = shutil.copytree(colour_run(), tmp_path / "run")
    out, found = of_run(path)
    assert "are no longer at" in wrongs(found)["data: files"]["text"]
    checks = {one["check"] for one in found["findings"]}
    assert {"training: finite", "weights: finite"} <= checks
    assert not any(check.startswith(("levels", "sampling")) for check in checks)
    assert "data that cannot be read" in out.splitlines()[-1]
    source = pictures(tmp_path / "moved", 30, colour=True)
    _, found = of_run(path, "--data", source)
    checks = {one["check"]: one for one in found["findings"]}
    assert "moved (" in checks["data: changed"]["text"]
    assert "levels: colours" in checks
    # of pixels that have nothing in common the best linear denoiser sees each alone, be it made of fewer than numbers
    levels = found["levels"]
    for log_snr, linear in zip(levels["log_snr"], levels["linear"], strict=True):
        assert linear == pytest.approx(levels["constant"] / (1 + levels["constant"] * np.exp(log_snr)), rel=0.15)


# --- recipes and data -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["moons", "swiss-roll"])
def test_a_preset_that_works_has_nothing_wrong(target):
    out = examined(target, "--brief", code=0)
    assert "nothing is wrong" in out
    assert "wrong  " not in out


def test_a_recipe_is_examined_before_it_is_trained(tmp_path):
    file = tmp_path / "mine.json"
    content = to_json(small("swiss-roll"))
    content["schedule"] |= {"name": "constant", "steps": 3, "beta": 0.1}
    file.write_text(json.dumps(content))
    before = everything_in(tmp_path)
    out = examined(file)
    assert "a schedule that leaves signal at t = 1" in out.splitlines()[-1]
    content["sampling"] |= {"steps": 9}
    file.write_text(json.dumps(content))
    assert "sampling steps that the schedule does not have" in examined(file).splitlines()[-1]
    assert set(everything_in(tmp_path)) == set(before)


def test_a_preset_without_data_says_so_and_takes_them_from_the_option(tmp_path):
    assert "no data of its own" in examined("images")
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(to_json(small("images", source=""))))
    source = pictures(tmp_path / "pictures", 20, colour=True)
    out = examined(file, "--data", source)
    assert "all of 20 examples could be read" in out
    assert "20 examples: so few may be learned by heart" in out


def test_data_are_examined_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = pictures(tmp_path / "folder", 20, colour=False)
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n")
    out = examined(folder)
    assert "1 of 21 files cannot be read and are left out: broken.png" in out
    assert "broken files" in out.splitlines()[-1]
    assert set(everything_in(tmp_path)) == {f"folder/{path.name}" for path in folder.iterdir()}
    assert "Did you mean digits" in refusal("doctor", "digit")
    points = np.random.default_rng(0).standard_normal((200, 3))
    np.save("points.npy", points)
    assert "nothing is wrong" in examined("points.npy", code=0)
    np.save("points.npy", 100 * points)
    assert "data that are not normalised" in examined("points.npy").splitlines()[-1]


@pytest.mark.parametrize("dimensions", [2, 3])
def test_an_array_that_holds_nan_is_told_by_its_cause(tmp_path, dimensions):
    values = np.random.default_rng(0).random((100, *[8] * (dimensions - 1))).astype(np.float32)
    values[7] = np.nan
    np.save(tmp_path / "banana.npy", values)
    assert "values that are not numbers in a file" in examined(tmp_path / "banana.npy").splitlines()[-1]
    np.save(tmp_path / "banana.npy", np.array(["x"]))
    assert "data that cannot be read" in examined(tmp_path / "banana.npy").splitlines()[-1]


# --- wrong input ------------------------------------------------------------------------------------------------------

REFUSED = {
    "few examples": (["--examples", 15], "--examples 15"),
    "few samples": (["--samples", 15], "--samples 15"),
    "a word for a number": (["--examples", "all"], "all"),
    "an option that is none": (["--level", 3], "--level"),
    "data of another shape": (["--data", "moons"], "examples of shape 2, but"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_wrong_option_is_one_line_and_nothing_is_written(run, case):
    options, says = REFUSED[case]
    before = everything_in(run)
    assert says in refusal("doctor", run, *options)
    assert everything_in(run) == before


def test_data_of_data_are_refused():
    assert "drop it" in refusal("doctor", "patches", "--data", "digits")


def test_a_run_without_a_checkpoint_or_with_a_damaged_recipe_is_refused(run):
    shutil.rmtree(run / "checkpoints")
    before = everything_in(run)
    assert "no checkpoint" in refusal("doctor", run, *QUICK)
    assert everything_in(run) == before
    (run / "recipe.json").write_text("{")
    assert "or damaged" in refusal("doctor", run, *QUICK)


def test_the_help_says_what_is_looked_at_and_what_the_exit_code_means():
    text = " ".join(call("doctor", "--help").out.replace("│", " ").split())
    for words in ("Leaves with 3", "linear denoiser", "held-out", "schedule", "doctor.json", "a preset", "--brief"):
        assert words in text
