"""A folder as people have them: mixed, nested, linked, and a little broken."""

import numpy as np
import pytest
from PIL import Image

from ebbtide.data.folder import find_images, load_folder
from ebbtide.errors import EbbtideError

rng = np.random.default_rng(0)


def save(path, mode="RGB", size=(20, 14), colour=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.fromarray(values) if colour is None else Image.new("RGB", size, colour)
    image.convert(mode).save(path)
    return path


def test_mixed_sizes_modes_and_two_broken_files(tmp_path):
    save(tmp_path / "b.PNG", "RGBA")
    save(tmp_path / "a.jpg", "CMYK", (300, 7))
    save(tmp_path / "deep/er/c.GIF", "P")
    save(tmp_path / "d.webp", "RGB", (3, 3))
    save(tmp_path / "e.tif", "1")
    whole = save(tmp_path / "f.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "zero.jpeg").touch()
    (tmp_path / "notes.txt").write_text("no picture")
    dataset = load_folder(tmp_path, size=8)
    assert dataset.values.shape == (6, 8, 8, 3)
    assert dataset.names == ("a.jpg", "b.PNG", "d.webp", "deep/er/c.GIF", "e.tif", "f.png")
    assert [note.split(":")[0] for note in dataset.skipped] == ["cut.png", "zero.jpeg"]
    assert dataset.labels is None


def test_each_name_has_its_own_picture(tmp_path):
    colours = {f"{i:02}.png": (i, 2 * i, 255 - i) for i in range(40)}
    for name, colour in reversed(colours.items()):
        save(tmp_path / name, colour=colour)
    dataset = load_folder(tmp_path, size=4)
    assert dataset.names == tuple(colours)
    assert np.array_equal(dataset.values[:, 2, 2], list(colours.values()))
    part = load_folder(tmp_path, size=4, limit=7)
    assert len(part) == 7
    assert [tuple(row) for row in part.values[:, 2, 2].tolist()] == [colours[name] for name in part.names]


def test_hidden_files_and_links_out_are_passed_over(tmp_path):
    root = tmp_path / "root"
    save(root / "a.png")
    save(root / ".hidden.png")
    save(root / ".cache/b.png")
    outside = save(tmp_path / "other/c.png")
    (root / "link.png").symlink_to(outside)
    (root / "far").symlink_to(outside.parent)
    (root / "again.png").symlink_to(root / "a.png")
    (root / "loop").symlink_to(root)
    assert find_images(root)[0] == ["a.png", "again.png"]
    dataset = load_folder(root, size=4)
    assert dataset.names == ("a.png", "again.png")
    assert [note.split(":")[0] for note in dataset.skipped] == ["far", "link.png"]


def test_subfolders_are_classes(tmp_path):
    for name in ("dog/1.png", "cat/x/2.png", "dog/3.png"):
        save(tmp_path / name)
    dataset = load_folder(tmp_path, size=4)
    assert dataset.classes == ("cat", "dog")
    assert [dataset.classes[label] for label in dataset.labels] == [name.split("/")[0] for name in dataset.names]
    save(tmp_path / "stray.png")
    assert load_folder(tmp_path, size=4).labels is None


def test_one_subfolder_is_no_class(tmp_path):
    save(tmp_path / "images/1.png")
    assert load_folder(tmp_path, size=4).labels is None


@pytest.mark.parametrize("test_name", ["test", "val", "validation"])
def test_train_and_test_folders_are_splits_that_agree_on_classes(tmp_path, test_name):
    for name in ("train/cat/1.png", "train/dog/2.png", "train/eel/3.png", f"{test_name}/eel/4.png"):
        save(tmp_path / name)
    train, test = load_folder(tmp_path, size=4), load_folder(tmp_path, size=4, split="test")
    assert train.classes == test.classes == ("cat", "dog", "eel")
    assert train.names == ("train/cat/1.png", "train/dog/2.png", "train/eel/3.png")
    assert test.labels.tolist() == [2]


def test_a_class_called_train_is_a_class(tmp_path):
    for name in ("train/1.png", "bus/2.png"):
        save(tmp_path / name)
    assert load_folder(tmp_path, size=4).classes == ("bus", "train")


def test_grey_pictures_in_colour_files_are_grey(tmp_path):
    save(tmp_path / "a.png", "L")
    save(tmp_path / "b.png", "RGB", colour=(9, 9, 9))
    assert load_folder(tmp_path, size=4).event_shape == (1, 4, 4)
    assert load_folder(tmp_path, size=4, colour="rgb").event_shape == (3, 4, 4)
    save(tmp_path / "c.png", "RGB", colour=(9, 9, 10))
    assert load_folder(tmp_path, size=4).event_shape == (3, 4, 4)
    assert load_folder(tmp_path, size=4, colour="grey").event_shape == (1, 4, 4)


def test_a_picture_far_too_large_is_skipped(tmp_path, monkeypatch):
    save(tmp_path / "a.png", size=(10, 10))
    save(tmp_path / "bomb.png", size=(50, 50))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    dataset = load_folder(tmp_path, size=4)
    assert dataset.names == ("a.png",)
    assert "decompression bomb" in dataset.skipped[0]


def test_nothing_to_read_is_an_error(tmp_path):
    with pytest.raises(EbbtideError, match="holds no pictures"):
        load_folder(tmp_path)
    (tmp_path / "a.png").touch()
    with pytest.raises(EbbtideError, match=r"none of 1 images could be read; the first is a\.png"):
        load_folder(tmp_path)
    with pytest.raises(EbbtideError, match="no test split"):
        load_folder(tmp_path, split="test")


def test_only_links_out_says_so(tmp_path):
    outside = save(tmp_path / "other/c.png")
    (tmp_path / "root").mkdir()
    (tmp_path / "root/c.png").symlink_to(outside)
    with pytest.raises(EbbtideError, match="1 links lead out"):
        load_folder(tmp_path / "root")
