"""IDX files as this test writes them, sound and broken."""

import gzip
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from ebbtide.data.idx import GARMENTS, is_idx, load_idx_file, load_idx_folder, read_idx
from ebbtide.errors import EbbtideError

CODES = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}
FASHION = Path("/usr/share/datasets/fashion-mnist")
rng = np.random.default_rng(0)


def idx_bytes(values: np.ndarray) -> bytes:
    code = CODES[values.dtype.str[1:]]
    header = struct.pack(f">HBB{values.ndim}I", 0, code, values.ndim, *values.shape)
    return header + values.astype(values.dtype.newbyteorder(">")).tobytes()


def write(path: Path, values: np.ndarray, gz: bool = False) -> Path:
    data = idx_bytes(values)
    path.write_bytes(gzip.compress(data) if gz else data)
    return path


@pytest.mark.parametrize("gz", [False, True])
@pytest.mark.parametrize("kind", CODES)
@pytest.mark.parametrize("shape", [(5,), (3, 4, 2), (0, 2)])
def test_what_is_written_is_read(tmp_path, kind, shape, gz):
    values = rng.integers(0, 100, shape).astype(kind)
    # the name says nothing of gzip: the content does
    path = write(tmp_path / "some-ubyte", values, gz)
    read = read_idx(path)
    assert read.dtype == values.dtype
    assert np.array_equal(read, values)
    assert is_idx(path)


@pytest.mark.parametrize("gz", [False, True])
@pytest.mark.parametrize("kept", [0, 1, 3, 4, 9, 15, 16, 20, -1])
def test_a_file_cut_anywhere_is_refused(tmp_path, kept, gz):
    data = idx_bytes(rng.integers(0, 100, (3, 4, 2)).astype("u1"))[:kept]
    path = tmp_path / "cut"
    path.write_bytes(gzip.compress(data) if gz else data)
    with pytest.raises(EbbtideError, match=r"cut short|no IDX file") as caught:
        read_idx(path)
    assert "\n" not in str(caught.value)


def test_a_gzip_cut_anywhere_is_refused(tmp_path):
    data = gzip.compress(idx_bytes(rng.integers(0, 100, (3, 4, 2)).astype("u1")))
    for kept in range(len(data)):
        (tmp_path / "cut.gz").write_bytes(data[:kept])
        with pytest.raises(EbbtideError):
            read_idx(tmp_path / "cut.gz")


def test_a_file_too_long_is_refused(tmp_path):
    (tmp_path / "long").write_bytes(idx_bytes(np.zeros((2, 2), "u1")) + b"\0")
    with pytest.raises(EbbtideError, match="too long"):
        read_idx(tmp_path / "long")


@pytest.mark.parametrize("gz", [False, True])
def test_a_header_that_promises_the_moon_is_not_believed(tmp_path, gz):
    data = struct.pack(">HBB3I", 0, 14, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1)
    (tmp_path / "moon").write_bytes(gzip.compress(data) if gz else data)
    with pytest.raises(EbbtideError, match="more than the file can hold"):
        read_idx(tmp_path / "moon")


@pytest.mark.parametrize("start", [b"\x01\x00\x08\x01", b"\x00\x00\x07\x01", b"\x00\x00\x08\x00", b"\x89PNG"])
def test_other_files_are_no_idx(tmp_path, start):
    (tmp_path / "other").write_bytes(start + bytes(100))
    assert not is_idx(tmp_path / "other")
    with pytest.raises(EbbtideError, match="no IDX file"):
        read_idx(tmp_path / "other")


@pytest.fixture
def folder(tmp_path):
    """Train and test, one gzipped and one not; class 4 is in the train split only."""
    root = tmp_path / "letters"
    root.mkdir()
    write(root / "train-images-idx3-ubyte.gz", rng.integers(0, 256, (5, 6, 7)).astype("u1"), gz=True)
    write(root / "train-labels-idx1-ubyte", np.arange(5).astype("u1"))
    write(root / "t10k-images.idx3-ubyte", rng.integers(0, 256, (3, 6, 7)).astype("u1"))
    write(root / "t10k-labels.idx1-ubyte", np.zeros(3, "u1"))
    return root


def test_a_folder_gives_its_splits(folder):
    train, test = load_idx_folder(folder, "train"), load_idx_folder(folder, "test")
    assert np.array_equal(train.values[..., 0], read_idx(folder / "train-images-idx3-ubyte.gz"))
    assert train.labels.tolist() == [0, 1, 2, 3, 4]
    assert len(test) == 3
    assert train.classes == test.classes == ("0", "1", "2", "3", "4")
    assert train.batch([1]).names == ("letters[1]",)
    assert test.batch([1]).names == ("letters/test[1]",)


def test_labels_are_optional(folder):
    (folder / "train-labels-idx1-ubyte").unlink()
    assert load_idx_folder(folder, "train").labels is None


def test_a_missing_split_and_labels_that_do_not_fit_are_refused(folder):
    write(folder / "train-labels-idx1-ubyte", np.zeros(4, "u1"))
    with pytest.raises(EbbtideError, match=r"5 images, but .* 4 labels"):
        load_idx_folder(folder, "train")
    (folder / "t10k-images.idx3-ubyte").unlink()
    with pytest.raises(EbbtideError, match="t10k-images-idx3-ubyte"):
        load_idx_folder(folder, "test")


def test_one_file_finds_the_labels_beside_it(folder):
    dataset = load_idx_file(folder / "t10k-images.idx3-ubyte")
    assert (len(dataset), dataset.labels.tolist()) == (3, [0, 0, 0])
    with pytest.raises(EbbtideError, match="expected images"):
        load_idx_file(folder / "t10k-labels.idx1-ubyte")


def test_fashion_is_known_by_its_folder(folder):
    other = folder.rename(folder.parent / "Fashion_MNIST")
    assert load_idx_folder(other, "train").classes == GARMENTS


@pytest.mark.skipif(not FASHION.is_dir(), reason="the Debian package dataset-fashion-mnist is not installed")
def test_the_real_thing():
    test = load_idx_folder(FASHION, "test")
    assert test.event_shape == (1, 28, 28)
    assert np.bincount(test.labels).tolist() == [1000] * 10
    assert test.classes == GARMENTS


@pytest.mark.parametrize("gz", [False, True])
@pytest.mark.parametrize(
    ("header", "says"),
    [
        (struct.pack(">HBB65I", 0, 8, 65, *65 * [1]), "65 dimensions"),
        (struct.pack(">HBB255I", 0, 8, 255, *255 * [2]), "255 dimensions"),
        (struct.pack(">HBB3I", 0, 8, 3, 0, 2**32 - 1, 2**32 - 1), "no array is like that"),
        (struct.pack(">HBB3I", 0, 8, 3, 1, 0, 5), "is empty"),
    ],
)
def test_shapes_that_no_images_have_are_refused(tmp_path, header, says, gz):
    (tmp_path / "odd").write_bytes(gzip.compress(header + b"1") if gz else header)
    with pytest.raises(EbbtideError, match=says if "empty" not in says or not gz else "too long") as caught:
        load_idx_file(tmp_path / "odd")
    assert "\n" not in str(caught.value)


def test_a_gzip_that_unpacks_to_more_than_it_promises_is_not_unpacked(tmp_path):
    bomb = gzip.compress(struct.pack(">HBB3I", 0, 8, 3, 1, 2, 2) + bytes(2**26))
    (tmp_path / "bomb").write_bytes(bomb)
    tracemalloc.start()
    try:
        with pytest.raises(EbbtideError, match="too long"):
            load_idx_file(tmp_path / "bomb")
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_labels_that_count_no_classes_are_named_by_their_values(folder):
    write(folder / "train-labels-idx1-ubyte", np.array([1_700_000_000, 5, -1, 5, 9], "i4"))
    train, test = load_idx_folder(folder, "train"), load_idx_folder(folder, "test")
    # 0 is a label of the test set
    assert train.classes == test.classes == ("0", "5", "9", "1700000000")
    assert train.labels.tolist() == [3, 1, -1, 1, 2]
    assert load_idx_folder(folder, "train", labels=False).labels is None
