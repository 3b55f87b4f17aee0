"""Setting up: each target of the Makefile installs what it needs, once, and takes up what was interrupted.

The interpreter is a script that writes down what it is asked and makes a .venv of more such scripts.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")

# `-m venv [--clear] .venv`; the file `broken` stands for a pip that no venv has mended.
PYTHON = """#!/bin/sh
echo "$*" >> calls
[ "$3" != --clear ] || rm -rf .venv broken
mkdir -p .venv/bin
cp interpreter .venv/bin/python
printf '#!/bin/sh\\necho ebbtide $1 >> calls\\n' > .venv/bin/ebbtide
chmod +x .venv/bin/ebbtide
"""
# `-m pip ... install ...`; the file `full` stands for anything that ends an installation.
INTERPRETER = """#!/bin/sh
case "$*" in *--dry-run*) [ ! -e broken ]; exit;; esac
echo "install ${*##* --editable }" >> calls
[ ! -e full ]
"""
CORE, DEV, VENV = "install .", "install .[dev]", "-m venv .venv"
DEMO = ["ebbtide train", "ebbtide sample", "ebbtide restore", "ebbtide report"]


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A folder with what make looks at."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    for name, text in (("python", PYTHON), ("interpreter", INTERPRETER)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make(target, works=True):
    """What was called for it."""
    Path("calls").write_text("")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(["make", target, "PYTHON=./python"], env=environment, capture_output=True, text=True)
    assert (done.returncode == 0) == works, done.stderr
    return Path("calls").read_text().splitlines()


def test_the_demo_installs_the_library_alone_and_the_rest_is_added_to_it(clone):
    assert make("demo") == [VENV, CORE, *DEMO]
    assert make("demo") == DEMO
    assert make("setup") == [DEV]
    assert make("setup") == []
    assert make("demo") == DEMO


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_what_changed_is_installed_again(clone, name):
    make("setup")
    later = (clone / ".venv/dev").stat().st_mtime + 1
    os.utime(clone / name, (later, later))
    assert make("setup") == [CORE, DEV]


def test_an_installation_that_was_interrupted_is_taken_up_again(clone):
    (clone / "full").touch()
    assert make("setup", works=False) == [VENV, CORE]
    assert make("setup", works=False) == [CORE]
    (clone / "full").unlink()
    assert make(".venv/core") == [CORE]
    (clone / "full").touch()
    assert make("setup", works=False) == [DEV]
    (clone / "full").unlink()
    assert make("setup") == [DEV]


def test_a_venv_that_is_half_made_is_made_whole_and_emptied_only_where_that_does_not_help(clone):
    (clone / ".venv/bin").mkdir(parents=True)
    (clone / ".venv/mine").touch()
    assert make("setup") == [VENV, CORE, DEV]
    assert (clone / ".venv/mine").exists()
    (clone / ".venv/core").unlink()
    (clone / "broken").touch()
    assert make("setup") == [VENV, "-m venv --clear .venv", CORE, DEV]
    assert not (clone / ".venv/mine").exists()


def test_stamps_beside_a_python_that_is_gone_say_nothing(clone):
    make("setup")
    (clone / ".venv/bin/python").unlink()
    (clone / ".venv/bin/python").symlink_to("/gone")
    (clone / "broken").touch()
    assert make("setup")[-3:] == ["-m venv --clear .venv", CORE, DEV]
