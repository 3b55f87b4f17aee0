"""A part of the user's own data is kept aside by content: the same part whatever comes, goes, moves or is copied."""

import shutil

import numpy as np
import pytest
from PIL import Image

from ebbtide.data import load
from ebbtide.data.held_out import LEAST, Part
from ebbtide.errors import EbbtideError

rng = np.random.default_rng(0)
GREY = rng.integers(0, 256, (120, 4, 4), dtype=np.uint8)


def folder_of(path, values, start=0):
    path.mkdir(parents=True, exist_ok=True)
    for number, value in enumerate(values, start):
        Image.fromarray(value).save(path / f"{number:04}.png")
    return path


def both(source, **options):
    return tuple(load(str(source), size=4, split=split, **options) for split in ("train", "test"))


def rows(dataset):
    return {row.tobytes() for row in dataset.values}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder that tests read, and copy if they change it."""
    return folder_of(tmp_path_factory.mktemp("held-out") / "pictures", GREY)


@pytest.mark.parametrize("kind", ["folder", "npy", "npz", "idx", "idx folder", "parquet"])
def test_every_kind_of_source_is_taken_apart_without_loss(tmp_path, pictures, kind):
    source = pictures
    if kind in ("npy", "npz"):
        source = tmp_path / f"a.{kind}"
        np.save(source, GREY) if kind == "npy" else np.savez(source, images=GREY, labels=np.arange(120) % 3)
    elif kind.startswith("idx"):
        file = tmp_path / "train-images-idx3-ubyte"
        file.write_bytes(bytes([0, 0, 8, 3]) + np.array(GREY.shape, ">u4").tobytes() + GREY.tobytes())
        source = tmp_path if kind == "idx folder" else file
    elif kind == "parquet":
        datasets = pytest.importorskip("datasets")
        table = datasets.Dataset.from_dict({"image": [Image.fromarray(value) for value in GREY]})
        source = tmp_path / "a.parquet"
        table.cast_column("image", datasets.Image()).to_parquet(source)
    train, test = both(source)
    assert len(train) + len(test) == len(GREY)
    assert rows(train) | rows(test) == {row.tobytes() for row in GREY}
    assert 1 <= len(test) <= 30
    assert train.held_out == test.held_out == 0.1
    assert not set(train.batch(range(len(train))).names) & set(test.batch(range(len(test))).names)
    whole = load(str(source), size=4, held_out=0.0)
    assert (len(whole), whole.held_out) == (120, 0.0)
    with pytest.raises(EbbtideError, match="no test split, and none is to be kept aside"):
        load(str(source), split="test", held_out=0.0)


def test_about_the_share_is_kept_aside():
    contents = [str(number).encode() for number in range(2000)]
    for share in (0.1, 0.5):
        aside, rest = (
            np.array([Part(split=split, share=share).holds(content) for content in contents])
            for split in ("test", "train")
        )
        assert abs(aside.mean() - share) < 4 * np.sqrt(share * (1 - share) / len(contents))
        assert (aside ^ rest).all()


def test_the_part_stays_the_same_when_pictures_come_and_move(tmp_path, pictures):
    before = rows(both(pictures)[1])
    moved = shutil.copytree(pictures, tmp_path / "moved")
    for number, path in enumerate(sorted(moved.iterdir())):
        (moved / str(number % 3)).mkdir(exist_ok=True)
        path.rename(moved / str(number % 3) / f"renamed-{1000 - number}.png")
    assert rows(both(moved)[1]) == before
    folder_of(moved, rng.integers(0, 256, (60, 4, 4), dtype=np.uint8), start=500)
    train, test = both(moved)
    assert before <= rows(test)
    assert not before & rows(train)


def test_copies_are_never_on_both_sides(tmp_path, pictures):
    twice = shutil.copytree(pictures, tmp_path / "twice")
    for path in list(twice.iterdir()):
        shutil.copy(path, twice / f"copy of {path.name}")
    train, test = both(twice)
    assert len(train) + len(test) == 240
    assert not rows(train) & rows(test)


@pytest.mark.parametrize("limit", [1, 7, 40])
def test_a_limit_is_met_within_each_part(pictures, limit):
    whole, some = both(pictures), both(pictures, limit=limit)
    for all_, few in zip(whole, some, strict=True):
        assert len(few) == min(limit, len(all_))
        assert rows(few) <= rows(all_)


def test_of_few_pictures_none_is_kept_aside(tmp_path):
    folder_of(tmp_path, GREY[: LEAST - 1])
    train = load(str(tmp_path), size=4)
    assert (len(train), train.held_out) == (LEAST - 1, 0.0)
    with pytest.raises(EbbtideError, match="no test split, and 49 examples are too few"):
        load(str(tmp_path), split="test")


def test_a_test_split_of_its_own_is_taken_as_it_is(tmp_path):
    folder_of(tmp_path / "train", GREY[:60])
    folder_of(tmp_path / "test", GREY[60:70])
    train, test = both(tmp_path)
    assert (len(train), len(test)) == (60, 10)
    assert train.held_out == test.held_out == 0.0


def test_a_broken_picture_is_named_on_one_side_only(tmp_path):
    folder_of(tmp_path, GREY[:60])
    for number in range(8):
        (tmp_path / f"broken-{number}.png").write_bytes(bytes([number]))
    train, test = both(tmp_path)
    assert len(train) + len(test) == 60
    assert len(train.skipped) + len(test.skipped) == 8
    assert not set(train.skipped) & set(test.skipped)


def test_pictures_that_are_all_the_same_are_on_one_side(tmp_path):
    folder_of(tmp_path, GREY[:1].repeat(LEAST, axis=0))
    assert len(load(str(tmp_path), size=4)) == LEAST
    with pytest.raises(EbbtideError, match="none of 50 images belongs to the split"):
        load(str(tmp_path), size=4, split="test")
