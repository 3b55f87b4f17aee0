"""What several tests of samplers share."""

import jaxtyping
import pytest


@pytest.fixture
def unchecked(monkeypatch):
    """Calls without their checks of shapes and types, which all other tests make: for thousands of steps, so five times
    as fast."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
