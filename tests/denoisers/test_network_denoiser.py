"""A network is a denoiser: read in the kind it predicts, told float time and never nothing of the condition."""

import pytest
import torch

from ebbtide.conditions import Condition
from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers import GaussianDenoiser, GaussianOracle, NetworkDenoiser, VarianceDenoiser
from ebbtide.errors import EbbtideError
from ebbtide.levels import KINDS, STEP_KINDS
from parts import COSINE, SCHEDULES, noise

CORRUPTION = GaussianCorruption(COSINE)
ORACLE = GaussianOracle(torch.ones(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64) / 2, CORRUPTION)
T = torch.tensor([0.02, 0.5, 1.0], dtype=torch.float64)


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_that_gives_the_oracles_answer_is_the_oracle(kind):
    denoiser = NetworkDenoiser(lambda x, t, condition: ORACLE(x, t).as_(kind), CORRUPTION, kind)
    xt = noise(3, 2)
    assert isinstance(denoiser, GaussianDenoiser)
    for other in KINDS:
        assert torch.allclose(denoiser(xt, T).as_(other), ORACLE(xt, T).as_(other), rtol=1e-9, atol=1e-10)


def test_the_network_sees_xt_and_time_in_its_own_type_and_an_empty_condition():
    seen = []

    def network(x, t, condition):
        seen.append((x, t, condition))
        return x

    denoiser = NetworkDenoiser(network, CORRUPTION)
    xt = noise(3, 2, dtype=torch.float32)
    label = torch.tensor([1, 2, -1])
    denoiser(xt, T)
    denoiser(xt, T, Condition(label=label))
    assert seen[0][0] is xt
    assert torch.equal(seen[0][1], T.float())
    assert seen[0][2] == Condition()
    assert seen[1][2].label is label


def test_a_network_in_lower_precision_does_not_lower_that_of_the_estimate():
    answer = noise(3, 2, dtype=torch.float32).bfloat16()
    xt = noise(3, 2, seed=1, dtype=torch.float32)
    estimate = NetworkDenoiser(lambda x, t, condition: answer, CORRUPTION, "v")(xt, T)
    level = CORRUPTION.level(T)
    alpha, sigma = level.alpha.float()[:, None], level.sigma.float()[:, None]
    assert {estimate.as_(kind).dtype for kind in KINDS} == {torch.float32}
    assert torch.allclose(estimate.x0, alpha * xt - sigma * answer.float(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", STEP_KINDS)
def test_on_a_table_a_network_may_answer_with_what_a_step_is_about(kind):
    corruption = GaussianCorruption(SCHEDULES["list"])
    oracle = GaussianOracle(ORACLE.mean, ORACLE.matrix, corruption)
    denoiser = NetworkDenoiser(lambda x, t, condition: oracle(x, t).as_(corruption.pair(kind, t)), corruption, kind)
    xt, times = noise(3, 2), torch.tensor([1, 4, 8], dtype=torch.float64) / 8
    for t in (times, times[1].expand(3)):
        for other in KINDS:
            assert torch.allclose(denoiser(xt, t).as_(other), oracle(xt, t).as_(other), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("event", [(2,), (3, 2, 4)])
def test_a_network_of_twice_the_channels_gives_prediction_and_share(event):
    """The first half is read as ever; the second from -1 (the posterior's variance) to 1 (the step's)."""
    half, raw = noise(3, *event, seed=1), noise(3, *event, seed=2)
    xt = noise(3, *event)
    estimate = VarianceDenoiser(lambda x, t, condition: torch.cat([half, raw], 1), CORRUPTION, "v")(xt, T)
    plain = NetworkDenoiser(lambda x, t, condition: half, CORRUPTION, "v")(xt, T)
    for kind in KINDS:
        assert torch.equal(estimate.as_(kind), plain.as_(kind))
    assert torch.allclose(2 * estimate.share - 1, raw, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("channels", [1, 2, 3, 6])
def test_a_network_without_channels_for_the_variance_is_refused(channels):
    """Half of two channels is one, which would be spread over both without a word."""
    denoiser = VarianceDenoiser(lambda x, t, condition: noise(3, channels), CORRUPTION)
    with pytest.raises(EbbtideError, match=rf"\(3, {channels}\) came for x of shape \(3, 2\), expected \(3, 4\)"):
        denoiser(noise(3, 2), T)
