"""A file is the old one or the new one, never a half; disk errors say what to do."""

import errno
import os

import pytest

from ebbtide import files
from ebbtide.errors import EbbtideError
from ebbtide.files import clear_disk_errors, write_atomically


def failing(number):
    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize(("data", "content"), [("σ = 1", "σ = 1".encode()), (b"\x00\xff", b"\x00\xff")])
def test_what_is_written_is_read_back_and_parents_are_made(tmp_path, data, content):
    path = write_atomically(tmp_path / "new" / "folder" / "file", data)
    assert path.read_bytes() == content
    assert os.listdir(path.parent) == ["file"]


@pytest.mark.parametrize("broken", ["sync", "replace"])
def test_a_failure_leaves_the_old_file_and_nothing_beside_it(tmp_path, monkeypatch, broken):
    path = write_atomically(tmp_path / "file", "old")
    where = files if broken == "sync" else files.os
    monkeypatch.setattr(where, broken, failing(errno.EIO))
    with pytest.raises(OSError, match="Input/output"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_the_new_content_is_on_the_disk_before_it_takes_the_name(tmp_path, monkeypatch):
    path = write_atomically(tmp_path / "file", "old")
    seen = []

    def sync(beside):
        seen.append((beside.read_text(), path.read_text()))

    monkeypatch.setattr(files, "sync", sync)
    write_atomically(path, "new")
    assert seen == [("new", "old")]
    assert path.read_text() == "new"


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "the disk is full"),
        (errno.EACCES, "Choose another folder"),
        (errno.EROFS, "Choose another folder"),
    ],
)
def test_a_disk_error_is_said_in_one_line_with_its_folder(tmp_path, monkeypatch, number, said):
    monkeypatch.setattr(files, "sync", failing(number))
    with pytest.raises(EbbtideError, match=said) as caught:
        write_atomically(tmp_path / "file", "data")
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_where_a_folder_should_be_is_said_too(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(EbbtideError, match="taken"):
        write_atomically(tmp_path / "taken" / "file", "data")


def test_other_errors_pass_unchanged(tmp_path):
    with pytest.raises(ZeroDivisionError), clear_disk_errors(tmp_path):
        raise ZeroDivisionError
    with pytest.raises(EbbtideError, match="as it was"), clear_disk_errors(tmp_path):
        raise EbbtideError("as it was")
    with pytest.raises(EbbtideError, match="full"), clear_disk_errors(tmp_path):
        raise RuntimeError("I/O error: No space left on device")
