"""A run knows its data again wherever it is asked, and never takes others for them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ebbtide.data import load
from ebbtide.data.fingerprint import fingerprint
from ebbtide.errors import EbbtideError
from ebbtide.recipes.bits import BitsSettings, ask
from ebbtide.recipes.evaluate import EvaluateSettings, sides
from ebbtide.recipes.run import DataFacts, open_run
from ebbtide.recipes.run_data import data_of, find_data, in_full
from ebbtide.recipes.train import train
from trials import grey_run, small, trained


def digits(folder, count=120, first=0):
    """A folder of pictures of digits in folders by label, without a test split."""
    some = load("digits").subset(np.arange(first, first + count))
    for number, (value, label) in enumerate(zip(some.values, some.labels, strict=True)):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(value[..., 0]).save(folder / str(label) / f"{number:04d}.png")
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A run on the user's own pictures, named by a relative path; elsewhere that path leads to other pictures."""
    home = tmp_path_factory.mktemp("home")
    digits(home / "here" / "photos")
    digits(home / "there" / "photos", first=300)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home / "here")
        trained(small("images", source="photos", updates=2), Path("run"))
    return home


@pytest.fixture
def moving(home, tmp_path):
    """The same, to be changed."""
    shutil.copytree(home, tmp_path, dirs_exist_ok=True)
    recipe = tmp_path / "here" / "run" / "recipe.json"
    recipe.write_text(recipe.read_text().replace(str(home), str(tmp_path)))
    return tmp_path


def test_the_run_names_its_data_in_full_and_finds_them_from_any_folder(home, monkeypatch):
    monkeypatch.chdir(home / "there")
    run = open_run(home / "here" / "run")
    assert run.recipe.data.source == str(home / "here" / "photos")
    data = data_of(run)
    assert data.own
    assert len(data.train) == run.data.examples
    assert data.name("evaluation") == "evaluation"


def test_built_in_names_stay_names_and_home_is_written_out(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    recipe = small("images", source="~/photos")
    full = in_full(replace(recipe, corruption=replace(recipe.corruption, other="hf:cats")))
    assert (full.data.source, full.corruption.other) == ("/home/someone/photos", "hf:cats")
    assert in_full(small()) == small()


def test_other_data_are_others_whatever_they_are_called(home):
    run = open_run(home / "here" / "run")
    other = data_of(run, str(home / "there" / "photos"))
    assert not other.own
    assert other.train.name == run.data.name
    assert other.name("evaluation").startswith("evaluation-on-photos-")
    assert other.record() == {"source": str(home / "there" / "photos"), "fingerprint": other.mark, "own": False}
    assert data_of(run, str(home / "here" / "photos")).own


CHANGES = {
    "one more": lambda photos: shutil.copy(next(photos.glob("0/*.png")), photos / "0" / "9999.png"),
    "one fewer": lambda photos: next(photos.glob("0/*.png")).unlink(),
    "another in its place": lambda photos: Image.new("L", (8, 8), 77).save(next(photos.glob("0/*.png"))),
    "another label": lambda photos: shutil.move(next(photos.glob("0/*.png")), photos / "1"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_data_that_changed_are_refused_until_they_are_asked_for(moving, change):
    run = open_run(moving / "here" / "run")
    photos = moving / "here" / "photos"
    CHANGES[change](photos)
    for ways in (data_of, lambda run: sides(run, EvaluateSettings()), lambda run: ask(run, BitsSettings())):
        with pytest.raises(EbbtideError, match=f"data at {photos} have changed since .*--data"):
            ways(run)
    with pytest.raises(EbbtideError, match="have changed since"):
        trained(small("images", source=str(photos), updates=3), run.path, resume=True)
    assert not find_data(run).own
    assert not data_of(run, str(photos)).own


def test_data_that_moved_are_asked_for_and_known_again(moving):
    run = open_run(moving / "here" / "run")
    (moving / "here" / "photos").rename(moving / "new")
    with pytest.raises(EbbtideError, match=f"are no longer at {moving / 'here' / 'photos'}: say where .*--data"):
        data_of(run)
    with pytest.raises(EbbtideError, match="are no longer at"):
        trained(small("images", source=run.recipe.data.source, updates=3), run.path, resume=True)
    assert data_of(run, str(moving / "new")).own
    said = [str(one) for one in train(small("images", source=str(moving / "new"), updates=3), run.path, resume=True)]
    assert not any("other data" in text for text in said)
    assert open_run(run.path).recipe.data.source == str(moving / "new")


def test_training_goes_on_with_other_data_that_are_named_and_says_so(moving):
    run = open_run(moving / "here" / "run")
    CHANGES["one more"](moving / "here" / "photos")
    recipe = small("images", source=run.recipe.data.source, updates=3)
    said = [str(one) for one in train(recipe, run.path, resume=True, new_data=True)]
    assert any("other data: photos" in text for text in said)
    now = open_run(run.path)
    assert now.data.range == run.data.range
    assert now.data.examples == run.data.examples + 1
    assert data_of(now).own


def test_data_of_another_shape_are_nobodys():
    with pytest.raises(EbbtideError, match=r"shape 2, but .* was trained on 1x8x8: .*--data"):
        data_of(open_run(grey_run()), "moons")


def test_a_run_of_before_knows_its_data_by_number_mean_and_deviation(moving):
    file = moving / "here" / "run" / "recipe.json"
    content = json.loads(file.read_text())
    del content["data"]["fingerprint"]
    file.write_text(json.dumps(content))
    run = open_run(file.parent)
    assert data_of(run).own
    assert not data_of(run, str(moving / "there" / "photos")).own
    CHANGES["one more"](moving / "here" / "photos")
    with pytest.raises(EbbtideError, match="have changed"):
        data_of(run)


def test_the_fingerprint_is_of_the_examples_their_order_and_the_labels_that_are_learned():
    whole = load("digits")
    marks = [fingerprint(whole, labels=True), fingerprint(whole, labels=False)]
    other = whole.values.copy()
    other[-1, -1, -1] ^= 1
    marks.append(fingerprint(replace(whole, values=other), labels=False))
    marks.append(fingerprint(whole.subset(np.arange(len(whole))[::-1].copy()), labels=False))
    assert len(set(marks)) == len(marks)
    assert DataFacts.of(whole).fingerprint == marks[0]
    assert DataFacts.of(replace(whole, labels=None, classes=())).fingerprint == marks[1]


def test_limits_and_flips_are_part_of_what_is_known_again(tmp_path):
    recipe = small(updates=1)
    recipe = replace(recipe, data=replace(recipe.data, limit=50, flip=True))
    trained(recipe, tmp_path)
    data = data_of(open_run(tmp_path))
    assert data.own
    assert (len(data.train), len(data.whole("train"))) == (50, 1500)
    assert not data.whole("train").flip
