"""ebbtide sample: what is written is what was drawn, a seed names a picture, and a refusal writes nothing."""

import errno
import json
import shutil
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ebbtide.cli import sample as command
from ebbtide.evaluation import pictures as pictures_module
from ebbtide.files import LIST
from ebbtide.recipes.run import drawn_by, open_run
from trials import call, colour_run, everything_in, grey_run, pictures, point_run, refusal, small, trained


def sample(run, out, *options):
    outcome = call("sample", run, "--out", out, "--steps", 3, *options)
    assert outcome.code == 0, outcome
    return outcome


def images_in(folder):
    return [np.asarray(Image.open(path)) for path in sorted(folder.glob("[0-9]*.png"))]


@pytest.mark.parametrize("run", [grey_run, colour_run])
def test_the_pictures_are_numbered_and_the_npz_holds_them_all(tmp_path, run):
    sample(run(), tmp_path / "out", "-n", 12, "--npz", tmp_path / "all.npz")
    with np.load(tmp_path / "all.npz", allow_pickle=False) as held:
        images = held["images"]
        labels = held["labels"].tolist() if "labels" in held else None
    assert images.dtype == np.uint8
    assert images.shape == ((12, 8, 8) if run is grey_run else (12, 8, 8, 3))
    assert labels == ([*range(10), 0, 1] if run is grey_run else None)
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [LIST, *(f"{number:05d}.png" for number in range(12)), "grid.png"]
    assert np.array_equal(np.stack(images_in(tmp_path / "out")), images)


@pytest.mark.parametrize("options", [["--eta", 1], ["--sampler", "ancestral"], []])
def test_a_seed_names_a_picture_in_any_batch(tmp_path, options):
    for batch in (7, 100):
        sample(grey_run(), tmp_path / str(batch), "-n", 20, "--batch", batch, "--seed", 3, *options)
    seven, hundred = images_in(tmp_path / "7"), images_in(tmp_path / "100")
    assert len(seven) == len(hundred) == 20
    # arithmetic in another order may turn a value by one in a few places
    far = [np.abs(a.astype(int) - b).max() for a, b in zip(seven, hundred, strict=True)]
    assert max(far) <= 1
    sample(grey_run(), tmp_path / "other", "-n", 20, "--seed", 4, *options)
    assert not np.array_equal(images_in(tmp_path / "other"), hundred)


def test_the_options_change_what_is_drawn(tmp_path):
    ways = [[], ["--eta", 1], ["--eta", 0.5], ["--weights", "network"], ["--label", "3"]]
    drawn = set()
    for number, way in enumerate(ways):
        sample(grey_run(), tmp_path / str(number), "-n", 4, *way)
        drawn.add(np.stack(images_in(tmp_path / str(number))).tobytes())
    assert len(drawn) == len(ways)


def test_ancestral_sampling_is_ddim_with_eta_1(tmp_path):
    for name, way in (("one", ["--eta", 1]), ("other", ["--sampler", "ancestral"])):
        sample(grey_run(), tmp_path / name, "-n", 4, *way)
    assert np.array_equal(images_in(tmp_path / "one"), images_in(tmp_path / "other"))


def test_eta_goes_to_the_runs_own_sampler_where_it_has_one_and_else_it_is_said_who_draws(tmp_path):
    run = open_run(grey_run())
    noisy = replace(drawn_by(run, sampler="sde-dpm2m"), path=tmp_path / "noisy")
    noisy.write()
    shutil.copytree(run.checkpoints, noisy.checkpoints)
    for name, path, way in (
        ("own", noisy.path, ["--eta", 0.3]),
        ("named", grey_run(), ["--sampler", "sde-dpm2m", "--eta", 0.3]),
        ("ddim", grey_run(), ["--eta", 0.3]),
    ):
        outcome = call("sample", path, "-n", 2, "--out", tmp_path / name, *way)
        assert ("dpm2m has no eta: drawn by ddim" in outcome.out) == (name == "ddim")
    own, named, ddim = (np.stack(images_in(tmp_path / name)) for name in ("own", "named", "ddim"))
    assert np.array_equal(own, named)
    assert not np.array_equal(own, ddim)


@pytest.mark.parametrize(("label", "expected"), [("7", [7] * 4), ("none", [-1] * 4)])
def test_one_label_may_be_asked_for(tmp_path, label, expected):
    sample(grey_run(), tmp_path / "out", "-n", 4, "--label", label, "--npz", tmp_path / "all.npz")
    assert np.load(tmp_path / "all.npz")["labels"].tolist() == expected


def test_the_film_has_a_frame_for_every_step(tmp_path):
    sample(colour_run(), tmp_path / "out", "-n", 5, "--gif", "--film", "--batch", 3)
    with Image.open(tmp_path / "out" / "film.gif") as film:
        assert film.n_frames == 3
    with Image.open(tmp_path / "out" / "film.png") as strip, Image.open(tmp_path / "out" / "grid.png") as grid:
        assert strip.size[0] > 3 * 8
        assert grid.size[0] > 0


def watched(monkeypatch, look):
    """Have `look` see each step while it is drawn, before the command gets it."""
    real = command.draw

    def draw(*given, **options):
        for drawing in real(*given, **options):
            look(drawing)
            yield drawing

    monkeypatch.setattr(command, "draw", draw)


@pytest.mark.parametrize("run", [grey_run, point_run])
def test_what_is_remembered_of_many_samples_is_that_of_a_few(tmp_path, monkeypatch, run):
    """Batches leave the memory once they are written: never more than two are alive, whatever the number."""
    monkeypatch.setattr(command, "SHOWN", 4)
    monkeypatch.setattr(command.showing, "POINTS", 4)
    drawn, most = [], 0

    def look(drawing):
        nonlocal most
        drawn.append(weakref.ref(drawing.step.x))
        most = max(most, sum(one() is not None for one in drawn))

    watched(monkeypatch, look)
    sample(run(), tmp_path / "out", "-n", 40, "--batch", 2, "--npz", tmp_path / "all.npz")
    assert len(drawn) >= 20 * 3
    assert most <= 4
    (array,) = (
        np.load(tmp_path / "all.npz")[name] for name in ("images", "points") if name in np.load(tmp_path / "all.npz")
    )
    assert len(array) == 40
    if run is grey_run:
        assert np.array_equal(np.stack(images_in(tmp_path / "out")), array)


def test_pictures_are_written_as_they_come_and_ctrl_c_leaves_them_whole(tmp_path, monkeypatch):
    def look(drawing):
        if drawing.first == 6:
            assert len(images_in(tmp_path / "out")) == 6
            raise KeyboardInterrupt

    watched(monkeypatch, look)
    options = ("-n", 12, "--batch", 3, "--steps", 3, "--npz", tmp_path / "all.npz")
    outcome = call("sample", grey_run(), "--out", tmp_path / "out", *options)
    assert outcome.code == 130
    assert "stopped: 6 of 12" in outcome.out
    names = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert names == {LIST, *(f"{number:05d}.png" for number in range(6)), "grid.png"}


def test_the_grid_shows_the_first_hundred_and_says_so(tmp_path):
    outcome = sample(grey_run(), tmp_path / "many", "-n", 103, "--steps", 1)
    assert "grid of the first 100" in " ".join(outcome.out.split())
    sample(grey_run(), tmp_path / "hundred", "-n", 100, "--steps", 1)
    with Image.open(tmp_path / "many" / "grid.png") as many, Image.open(tmp_path / "hundred" / "grid.png") as hundred:
        assert many.size == hundred.size


def test_points_are_written_as_numbers_and_a_figure(tmp_path):
    sample(point_run(), tmp_path / "out", "-n", 30)
    points = np.load(tmp_path / "out" / "points.npz")["points"]
    assert points.shape == (30, 2)
    assert np.isfinite(points).all()
    with Image.open(tmp_path / "out" / "points.png") as image:
        image.verify()


def test_points_can_be_drawn_when_their_data_is_gone(tmp_path):
    np.save(tmp_path / "points.npy", np.random.default_rng(0).normal(size=(40, 2)))
    recipe = small("swiss-roll")
    trained(replace(recipe, data=replace(recipe.data, source=str(tmp_path / "points.npy"))), tmp_path / "run")
    (tmp_path / "points.npy").unlink()
    outcome = sample(tmp_path / "run", tmp_path / "out", "-n", 5)
    assert "no figure" in outcome.out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [LIST, "points.npz"]


def test_it_goes_beside_the_run_unless_told_otherwise(tmp_path):
    run = shutil.copytree(point_run(), tmp_path / "run")
    assert call("sample", run, "-n", 3, "--seed", 5, "--steps", 2).code == 0
    assert (run / "samples-5" / "points.npz").is_file()


def test_what_was_written_before_is_overwritten_only_on_demand(tmp_path):
    sample(grey_run(), tmp_path / "out", "-n", 2)
    before = everything_in(tmp_path)
    line = refusal("sample", grey_run(), "--out", tmp_path / "out", "-n", 2, "--seed", 9)
    assert "is not empty" in line
    assert everything_in(tmp_path) == before
    sample(grey_run(), tmp_path / "out", "-n", 2, "--seed", 9, "--overwrite")
    assert everything_in(tmp_path) != before


def test_the_next_free_name_is_taken_each_time(tmp_path):
    run = shutil.copytree(point_run(), tmp_path / "run")
    for _ in range(3):
        assert call("sample", run, "-n", 2, "--steps", 2).code == 0
    assert sorted(path.name for path in run.glob("samples-*")) == ["samples-0", "samples-0-2", "samples-0-3"]
    assert all((path / "points.npz").is_file() for path in run.glob("samples-*"))


def test_ones_own_pictures_are_never_overwritten_or_deleted(tmp_path):
    """Ten numbered pictures of the user's; one of them put into a folder of ours; one of ours that was changed."""
    theirs, ours = pictures(tmp_path / "theirs", 10, colour=False), tmp_path / "ours"
    for path in theirs.iterdir():
        path.rename(theirs / f"{int(path.stem):05d}.png")
    sample(grey_run(), ours, "-n", 4)
    changed = Path(shutil.copytree(ours, tmp_path / "changed"))
    (changed / "00003.png").write_bytes(b"drawn over")
    shutil.copy(theirs / "00005.png", ours)
    before = everything_in(tmp_path)
    for folder, name in ((theirs, "00000.png"), (ours, "00005.png"), (changed, "00003.png")):
        line = refusal("sample", grey_run(), "--out", folder, "-n", 3, "--steps", 2, "--overwrite")
        assert f"{folder / name} is no file that ebbtide wrote there" in line
    assert everything_in(tmp_path) == before


def test_what_is_overwritten_is_ours_and_all_of_it_goes(tmp_path):
    out = tmp_path / "out"
    sample(grey_run(), out, "-n", 9)
    (out / "holiday.png").write_bytes(b"mine")
    sample(grey_run(), out, "-n", 2, "--overwrite")
    assert sorted(path.name for path in out.iterdir()) == [LIST, "00000.png", "00001.png", "grid.png", "holiday.png"]
    assert (out / "holiday.png").read_bytes() == b"mine"


def test_a_file_is_overwritten_only_on_demand(tmp_path):
    npz = tmp_path / "all.npz"
    npz.write_bytes(b"mine")
    assert f"--npz {npz} exists" in refusal("sample", point_run(), "-n", 2, "--out", tmp_path / "out", "--npz", npz)
    assert everything_in(tmp_path) == {"all.npz": b"mine"}
    sample(point_run(), tmp_path / "out", "-n", 2, "--npz", npz, "--overwrite")
    assert npz.read_bytes() != b"mine"


REFUSED = {
    "no samples": (["-n", 0], "-n 0"),
    "fewer than none": (["-n", -3], "-n -3"),
    "no steps": (["--steps", 0], "--steps 0"),
    "an eta above 1": (["--eta", 2], "eta=2"),
    "an eta below 0": (["--eta", -0.5], "eta=-0.5"),
    "an eta for ancestral sampling": (
        ["--eta", 0.5, "--sampler", "ancestral"],
        "eta=0.5 came with",
    ),
    "no batch": (["--batch", 0], "--batch 0"),
    "a negative seed": (["--seed", -1], "--seed -1"),
    "an unknown label": (["--label", "seven"], "'seven'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_wrong_option_is_one_line_and_nothing_is_written(tmp_path, case):
    options, says = REFUSED[case]
    line = refusal("sample", grey_run(), "--out", tmp_path / "new" / "out", *options)
    assert says in line
    assert list(tmp_path.iterdir()) == []


def test_more_steps_than_the_table_has_are_refused(tmp_path):
    run = shutil.copytree(point_run(), tmp_path / "run")
    content = json.loads((run / "recipe.json").read_text())
    content["recipe"]["schedule"] = {"name": "linear", "steps": 10}
    (run / "recipe.json").write_text(json.dumps(content))
    line = refusal("sample", run, "--steps", 11, "--out", tmp_path / "out")
    assert "at most 10" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("run", "options", "says"),
    [
        (point_run, ["--gif"], "for images"),
        (point_run, ["--film"], "for images"),
        (point_run, ["--label", "1"], "without labels"),
        (colour_run, ["--label", "1"], "without labels"),
    ],
)
def test_what_a_run_cannot_give_is_refused(tmp_path, run, options, says):
    assert says in refusal("sample", run(), "--out", tmp_path / "out", *options)
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_is_no_run_is_refused(tmp_path):
    assert "there is no run" in refusal("sample", tmp_path / "nowhere")
    assert "is no run" in refusal("sample", pictures(tmp_path / "pictures", 1, colour=False))


def test_a_checkpoint_of_another_format_is_refused(tmp_path):
    run = shutil.copytree(point_run(), tmp_path / "run")
    (state,) = (run / "checkpoints").glob("*/state.json")
    state.write_text(json.dumps(json.loads(state.read_text()) | {"format": 99}))
    assert "has format 99" in refusal("sample", run, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", ["--out", "--npz"])
def test_a_file_and_a_folder_are_not_taken_for_one_another(tmp_path, option):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    wrong = tmp_path / ("file" if option == "--out" else "folder")
    options = [] if option == "--out" else ["--out", tmp_path / "out"]
    assert str(wrong) in refusal("sample", grey_run(), "-n", 2, option, wrong, *options)
    assert everything_in(tmp_path) == {"file": b"mine"}
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_one_line_and_leaves_nothing_half_done(tmp_path, monkeypatch):
    real, written = pictures_module.write_atomically, []

    def full(path, data):
        written.append(path)
        if len(written) > 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, data)

    monkeypatch.setattr(pictures_module, "write_atomically", full)
    assert "the disk is full" in refusal("sample", grey_run(), "-n", 9, "--steps", 2, "--out", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
