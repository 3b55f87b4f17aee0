"""Every option that is a word refuses a typo, also where types are not checked at run time."""

import subprocess
import sys

import pytest

SETUP = """
import torch
from ebbtide.conditions import Condition
from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers import GaussianEstimate, NetworkDenoiser, decode
from ebbtide.levels import Level
from ebbtide.likelihood.ode import log_prob_by_ode
from ebbtide.likelihood.terms import step_term
from ebbtide.objectives import BoundWeight, DenoisingObjective, StepObjective
from ebbtide.samplers import Ancestral
from ebbtide.schedules import CosineSchedule, FunctionSchedule

corruption = GaussianCorruption(CosineSchedule())
level = Level.of_log_snr(torch.zeros(2, dtype=torch.float64))
x, t = torch.ones(2, 3), torch.full((2,), 0.5, dtype=torch.float64)
denoiser = NetworkDenoiser(lambda x, t, condition: x, corruption)


def loss(**kinds):
    network, generator = lambda x, t, condition: x, torch.Generator()
    return DenoisingObjective(corruption=corruption, **kinds)(network, x, Condition(), generator)
"""
TYPOS = [
    "level.pair('noise')",
    "level.det('epsilon')",
    "corruption.pair('image', t)",
    "GaussianEstimate(x, level, 'eps', x).as_('x_0')",
    "NetworkDenoiser(lambda x, t, condition: x, corruption, 'epsilon')(x, t).x0",
    "loss(predicts='noise')",
    "loss(measured='noise')",
    "DenoisingObjective(corruption=corruption, predicts='noise')",
    "DenoisingObjective(corruption=corruption, measured='noise')",
    "Ancestral(variance='beta')",
    "decode(denoiser(x, t), corruption.level(t - 0.1), corruption.level(t), 'beta')",
    "step_term(denoiser, x, x, t - 0.1, t, 'beta')",
    "log_prob_by_ode(denoiser, x, first=0.5, trace='hutch')",
    "StepObjective(corruption=corruption, predicts='eps')",
    "BoundWeight(variance='beta')",
    "FunctionSchedule(lambda t: -t, of='snr')",
]
RUN = """
for typo in {typos!r}:
    try:
        eval(typo)
    except ValueError as error:
        print('refused', error)
    else:
        print('taken', typo)
"""


@pytest.fixture(scope="module")
def answers():
    script = SETUP + RUN.format(typos=TYPOS)
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return run.stdout.splitlines()


@pytest.mark.parametrize("typo", TYPOS)
def test_a_typo_is_refused_with_what_was_expected(answers, typo):
    answer = answers[TYPOS.index(typo)]
    assert answer.startswith("refused")
    assert "expected" in answer
