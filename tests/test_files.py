"""A file is the old one or the new one, never a half; disk errors say what to do."""

import errno
import os

import pytest

from ebbtide import files
from ebbtide.errors import EbbtideError
from ebbtide.files import LIST, clear_disk_errors, own_files, remove_own, start_list, write_atomically


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


def test_what_is_listed_is_ours_as_long_as_it_is_as_we_wrote_it(tmp_path):
    (tmp_path / "before.png").write_bytes(b"theirs")
    start_list(tmp_path)
    for name in ("kept.png", "changed.png", "gone.png"):
        write_atomically(tmp_path / name, name)
    write_atomically(tmp_path / "kept.png", "again")
    (tmp_path / "changed.png").write_text("otherwise")
    (tmp_path / "gone.png").unlink()
    (tmp_path / "after.png").write_bytes(b"theirs")
    assert own_files(tmp_path) == {"kept.png"}
    for name in ("before.png", "changed.png", "after.png"):
        before = (tmp_path / name).read_bytes()
        with pytest.raises(EbbtideError, match="is no file that ebbtide wrote"):
            write_atomically(tmp_path / name, "ours")
        assert (tmp_path / name).read_bytes() == before
    remove_own(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["after.png", "before.png", "changed.png"]


def test_killed_between_line_and_file_or_within_a_line_all_of_ours_is_known(tmp_path, monkeypatch):
    """The line comes first: whatever is there as a file of ours has one."""
    start_list(tmp_path)
    write_atomically(tmp_path / "first.png", b"1")

    def killed(*paths):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            write_atomically(tmp_path / "second.png", b"2")
    assert own_files(tmp_path) == {"first.png"}
    write_atomically(tmp_path / "second.png", b"2")
    (tmp_path / LIST).write_bytes((tmp_path / LIST).read_bytes() + b"0123456789abcdef")
    write_atomically(tmp_path / "third.png", b"3")
    assert own_files(tmp_path) == {"first.png", "second.png", "third.png"}


def test_a_list_that_was_made_up_reaches_no_other_folder(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    start_list(out)
    write_atomically(out / "mine.png", b"1")
    (tmp_path / "mine.png").write_bytes(b"1")
    line = (out / LIST).read_text()
    (out / LIST).write_text(line.replace("mine.png", "../mine.png") + "\nno line\n\n\xff\n", errors="replace")
    remove_own(out)
    assert (tmp_path / "mine.png").is_file()
    assert (out / "mine.png").is_file()
