"""Beyond the limit a file without a name takes the place of memory."""

import numpy as np
import pytest

from ebbtide.data import memory
from ebbtide.errors import EbbtideError


def test_small_is_memory_and_large_is_a_file_that_leaves_no_trace(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "MEMORY_LIMIT", 99)
    monkeypatch.setattr(memory.tempfile, "tempdir", str(tmp_path))
    assert not isinstance(memory.allocate((33, 3)), np.memmap)
    large = memory.allocate((10, 10))
    assert isinstance(large, np.memmap)
    large[:] = np.arange(100).reshape(10, 10)
    assert np.array_equal(large[3:], np.arange(30, 100).reshape(7, 10))
    assert not list(tmp_path.iterdir())


def test_a_disk_too_small_is_told_beforehand():
    with pytest.raises(EbbtideError, match="GiB free"):
        memory.allocate((2**20, 2**20, 2**10))
