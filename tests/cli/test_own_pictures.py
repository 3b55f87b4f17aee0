"""A user's own folder, of pictures that are not square: through training, drawing, restoring and measuring."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ebbtide.recipes.build import build_data
from ebbtide.recipes.evaluate import EvaluateSettings, sides
from ebbtide.recipes.run import open_run
from ebbtide.recipes.train import Note
from trials import call, refusal, small, trained

HEIGHT, WIDTH = 8, 12


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """The folder, the run that learned from it, and what it said."""
    root = tmp_path_factory.mktemp("own")
    (root / "pictures").mkdir()
    values = np.random.default_rng(0).integers(0, 256, (130, 10, 16, 3), dtype=np.uint8)
    for number, value in enumerate(values):
        Image.fromarray(value).save(root / "pictures" / f"{number}.png")
    recipe = small("images", source=str(root / "pictures"), updates=2)
    recipe = replace(recipe, data=replace(recipe.data, size=(HEIGHT, WIDTH)))
    happened = trained(recipe, root / "run")
    return root / "pictures", root / "run", [one.text for one in happened if isinstance(one, Note)]


def test_a_tenth_is_kept_aside_and_it_is_said(own):
    _, path, notes = own
    run = open_run(path)
    assert run.data.held_out == 0.1
    assert [note for note in notes if "10% of the data, chosen by content, is kept aside" in note]
    train, test = (build_data(run.recipe.data, split, run.data.value_range) for split in ("train", "test"))
    assert len(train) == run.data.examples < 130
    assert len(train) + len(test) == 130
    # too few to measure by: half of the data stands in
    both = sides(run, EvaluateSettings())
    assert both.split == "half of train"
    assert len(both.reference) + len(both.unseen) == 130


def test_a_run_from_before_anything_was_kept_aside_has_learned_from_all(own, tmp_path):
    _, path, _ = own
    old = shutil.copytree(path, tmp_path / "old")
    content = json.loads((old / "recipe.json").read_text())
    del content["data"]["held_out"], content["recipe"]["data"]["held_out"]
    (old / "recipe.json").write_text(json.dumps(content))
    run = open_run(old)
    assert len(build_data(run.recipe.data)) == 130


def test_samples_have_the_height_and_width(own, tmp_path):
    _, path, _ = own
    assert open_run(path).data.event_shape == (3, HEIGHT, WIDTH)
    assert call("sample", path, "-n", 3, "--out", tmp_path / "out", "--gif").code == 0
    assert Image.open(tmp_path / "out" / "00000.png").size == (WIDTH, HEIGHT)


def test_a_picture_of_that_size_is_restored_and_others_are_cropped(own, tmp_path):
    pictures, path, _ = own
    out = tmp_path / "out.png"
    line = refusal("restore", path, pictures / "0.png", "--out", out)
    assert "16x10 pixels, but the run's pictures are 12x8" in line
    assert call("restore", path, pictures / "0.png", "--resize", "--out", out).code == 0
    # stored on its side, shown upright: its size is the one that is shown
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (HEIGHT, WIDTH), (1, 2, 3)).save(tmp_path / "turned.png", exif=exif)
    assert call("restore", path, tmp_path / "turned.png", "--out", tmp_path / "turned-out.png").code == 0


@pytest.mark.parametrize("corruption", ["blur+snow", "pixelate", "naive"])
def test_they_are_corrupted_as_squares_are(own, tmp_path, corruption):
    pictures, _, _ = own
    given = ("--corruption", corruption, "--size", f"{HEIGHT}x{WIDTH}", "--levels", 3)
    assert call("corrupt", pictures, *given, "--out", tmp_path / "out").code == 0
    assert "32x" in refusal("corrupt", pictures, "--size", "32x", "--out", tmp_path / "other")


def test_a_network_that_wants_other_sides_says_so(own, tmp_path):
    pictures, _, _ = own
    given = ("--data", pictures, "--data.size", "8x9", "--network.patch", 2, "--training.updates", 1)
    assert "network.patch=2 came, which does not divide images of (8, 9)" in refusal(
        "train", "images", *given, "--out", tmp_path / "run"
    )
    assert not (tmp_path / "run").exists()
