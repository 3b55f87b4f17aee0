"""ebbtide restore: original, noised and restored side by side, for pictures of the run's size and colour."""

import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from ebbtide.evaluation.pictures import GAP
from ebbtide.recipes.run_data import RunData
from trials import call, colour_run, everything_in, grey_run, pictures, point_run, refusal, table_run

TITLES = 20
"""Pixels that the titles of the columns take at the top."""


def columns_of(path):
    """The three columns of the written picture, without their titles."""
    sheet = np.asarray(Image.open(path).convert("RGB"))[TITLES:]
    third = (sheet.shape[1] + GAP) // 3
    return [sheet[:, start : start + third - GAP] for start in range(0, sheet.shape[1], third)]


@pytest.mark.parametrize(("run", "colour"), [(grey_run, False), (colour_run, True)])
def test_the_three_columns_are_original_noised_and_restored(tmp_path, run, colour):
    folder = pictures(tmp_path / "pictures", 2, colour=colour)
    outcome = call("restore", run(), folder / "0.png", folder / "1.png", "--level", 0.6, "--out", tmp_path / "out.png")
    assert outcome.code == 0, outcome
    assert "restored 2 from t=0.6" in outcome.out
    original, noised, restored = columns_of(tmp_path / "out.png")
    assert original.shape == noised.shape == restored.shape
    for number in range(2):
        mine = np.asarray(Image.open(folder / f"{number}.png").convert("RGB"))
        shown = original[number * (original.shape[0] // 2) :]
        for corner in (mine[0, 0], mine[3, 4], mine[7, 7]):
            assert (shown == corner).all(-1).any()
    assert not np.array_equal(original, noised)
    assert not np.array_equal(noised, restored)


def test_hardly_noised_comes_back_nearly_as_it_was(tmp_path):
    call("restore", grey_run(), "--examples", 4, "--level", 1e-5, "--out", tmp_path / "out.png")
    original, _, restored = columns_of(tmp_path / "out.png")
    assert np.abs(original.astype(int) - restored).max() <= 4


def test_more_steps_change_what_is_restored_not_what_it_is_restored_from(tmp_path):
    for steps in (3, 9):
        call("restore", grey_run(), "--examples", 2, "--steps", steps, "--out", tmp_path / f"{steps}.png")
    pairs = zip(columns_of(tmp_path / "3.png"), columns_of(tmp_path / "9.png"), strict=True)
    assert [np.array_equal(one, other) for one, other in pairs] == [True, True, False]


def test_of_many_pictures_the_sheet_shows_the_first_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("ebbtide.cli.restore.SHOWN", 2)
    outcome = call("restore", grey_run(), "--examples", 3, "--out", tmp_path / "three.png")
    assert "the first 2 of 3" in outcome.out
    call("restore", grey_run(), "--examples", 2, "--out", tmp_path / "two.png")
    with Image.open(tmp_path / "two.png") as two, Image.open(tmp_path / "three.png") as three:
        assert two.size == three.size


def test_examples_are_restored_by_their_own_labels_unless_the_user_says_otherwise(tmp_path):
    """The first three digits held out are none of them a 4; what is noised is the same."""
    for name, some in (("own", []), ("one", ["--label", "4"]), ("none", ["--label", "none"])):
        assert call("restore", table_run(), "--examples", 2, "--out", tmp_path / f"{name}.png", *some).code == 0
    shown = [columns_of(tmp_path / f"{name}.png") for name in ("own", "one", "none")]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert [np.array_equal(a, b) for a, b in zip(shown[one], shown[other], strict=True)] == [True, True, False]
    assert "no label 'boot'" in refusal("restore", table_run(), "--examples", 2, "--label", "boot")
    assert "trained without labels" in refusal("restore", colour_run(), "photo.png", "--label", "1")


@pytest.mark.parametrize("options", [["--seed", 1], ["--level", 0.9], ["--sampler", "ancestral"], ["--steps", 9]])
def test_the_options_change_what_comes_of_it(tmp_path, options):
    for name, some in (("one", []), ("again", []), ("other", options)):
        assert call("restore", grey_run(), "--examples", 2, "--out", tmp_path / f"{name}.png", *some).code == 0
    made = everything_in(tmp_path)
    assert made["one.png"] == made["again.png"] != made["other.png"]


def test_held_out_examples_are_taken_where_there_are_some(tmp_path, monkeypatch):
    asked = []
    whole = RunData.whole
    monkeypatch.setattr(RunData, "whole", lambda data, split: asked.append(split) or whole(data, split))
    assert call("restore", grey_run(), "--examples", 3, "--out", tmp_path / "out.png").code == 0
    assert asked == ["test"]


def test_it_goes_into_the_run_unless_told_otherwise(tmp_path):
    run = shutil.copytree(grey_run(), tmp_path / "run")
    assert call("restore", run, "--examples", 1).code == 0
    assert (run / "pictures" / "restored.png").is_file()


@pytest.mark.parametrize("size", [(9, 8), (16, 16), (4, 4)])
def test_a_picture_of_another_size_is_refused_unless_it_may_be_scaled(tmp_path, size):
    Image.new("L", size, 77).save(tmp_path / "other.png")
    line = refusal("restore", grey_run(), tmp_path / "other.png", "--out", tmp_path / "out.png")
    assert f"{size[0]}x{size[1]} pixels" in line
    assert "8x8" in line
    assert "--resize" in line
    assert not (tmp_path / "out.png").exists()
    assert call("restore", grey_run(), tmp_path / "other.png", "--out", tmp_path / "out.png", "--resize").code == 0


def test_a_colour_picture_is_made_grey_for_a_grey_run(tmp_path):
    folder = pictures(tmp_path / "pictures", 1, colour=True)
    assert call("restore", grey_run(), folder / "0.png", "--out", tmp_path / "out.png").code == 0
    original = columns_of(tmp_path / "out.png")[0]
    assert (original[..., 0] == original[..., 2]).all()


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 50])
def test_what_is_no_picture_is_refused_by_name(tmp_path, content):
    (tmp_path / "fake.png").write_bytes(content)
    assert "fake.png" in refusal("restore", grey_run(), tmp_path / "fake.png", "--out", tmp_path / "out.png")
    assert list(tmp_path.iterdir()) == [tmp_path / "fake.png"]


def test_a_picture_that_is_cut_short_is_refused_by_name(tmp_path):
    path = tmp_path / "cut.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:70])
    assert "cut.png" in refusal("restore", grey_run(), path, "--out", tmp_path / "out.png")


REFUSED = {
    "nothing to restore": ([], "name pictures, or give --examples"),
    "fewer than no examples": (["--examples", -1], "--examples -1"),
    "level 0": (["--examples", 1, "--level", 0], "--level 0"),
    "a level above 1": (["--examples", 1, "--level", 1.5], "--level 1.5"),
    "a level that is no number": (["--examples", 1, "--level", "nan"], "--level nan"),
    "no steps": (["--examples", 1, "--steps", 0], "--steps 0"),
    "a picture that is not there": (["nowhere.png"], "nowhere.png"),
    "a folder for a picture": (["."], "there is no picture"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_wrong_option_is_one_line_and_nothing_is_written(tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    options, says = REFUSED[case]
    assert says in refusal("restore", grey_run(), *options, "--out", tmp_path / "out.png")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_no_name_for_the_picture(tmp_path):
    assert str(tmp_path) in refusal("restore", grey_run(), "--examples", 1, "--out", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_points_cannot_be_restored():
    assert "only pictures" in refusal("restore", point_run(), "--examples", 1)


def test_examples_of_data_that_is_gone_are_refused():
    assert "pictures" in refusal("restore", colour_run(), "--examples", 1)


def test_a_run_of_another_format_is_refused(tmp_path):
    run = shutil.copytree(grey_run(), tmp_path / "run")
    content = json.loads((run / "recipe.json").read_text())
    (run / "recipe.json").write_text(json.dumps(content | {"format": 99}))
    assert "has format 99" in refusal("restore", run, "--examples", 1)


def half(folder):
    """A mask whose right half is to be painted anew."""
    mask = np.zeros((8, 8), np.uint8)
    mask[:, 4:] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    return folder / "mask.png"


def test_what_is_black_in_a_mask_stays_as_it_is_and_the_rest_is_painted(tmp_path):
    out = tmp_path / "painted.png"
    outcome = call("restore", grey_run(), "--examples", 2, "--mask", half(tmp_path), "--out", out)
    assert outcome.code == 0, outcome
    assert "from t=1" in outcome.out
    original, known, restored = columns_of(out)
    middle = original.shape[1] // 2
    assert np.array_equal(original[:, :middle], restored[:, :middle])
    assert np.array_equal(original[:, :middle], known[:, :middle])
    assert not np.array_equal(original[:, middle:], restored[:, middle:])


@pytest.mark.parametrize("value", [0, 255])
def test_a_mask_of_one_colour_is_refused(tmp_path, value):
    Image.fromarray(np.full((8, 8), value, np.uint8)).save(tmp_path / "mask.png")
    line = refusal("restore", grey_run(), "--examples", 1, "--mask", tmp_path / "mask.png")
    assert "expected white where to paint" in line


def test_a_mask_lies_on_the_pixels_that_it_was_drawn_on(tmp_path):
    """Twice as wide as high: of picture and mask the same middle is taken."""
    values = np.zeros((8, 16), np.uint8)
    values[:, 8:12] = 255
    Image.fromarray(values).save(tmp_path / "wide.png")
    out = tmp_path / "out.png"
    given = (tmp_path / "wide.png", "--resize", "--mask", tmp_path / "wide.png")
    assert call("restore", grey_run(), *given, "--out", out).code == 0
    _, known, _ = columns_of(out)
    grey = known[:, known.shape[1] // 2 :]
    assert len(np.unique(known[:, : known.shape[1] // 2])) == 1
    assert len(np.unique(grey)) == 1
    assert not np.array_equal(known[:, :1], grey[:, :1])


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("content", [b"P6 9000 9000 255\n", None])
def test_pictures_that_would_hang_or_fill_the_memory_are_refused(tmp_path, content, mask):
    path = tmp_path / "bad.ppm"
    os.mkfifo(path) if content is None else path.write_bytes(content)
    given = ("--examples", 1, "--mask", path) if mask else (path, "--resize")
    line = refusal("restore", grey_run(), *given, "--out", tmp_path / "out.png")
    assert "bad.ppm" in line
    assert ("pipe" if content is None else "more than its") in line


def test_a_mask_that_is_no_picture_is_refused(tmp_path):
    (tmp_path / "mask.png").write_text("no")
    assert "cannot be read" in refusal("restore", grey_run(), "--examples", 1, "--mask", tmp_path / "mask.png")
    assert "no mask" in refusal("restore", grey_run(), "--examples", 1, "--mask", tmp_path / "none.png")


def test_a_picture_is_never_written_over_unless_that_is_asked_for(tmp_path):
    """Least of all the one that is to be restored."""
    photo = pictures(tmp_path / "mine", 1, colour=False) / "0.png"
    before = everything_in(tmp_path)
    assert f"--out {photo} exists" in refusal("restore", grey_run(), photo, "--out", photo)
    assert everything_in(tmp_path) == before
    assert call("restore", grey_run(), photo, "--out", photo, "--overwrite").code == 0
    assert everything_in(tmp_path) != before
