"""Arrays written row by row are those that numpy reads; a file that is not whole is not there."""

import numpy as np
import pytest

from ebbtide.errors import EbbtideError
from ebbtide.evaluation.npz import new_npz


def write(path, shape, parts):
    with new_npz(path) as file, file.array("values", shape, np.float32) as add:
        for part in parts:
            add(part)


def test_numpy_reads_what_came_in_parts(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (7, 3, 2), dtype=np.uint8)
    with new_npz(tmp_path / "deep" / "all.npz") as file:
        with file.array("values", values.shape, np.uint8) as add:
            for part in (values[:3], values[3:3], values[3:, ::1]):
                add(part)
        with file.array("labels", (2,), np.int64) as add:
            add([3, -1])
    with np.load(tmp_path / "deep" / "all.npz", allow_pickle=False) as held:
        assert set(held) == {"values", "labels"}
        assert np.array_equal(held["values"], values)
        assert (held["labels"].dtype, held["labels"].tolist()) == (np.int64, [3, -1])


@pytest.mark.parametrize("rows", [np.zeros((2, 3)), np.zeros((4, 3)), np.zeros((3, 2))])
def test_too_few_rows_too_many_or_others_leave_no_file(tmp_path, rows):
    with pytest.raises(EbbtideError, match="rows"):
        write(tmp_path / "all.npz", (3, 3), [rows])
    assert list(tmp_path.iterdir()) == []


def test_the_file_of_before_stays_when_another_is_broken_off(tmp_path):
    def stopped():
        yield [1.0]
        raise KeyboardInterrupt

    (tmp_path / "all.npz").write_text("before")
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "all.npz", (3,), stopped())
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]
