"""Arrays in every layout and scale give the same images, and pickles are refused."""

import io
import struct
import zipfile

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


def npy(shape, descr="|u1", body=b"", fortran=False, version=1):
    """An .npy file as one could write it by hand, whatever is true."""
    text = f"{{'descr': {descr!r}, 'fortran_order': {fortran}, 'shape': {shape}, }}".encode()
    length = struct.pack("<H", len(text)) if version == 1 else struct.pack("<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text + body


HOSTILE = {
    "terabytes": npy((10**6, 10**3, 10**3)),
    "more than 64 bits": npy((2**40, 2**40, 2**40)),
    "nothing times all": npy((0, 2**61, 2**61)),
    "less than nothing": npy((-4, 8, 8), body=bytes(256)),
    "a hundred dimensions": npy((1,) * 100, body=b"1"),
    "no dimension": npy((), body=b"1"),
    "objects": npy((1,), "|O", b"cposix\nsystem\n"),
    "text": npy((2, 8, 8), "<U10", bytes(9999)),
    "records": npy((2, 8, 8), [("a", "|u1")], bytes(128)),
    "a dtype of arrays": npy((1,), ("|u1", (1000, 1000, 1000))),
    "a dtype that is none": npy((1, 8, 8), "|zz"),
    "format 9": npy((1, 8, 8), body=bytes(64), version=9),
    "brackets": b"\x93NUMPY\x01\0" + struct.pack("<H", 9000) + b"(" * 9000,
    "a header of 4 GB": b"\x93NUMPY\x02\0\xff\xff\xff\xff" + bytes(100),
    "code": b"\x93NUMPY\x01\0\x20\0" + b"__import__('os').system('true') ",
    "a label": npy((3,), "<i8", bytes(24)),
}


@pytest.mark.parametrize("end", ["npy", "npz"])
@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_headers_are_refused_before_room_is_made(tmp_path, case, end, monkeypatch):
    path = tmp_path / f"a.{end}"
    if end == "npy":
        path.write_bytes(HOSTILE[case])
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("images.npy", HOSTILE[case])
    made = []
    monkeypatch.setattr("ebbtide.data.memory.np.empty", lambda shape, kind: made.append(shape) or np.zeros(shape, kind))
    with pytest.raises(EbbtideError) as caught:
        load_arrays(path)
    assert "\n" not in str(caught.value)
    assert all(np.prod(shape) < 1000 for shape in made)


def zipped(compression=zipfile.ZIP_DEFLATED, content=None, name="images.npy"):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        archive.writestr(name, npy(RGB.shape, body=RGB.tobytes()) if content is None else content)
    return bytearray(out.getvalue())


def of_both_headers(data, name, kind, value):
    """The zip file with a field changed in the member's own header and in the directory at the end."""
    offsets = {"flags": (6, 8), "method": (8, 10), "unpacked": (22, 24)}[name]
    for offset, start in zip(offsets, (b"PK\x03\x04", b"PK\x01\x02"), strict=True):
        struct.pack_into(kind, data, data.index(start) + offset, value)
    return data


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (of_both_headers(zipped(), "flags", "<H", 1), "encrypted"),
        (of_both_headers(zipped(), "method", "<H", 99), "method 99"),
        (zipped(zipfile.ZIP_BZIP2), "method 12"),
        (of_both_headers(zipped(), "unpacked", "<I", 2**32 - 2), "more than"),
        (zipped(content=b"no array at all"), "it holds none"),
        (zipped(content=npy(RGB.shape, body=RGB.tobytes() + b"1")), "longer than its header says"),
        (zipped(content=npy((10**6, 10, 10), body=RGB.tobytes())), "cut short"),
        (zipped(name="images.npy/x.npy"), "expected one of"),
    ],
)
def test_zip_files_that_are_not_what_numpy_writes_are_refused(tmp_path, data, says):
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(EbbtideError, match=says) as caught:
        load_arrays(tmp_path / "a.npz")
    assert "\n" not in str(caught.value)


def test_every_byte_of_an_archive_may_be_wrong(tmp_path):
    """Each flipped on its own: an error in one line, or arrays (some bytes say only when a file was made)."""
    data, said = zipped(), []
    for place in range(0, len(data), 3):
        broken = bytearray(data)
        broken[place] ^= 0xFF
        (tmp_path / "a.npz").write_bytes(broken)
        try:
            assert load_arrays(tmp_path / "a.npz").values.shape == RGB.shape
        except EbbtideError as error:
            said.append(str(error))
    assert said
    assert "\n" not in "".join(said)


@pytest.mark.parametrize("kind", [">u2", ">f4", ">f8", "<u8", "<f2"])
def test_numbers_of_any_byte_order_and_width(tmp_path, kind):
    np.savez_compressed(tmp_path / "a.npz", images=(RGB / 255).astype(kind) if "f" in kind else RGB.astype(kind))
    assert np.array_equal(load_arrays(tmp_path / "a.npz").values, RGB)
    np.save(tmp_path / "v.npy", np.arange(6.0).reshape(3, 2).astype(kind))
    if "f" in kind:
        assert np.array_equal(load_arrays(tmp_path / "v.npy").values, np.arange(6).reshape(3, 2))


def test_numbers_beyond_float32_are_refused_without_a_warning(tmp_path, recwarn):
    np.save(tmp_path / "a.npy", np.full((3, 2), 1e300))
    with pytest.raises(EbbtideError, match="NaN or infinite"):
        load_arrays(tmp_path / "a.npy")
    assert not recwarn.list


def test_labels_may_be_left_out_unread(tmp_path):
    np.savez(tmp_path / "a.npz", images=RGB, labels=np.zeros(3))
    assert load_arrays(tmp_path / "a.npz", labels=False).labels is None
