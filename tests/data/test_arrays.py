"""Arrays in every layout and scale give the same images, and pickles are refused."""

import numpy as np
import psutil
import pytest

from ebbtide.data.arrays import load_arrays
from ebbtide.errors import EbbtideError

rng = np.random.default_rng(0)
RGB = rng.integers(0, 256, (4, 6, 5, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "scaled",
    [
        RGB,
        RGB.astype(np.int64),
        (RGB / 255).astype(np.float32),
        RGB / 255 * 2 - 1,
        np.nextafter(RGB / 255, 2),
        RGB.transpose(0, 3, 1, 2),
        np.asfortranarray(RGB),
    ],
    ids=["uint8", "int64", "unit", "signed", "just beyond 1", "channels first", "fortran"],
)
def test_layouts_and_scales_agree(tmp_path, scaled):
    np.save(tmp_path / "a.npy", scaled)
    dataset = load_arrays(tmp_path / "a.npy")
    assert np.array_equal(dataset.values, RGB)
    assert dataset.batch([1]).names == ("a[1]",)


@pytest.mark.parametrize("shape", [(4, 6, 5), (4, 6, 5, 1), (4, 1, 6, 5)])
def test_grey_images(tmp_path, shape):
    np.save(tmp_path / "a.npy", RGB[..., 0].reshape(shape))
    assert np.array_equal(load_arrays(tmp_path / "a.npy").values, RGB[..., :1])


def test_opacity_is_laid_over_white(tmp_path):
    opacity = rng.integers(0, 256, (4, 6, 5, 1), dtype=np.uint8)
    np.save(tmp_path / "a.npy", np.concatenate([RGB, opacity], axis=-1))
    share = opacity / 255
    expected = RGB * share + 255 * (1 - share)
    assert abs(load_arrays(tmp_path / "a.npy").values - expected).max() <= 0.5 + 1e-4


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_vectors_are_kept_as_they_are(tmp_path, kind):
    values = rng.normal(size=(7, 3)).astype(kind) * 50
    np.save(tmp_path / "a.npy", values)
    dataset = load_arrays(tmp_path / "a.npy")
    assert np.array_equal(dataset.values, values.astype(np.float32))
    assert dataset.event_shape == (3,)


@pytest.mark.parametrize("key", ["images", "x", "arr_0", "data"])
@pytest.mark.parametrize("label_key", ["labels", "y", None])
def test_npz_keys(tmp_path, key, label_key):
    extra = {label_key: np.array([2, 0, 1, -1], np.int32)} if label_key else {}
    np.savez(tmp_path / "a.npz", **{key: RGB}, **extra)
    dataset = load_arrays(tmp_path / "a.npz")
    assert np.array_equal(dataset.values, RGB)
    if label_key:
        assert dataset.labels.tolist() == [2, 0, 1, -1]
        assert dataset.classes == ("0", "1", "2")
    else:
        assert dataset.labels is None


class Trap:
    """Unpickling this would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("end", ["npy", "npz"])
def test_pickles_are_refused_and_not_run(tmp_path, end):
    objects = np.array([Trap(tmp_path / "sprung")], dtype=object)
    path = tmp_path / f"a.{end}"
    if end == "npy":
        np.save(path, objects, allow_pickle=True)
    else:
        np.savez(path, images=objects)
    with pytest.raises(EbbtideError, match="pickled objects") as caught:
        load_arrays(path)
    assert "allow_pickle" not in str(caught.value)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (RGB / 255 * 5, "floats from 0 to 5"),
        (RGB / 255 * 4 - 2, "floats from -2 to 2"),
        (np.where(RGB > 100, np.nan, 0), "nan"),
        (RGB.astype(np.int64) + 1, "whole numbers from"),
        (RGB[:, :, :, :2], "expected"),
        (np.zeros((4, 3, 8, 3), np.uint8), "could be first or last"),
        (np.zeros((4, 8), np.uint8), "expected"),
        (np.zeros((0, 8, 8), np.float32), "at least one"),
        (np.zeros((0, 8, 8), np.uint8), "empty"),
        (np.array(["a"]), "expected"),
    ],
)
def test_other_arrays_are_refused(tmp_path, values, message):
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(EbbtideError, match=message):
        load_arrays(tmp_path / "a.npy")


@pytest.mark.parametrize("labels", [np.zeros(3, int), np.zeros(4), np.zeros((4, 1), int)])
def test_labels_that_do_not_fit_are_refused(tmp_path, labels):
    np.savez(tmp_path / "a.npz", images=RGB, labels=labels)
    with pytest.raises(EbbtideError, match="labels of"):
        load_arrays(tmp_path / "a.npz")


def test_an_npz_of_other_keys_names_them(tmp_path):
    np.savez(tmp_path / "a.npz", pictures=RGB)
    with pytest.raises(EbbtideError, match="holds pictures, expected one of images"):
        load_arrays(tmp_path / "a.npz")


@pytest.mark.parametrize("end", ["npy", "npz"])
@pytest.mark.parametrize("content", [b"", b"hello there", b"PK\x03\x04 hello", b"\x93NUMPY\x01"])
def test_broken_files_are_refused(tmp_path, end, content):
    path = tmp_path / f"a.{end}"
    path.write_bytes(content)
    with pytest.raises(EbbtideError, match="could not be read"):
        load_arrays(path)
    assert str(path) not in [file.path for file in psutil.Process().open_files()]


def test_a_file_cut_short_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", images=RGB)
    np.save(tmp_path / "a.npy", RGB)
    for path in (tmp_path / "a.npz", tmp_path / "a.npy"):
        path.write_bytes(path.read_bytes()[:-50])
        with pytest.raises(EbbtideError, match="could not be read"):
            load_arrays(path)
