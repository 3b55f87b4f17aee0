"""One training a run: who holds it is named, and what a killed process left is taken over."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from ebbtide.errors import EbbtideError
from ebbtide.recipes import lock
from ebbtide.recipes.lock import FILE, Owner, check_free, training_lock

HOLD = """
import os, sys
from pathlib import Path
from ebbtide.recipes.lock import training_lock
with training_lock(Path(sys.argv[1])):
    print(os.getpid(), flush=True)
    sys.stdin.read()
"""
SOURCE = Path(lock.__file__).parents[2]


@contextmanager
def holder(folder):
    """Another process that holds the folder until the block ends, or it is killed."""
    words = [sys.executable, "-c", HOLD, str(folder)]
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert int(process.stdout.readline()) == process.pid
        yield process
        process.stdin.close()


def left(folder, owner):
    """A lock that somebody left behind."""
    folder.mkdir(exist_ok=True)
    (folder / FILE).write_text(json.dumps(asdict(owner)))


def taken_over(folder):
    with training_lock(folder) as owner:
        pass
    return owner


@pytest.fixture(params=["flock", "no flock"])
def kernel(request, monkeypatch):
    """With the kernel's locks, and on a file system that has none."""
    if request.param == "no flock":

        def unknown(handle, how):
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr(fcntl, "flock", unknown)
    return request.param


def test_one_process_holds_it_and_what_it_left_when_killed_is_taken_over(tmp_path, kernel):
    with holder(tmp_path / "run") as process:
        for enter in (check_free, taken_over):
            with pytest.raises(EbbtideError) as raised:
                enter(tmp_path / "run")
            assert f"is being trained by process {process.pid} on {platform.node()} since" in str(raised.value)
        process.send_signal(signal.SIGKILL)
        process.wait()
        check_free(tmp_path / "run")
        assert taken_over(tmp_path / "run").pid == process.pid
    assert taken_over(tmp_path / "run") is None
    assert list((tmp_path / "run").iterdir()) == []


def test_in_one_process_too(tmp_path, kernel):
    with training_lock(tmp_path), pytest.raises(EbbtideError, match=f"process {os.getpid()} on"):
        taken_over(tmp_path)
    assert taken_over(tmp_path) is None


def test_another_process_of_the_same_number_is_not_taken_for_the_owner(tmp_path, kernel):
    earlier = replace(Owner.this(), born=Owner.this().born - 3600)
    left(tmp_path, earlier)
    assert taken_over(tmp_path) == earlier


@pytest.mark.parametrize("boot", ["another-kernel", ""])
def test_what_cannot_be_seen_from_here_is_left_to_the_user(tmp_path, kernel, boot):
    left(tmp_path, replace(Owner.this(), host="far-away", boot=boot))
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(EbbtideError) as raised:
        taken_over(tmp_path)
    assert f"process {os.getpid()} on far-away" in str(raised.value)
    assert f"delete {tmp_path / FILE}" in str(raised.value)
    assert (tmp_path / FILE).read_bytes() == before


def test_another_name_for_this_machine_is_no_other_machine(tmp_path):
    """A container that was started anew: the kernel it shares would still hold the lock."""
    container = replace(Owner.this(), host="c0ffee", pid=7)
    left(tmp_path, container)
    assert taken_over(tmp_path) == container


def test_a_lock_that_cannot_be_read_is_no_owner(tmp_path, kernel):
    for content in (b"", b"\xff{", b"[1]", b'{"pid": 1}', b'{"pid":"x","host":1,"born":[],"boot":2,"since":3}'):
        (tmp_path / FILE).write_bytes(content)
        assert taken_over(tmp_path) is None


def test_it_waits_for_no_file_that_its_owner_was_deleting(tmp_path, monkeypatch):
    """The owner lets go between our opening of the file and our locking of it: another file is the lock then."""
    real, first = fcntl.flock, training_lock(tmp_path)
    first.__enter__()

    def letting_go(handle, how):
        nonlocal first
        if first is not None:
            ended, first = first, None
            ended.__exit__(None, None, None)
        return real(handle, how)

    monkeypatch.setattr(fcntl, "flock", letting_go)
    with training_lock(tmp_path):
        assert (tmp_path / FILE).is_file()
        with pytest.raises(EbbtideError, match="is being trained"):
            check_free(tmp_path)
