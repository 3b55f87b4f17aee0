"""A network is a denoiser: read in the kind it predicts, told float time and never nothing of the condition."""

import pytest
import torch

from ebbtide.conditions import Condition
from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers import GaussianDenoiser, GaussianOracle, NetworkDenoiser
from ebbtide.levels import KINDS
from parts import COSINE, noise

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
