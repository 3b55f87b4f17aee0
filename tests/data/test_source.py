"""One word leads to each kind of source, and a wrong word to advice."""

import os
import struct
import subprocess
import sys

import jaxtyping
import numpy as np
import pytest
from PIL import Image

from ebbtide.data import BUILT_IN, ValueRange, load
from ebbtide.errors import EbbtideError

rng = np.random.default_rng(0)
GREY = rng.integers(0, 256, (6, 8, 8), dtype=np.uint8)


@pytest.fixture(params=["idx folder", "idx file", "npy", "npz", "folder", "saved", "parquet"])
def source(request, tmp_path):
    """The images GREY, whose labels, if there are any, are 0 1 2 0 1 2."""
    kind, labels = request.param, np.arange(6) % 3
    if kind.startswith("idx"):
        images = tmp_path / "train-images-idx3-ubyte"
        images.write_bytes(struct.pack(">4B3I", 0, 0, 8, 3, *GREY.shape) + GREY.tobytes())
        marks = struct.pack(">4BI", 0, 0, 8, 1, 6) + labels.astype(np.uint8).tobytes()
        (tmp_path / "train-labels-idx1-ubyte").write_bytes(marks)
        return str(tmp_path if kind == "idx folder" else images)
    if kind == "npy":
        np.save(tmp_path / "a.npy", GREY)
        return str(tmp_path / "a.npy")
    if kind == "npz":
        np.savez(tmp_path / "a.npz", images=GREY, labels=labels)
        return str(tmp_path / "a.npz")
    if kind == "folder":
        for i, value in enumerate(GREY):
            Image.fromarray(value).save(tmp_path / f"{i}.png")
        return str(tmp_path)
    datasets = pytest.importorskip("datasets")
    rows = {"image": [Image.fromarray(value) for value in GREY], "label": labels.tolist()}
    table = datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image())
    if kind == "saved":
        table.save_to_disk(tmp_path / "saved")
        return str(tmp_path / "saved")
    table.to_parquet(tmp_path / "a.parquet")
    return str(tmp_path / "a.parquet")


def test_every_kind_of_path_gives_the_same_images(source):
    dataset = load(source, size=8)
    assert np.array_equal(dataset.values[..., 0], GREY)
    assert dataset.event_shape == (1, 8, 8)
    assert dataset.labels is None or dataset.labels.tolist() == [0, 1, 2, 0, 1, 2]


def test_options_hold_for_every_kind_of_path(source):
    dataset = load(source, size=5, colour="rgb", labels=False, limit=4, flip=True, range=ValueRange(low=0.0))
    assert dataset.values.shape == (4, 5, 5, 3)
    assert dataset.labels is None
    assert dataset.classes == ()
    assert dataset.flip
    assert dataset.batch([0]).x0.min() >= 0
    assert len(set(dataset.names or dataset.batch(range(4)).names)) == 4


def test_a_test_split_that_is_not_there_is_refused(source):
    with pytest.raises(EbbtideError, match=r"test split|no test images"):
        load(source, split="test")


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_names(name, split):
    dataset = load(name, split=split, limit=50)
    assert dataset.name == name
    assert len(dataset) == 50
    assert dataset.is_image is (name in ("digits", "dots", "patches"))


def test_the_native_size_is_kept_where_there_is_one(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 20, 10), np.uint8))
    assert load(str(tmp_path / "a.npy")).event_shape == (1, 20, 10)
    assert load("digits").event_shape == (1, 8, 8)
    assert load("dots").event_shape == (1, 3, 3)
    assert load("digits", size=16, limit=3).event_shape == (1, 16, 16)
    folder = tmp_path / "folder"
    folder.mkdir()
    Image.new("RGB", (90, 50), (1, 2, 3)).save(folder / "a.png")
    assert load(str(folder)).event_shape == (3, 32, 32)


def test_vectors_have_neither_size_nor_colour_nor_mirror():
    for options in ({"size": 8}, {"colour": "rgb"}, {"flip": True}):
        with pytest.raises(EbbtideError, match="images"):
            load("moons", **options)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("digit", "Did you mean digits"),
        ("dot", "Did you mean dots"),
        ("swissroll", "Did you mean swiss-roll"),
        ("/no/such/path", "a folder of images"),
    ],
)
def test_a_wrong_word_gets_advice(word, expected):
    with pytest.raises(EbbtideError, match=expected) as caught:
        load(word)
    for name in BUILT_IN:
        assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_word_and_other_files_are_refused(tmp_path):
    (tmp_path / "a.txt").write_text("hello")
    for source in ("", str(tmp_path / "a.txt")):
        with pytest.raises(EbbtideError, match="a folder of images"):
            load(source)


@pytest.fixture
def unchecked():
    """Without the types that tests check at run time, which users run without."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize("options", [{"split": "tests"}, {"colour": "gray"}, {"size": 0}, {"limit": 0}])
def test_options_refuse_a_typo(options, unchecked):
    with pytest.raises(EbbtideError, match="expected"):
        load("digits", **options)


def test_importing_data_imports_neither_datasets_nor_scikit_learn():
    code = "import sys, ebbtide.data; print([name for name in ('datasets', 'sklearn', 'rich') if name in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_sources_that_would_be_waited_for_are_refused(tmp_path):
    for name in ("pipe", "pipe.npy", "pipe.parquet", "train-images-idx3-ubyte"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(EbbtideError, match="a pipe"):
            load(str(tmp_path / name))
    (tmp_path / "self").symlink_to(tmp_path / "self")
    for source, says in {
        str(tmp_path / "self"): "a link to itself",
        "/dev/zero": "a device",
        "x" * 5000: "nothing called",
        "~nobody-of-this-name/x": "nothing called",
        "zero\0": "nothing called",
    }.items():
        with pytest.raises(EbbtideError, match=says):
            load(source)


def test_labels_that_are_not_asked_for_cannot_be_wrong(tmp_path):
    np.savez(tmp_path / "a.npz", images=GREY, labels=np.full(6, -7))
    with pytest.raises(EbbtideError, match="from -7"):
        load(str(tmp_path / "a.npz"))
    assert load(str(tmp_path / "a.npz"), labels=False).labels is None
