"""A folder as people have them: mixed, nested, linked, and a little broken."""

import inspect
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from ebbtide.data.folder import find_images, load_folder
from ebbtide.errors import EbbtideError
from ebbtide.files import start_list
from trials import pictures

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
    with pytest.raises(EbbtideError, match=r"passed over were 1, the first is c\.png: a link that leads out"):
        load_folder(tmp_path / "root")


def test_what_is_no_file_is_passed_over_with_its_reason(tmp_path):
    save(tmp_path / "a.png")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "self.png").symlink_to(tmp_path / "self.png")
    (tmp_path / "lost.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    dataset = load_folder(tmp_path, size=4)
    assert dataset.names == ("a.png",)
    reasons = dict(note.split(": ", 1) for note in dataset.skipped)
    assert reasons == {
        "pipe.png": "a pipe (FIFO), not a file",
        "self.png": "a link to itself or to nothing",
        "lost.png": "a link to itself or to nothing",
        "zero.png": "a link that leads out of the folder",
    }


def dig(root, name, depth):
    """A folder below a folder below ..., however long its path becomes; returns a handle of the last one."""
    place = os.open(root, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=place)
        below = os.open(name, os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = below
    return place


def test_deep_folders_are_walked_and_those_beyond_any_path_passed_over(tmp_path):
    picture = save(tmp_path / "a.png")
    handles = dig(tmp_path, "d", 300), dig(tmp_path, "e" * 250, 20)
    limit = sys.getrecursionlimit()
    try:
        os.link(picture, "b.png", dst_dir_fd=handles[0])
        sys.setrecursionlimit(len(inspect.stack(0)) + 100)
        within, passed = find_images(tmp_path)
        assert [name[-5:] for name in within] == ["a.png", "b.png"]
        assert [note.split(": ")[1] for note in passed] == ["the folder cannot be opened (File name too long)"]
    finally:
        sys.setrecursionlimit(limit)
        for handle in handles:
            os.close(handle)
        subprocess.run(["rm", "-rf", tmp_path / "d", tmp_path / ("e" * 250)], check=True)


def test_a_folder_that_may_not_be_opened_is_said(tmp_path, monkeypatch):
    save(tmp_path / "a.png")
    save(tmp_path / "locked/b.png")
    scan = os.scandir

    def scandir(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    dataset = load_folder(tmp_path, size=4)
    assert dataset.skipped == ("locked: the folder cannot be opened (Permission denied)",)


def test_names_that_no_terminal_could_print_are_written_with_escapes(tmp_path):
    for name in (b"caf\xe9/1.png", b"red \x1b[31m/2\n.png", "gr\u00fcn/3.png".encode()):
        save(tmp_path / os.fsdecode(name))
    dataset = load_folder(tmp_path, size=4)
    assert len(dataset) == 3
    assert dataset.classes == (r"caf\xe9", "gr\u00fcn", r"red \x1b[31m")
    assert dataset.names == (r"caf\xe9/1.png", "gr\u00fcn/3.png", r"red \x1b[31m/2\n.png")
    "".join(dataset.names).encode()


def test_what_ebbtide_wrote_into_the_folder_is_no_part_of_it(tmp_path):
    """A run, and samples, made where the data lie; a folder with a recipe.json of the user's stays in."""
    source = pictures(tmp_path / "mine", 6, colour=False)
    run, samples, kitchen = (source / name for name in ("runs/digits", "samples-0", "kitchen"))
    for folder in (run, samples, kitchen):
        pictures(folder, 2, colour=False)
    (run / "recipe.json").write_text('{"format": 1, "ebbtide": "0", "recipe": {}, "data": {}}')
    (kitchen / "recipe.json").write_text('{"recipe": "soup"}')
    start_list(samples)
    dataset = load_folder(source, size=8, held_out=0.0)
    assert len(dataset) == 8
    assert [note.split(":")[0] for note in dataset.skipped] == ["runs/digits", "samples-0"]
