"""What a squared error of x0 counts in a loss, number by number, whatever is predicted, measured and weighed."""

import pytest
import torch

from ebbtide.corruptions import GaussianCorruption
from ebbtide.levels import KINDS, STEP_KINDS, Pair, convert
from ebbtide.objectives import BoundWeight, DenoisingObjective, MinSnr
from ebbtide.schedules import linear_schedule
from parts import COSINE, noise, times_of

COUNT = 12
X0, EPS, PREDICTION = (noise(COUNT, 2, 3, seed=seed) for seed in (1, 2, 3))
CORRUPTIONS = {"cosine": GaussianCorruption(COSINE), "linear": GaussianCorruption(linear_schedule(60))}
WEIGHTS = {"none": None, "min-snr": MinSnr(), "bound": BoundWeight(), "posterior": BoundWeight("posterior")}


def check(corruption, predicts, measured=None, weight=None):
    t = times_of(corruption.schedule, COUNT)[:-1]
    x0, eps, prediction = X0[:-1], EPS[:-1], PREDICTION[:-1]
    level = corruption.level(t)
    objective = DenoisingObjective(corruption=corruption, predicts=predicts, measured=measured, weight=weight)
    estimate = convert(prediction, corruption.pair(predicts, t), "x0", level.mix(x0, eps), level)
    of_x0 = (estimate - x0).square().mean((1, 2))
    loss = objective.error(prediction, x0, eps, t)
    assert torch.allclose(objective.per_x0(t) * of_x0, loss, rtol=1e-7)


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("measured", [None, *KINDS])
@pytest.mark.parametrize("predicts", KINDS)
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_loss_is_the_error_of_x0_times_what_it_counts(name, predicts, measured, weight):
    check(CORRUPTIONS[name], predicts, measured, WEIGHTS[weight])


@pytest.mark.parametrize("measured", [None, "x0", *STEP_KINDS])
@pytest.mark.parametrize("predicts", ["eps", *STEP_KINDS])
def test_it_is_of_steps_too(predicts, measured):
    check(CORRUPTIONS["linear"], predicts, measured)


@pytest.mark.parametrize("as_predicted", [True, False])
def test_it_is_of_any_two_numbers_too(as_predicted):
    pair = Pair(torch.tensor(0.3, dtype=torch.float64), torch.tensor(-2.0, dtype=torch.float64))
    check(CORRUPTIONS["cosine"], pair if as_predicted else "v", None if as_predicted else pair)
