"""ebbtide corrupt: a film strip of any corruption, without a model."""

import numpy as np
import pytest
from PIL import Image

from ebbtide.data.pictures import load_pictures
from ebbtide.evaluation.pictures import GAP
from ebbtide.files import LIST
from ebbtide.recipes.corruptions import CORRUPTIONS
from trials import call, everything_in, pictures, refusal


@pytest.mark.parametrize("name", [*CORRUPTIONS, "blur+snow"])
def test_every_name_makes_a_strip_that_begins_with_the_pictures_themselves(name, tmp_path):
    outcome = call("corrupt", "digits", "--corruption", name, "--out", tmp_path / "out", "--levels", 3)
    assert outcome.code == 0, outcome
    strips = [np.asarray(Image.open(tmp_path / "out" / "strip.png"))]
    assert call("corrupt", "digits", "--corruption", "fade", "--out", tmp_path / "fade", "--levels", 3).code == 0
    strips.append(np.asarray(Image.open(tmp_path / "fade" / "strip.png")))
    column = 64
    assert np.array_equal(strips[0][20:, :column], strips[1][20:, :column])
    assert not np.array_equal(strips[0][20:, :column], strips[0][20:, -column:])


def test_ones_own_pictures_in_colour_and_a_film(tmp_path):
    folder = pictures(tmp_path / "mine", 3, colour=True, size=12)
    outcome = call("corrupt", folder, "--corruption", "pixelate", "--size", 12, "--gif", "--out", tmp_path / "out")
    assert outcome.code == 0, outcome
    assert set(everything_in(tmp_path / "out")) == {LIST, "strip.png", "film.gif"}


def test_a_photograph_keeps_its_shape_and_is_made_smaller_if_it_is_large(tmp_path):
    photo, small = tmp_path / "photo.jpg", tmp_path / "small.png"
    Image.fromarray(np.full((300, 600, 3), (200, 40, 40), np.uint8)).save(photo)
    Image.fromarray(np.full((20, 30), 90, np.uint8)).save(small)
    shapes = {(photo,): (128, 256, 3), (small,): (20, 30, 1), (small, photo): (20, 30, 3)}
    for files, shape in shapes.items():
        assert load_pictures(files).values.shape == (len(files), *shape)
    out = tmp_path / "out"
    assert call("corrupt", photo, small, "--corruption", "blur+snow", "--levels", 2, "--out", out).code == 0
    with Image.open(out / "strip.png") as strip:
        assert strip.size == (2 * 256 + GAP, 20 + 2 * 128 + GAP)
        assert strip.getpixel((128, 84)) == (200, 40, 40)


def test_without_another_set_animorph_turns_into_patches(tmp_path):
    for name, options in (("usual", ()), ("named", ("--other", "patches"))):
        given = ("--corruption", "animorph", "--levels", 2, "--examples", 2)
        assert call("corrupt", "digits", *given, *options, "--out", tmp_path / name).code == 0
    assert everything_in(tmp_path / "usual")["strip.png"] == everything_in(tmp_path / "named")["strip.png"]


def test_a_seed_is_repeated_to_the_bit(tmp_path):
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        call("corrupt", "digits", "--corruption", "naive", "--seed", seed, "--out", tmp_path / name)
    made = [everything_in(tmp_path / name)["strip.png"] for name in ("one", "again", "other")]
    assert made[0] == made[1] != made[2]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("digits", "--corruption", "bluur"), "Did you mean blur"),
        (("digits", "--corruption", "gaussian+blur"), "only those can be joined"),
        (("digits", "moons"), "several sources came, and 'digits' is no picture file"),
        (("digits", "--levels", 101), "at most 100"),
        (("digits", "--examples", 101), "at most 100"),
        ((__file__,), "test_corrupt_command.py cannot be read as a picture"),
        ((), "SOURCES is missing"),
        (("moons",), "holds points"),
        (("digits", "--corruption", "blur", "--corruption-steps", 7), "steps=7 came for the corruption blur"),
        (("digits", "--corruption", "naive", "--steps", 7), "now called --corruption-steps"),
        (("digits", "--levels", 1), "--levels 1"),
        (("digits", "--examples", 0), "--examples 0"),
        (("nothing",), "there is nothing called"),
    ],
)
def test_wrong_input_is_refused_before_anything_is_written(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert said in refusal("corrupt", *arguments)
    assert not everything_in(tmp_path)


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    assert "not empty" in refusal("corrupt", "digits", "--out", tmp_path)
    assert call("corrupt", "digits", "--out", tmp_path, "--overwrite").code == 0
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_milliard_steps_are_no_more_work_than_those_that_change_something(tmp_path):
    given = ("--corruption", "naive", "--corruption-steps", 10**9, "--levels", 2)
    assert call("corrupt", "digits", *given, "--out", tmp_path / "out").code == 0


def test_the_next_free_name_is_taken_and_nothing_of_ones_own_is_overwritten(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "strip.png").write_bytes(b"mine")
    line = refusal("corrupt", "digits", "--levels", 2, "--out", "mine", "--overwrite")
    assert "strip.png is no file that ebbtide wrote there" in line
    assert everything_in(tmp_path) == {"mine/strip.png": b"mine"}
    for _ in range(2):
        assert call("corrupt", "digits", "--levels", 2).code == 0
    assert call("corrupt", "digits", "--levels", 2, "--overwrite").code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corrupted-blur", "corrupted-blur-2", "mine"]


@pytest.mark.parametrize("source", ["x" * 5000, "~nobody-of-this-name/x.png", "/dev/zero"])
def test_what_is_no_file_is_refused_in_one_line(tmp_path, source):
    refusal("corrupt", source, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()
