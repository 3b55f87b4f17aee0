"""Shapes and types are checked at run time in every test: jaxtyping's annotations, enforced by beartype.

One thread each, here and in the programs that tests start: networks in tests are so small that threads cost more than
they bring, and workers side by side would get in each other's way. What ebbtide keeps for later runs, and the runs that
several tests share (`trials`), go to a folder of the session's own, which pytest-xdist's workers are born with.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # read by torch as it is imported

if "PYTEST_XDIST_WORKER" not in os.environ:
    os.environ["EBBTIDE_TRIALS"] = tempfile.mkdtemp(prefix="ebbtide-")
    os.environ["EBBTIDE_CACHE"] = str(Path(os.environ["EBBTIDE_TRIALS"]) / "cache")
    atexit.register(shutil.rmtree, os.environ["EBBTIDE_TRIALS"], ignore_errors=True)

import hypothesis
import jaxtyping
import pytest
from jaxtyping import install_import_hook

install_import_hook("ebbtide", "typecheck.checker")

hypothesis.settings.register_profile("any machine", deadline=None)  # a busy one is no failure
hypothesis.settings.load_profile("any machine")


@pytest.fixture
def unchecked(monkeypatch):
    """Calls without their checks of shapes and types, which all other tests make: for thousands of steps, so five times
    as fast."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
