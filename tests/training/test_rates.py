"""The learning rate rises, stays and falls to zero; progress goes by whichever budget is nearer its end."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebbtide.errors import EbbtideError
from ebbtide.training import FitSettings
from ebbtide.training.rates import rate_factor

SHARES = st.floats(0, 1)


@pytest.mark.parametrize("warmup", [0, 1, 7])
def test_it_rises_in_equal_steps_to_the_peak(warmup):
    factors = [rate_factor(step, 0.0, warmup=warmup, decay=0.5) for step in range(warmup + 3)]
    rises = [later - before for before, later in zip(factors, factors[1 : warmup + 1], strict=False)]
    assert rises == pytest.approx([factors[0]] * warmup)
    assert factors[warmup:] == [1.0] * 3


@given(SHARES)
def test_it_is_flat_until_the_decay_begins(progress):
    assert rate_factor(100, 0.7 * progress, warmup=10, decay=0.3) == 1.0


@given(SHARES, st.floats(0.01, 1))
def test_it_falls_along_a_half_cosine(share, decay):
    """f = (1 + cos(pi u)) / 2 over the last `decay` of the run."""
    factor = rate_factor(100, 1 - decay + decay * share, warmup=0, decay=decay)
    assert factor == pytest.approx((1 + math.cos(math.pi * share)) / 2, abs=1e-9)


@pytest.mark.parametrize("decay", [0.01, 0.5, 1.0])
def test_it_ends_at_zero(decay):
    assert rate_factor(10_000, 1.0, warmup=50, decay=decay) == 0.0


def test_without_decay_it_stays_at_the_peak_to_the_end():
    assert rate_factor(10_000, 1.0, warmup=50, decay=0.0) == 1.0


@given(st.integers(0, 60), SHARES)
def test_a_run_that_ends_within_its_warm_up_does_both(step, progress):
    rise, fall = (rate_factor(*at, warmup=50, decay=0.5) for at in ((step, 0.0), (1000, progress)))
    assert rate_factor(step, progress, warmup=50, decay=0.5) == pytest.approx(rise * fall)


@pytest.mark.parametrize("decay", [-0.1, 1.1, math.nan])
def test_a_decay_that_is_no_share_is_refused(decay):
    with pytest.raises(EbbtideError, match="decay"):
        rate_factor(0, 0.0, warmup=0, decay=decay)


@given(st.integers(0, 300), st.floats(0, 200))
def test_progress_is_that_of_the_budget_nearer_its_end(step, seconds):
    both = FitSettings(updates=200, seconds=60.0).progress(step, seconds)
    alone = FitSettings(updates=200).progress(step, seconds), FitSettings(seconds=60.0).progress(step, seconds)
    assert both == max(alone)
    assert both == min(1.0, max(step / 200, seconds / 60))


def test_without_a_budget_training_never_ends():
    assert FitSettings().progress(10**9, 1e9) == 0.0
