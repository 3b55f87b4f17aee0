"""Wrong input gets one clear line where types are not checked at run time, and empty batches come out empty."""

import jaxtyping
import pytest
import torch

from ebbtide.errors import EbbtideError
from ebbtide.samplers import final, sample, sampler
from parts import seeded

SETUP = """
import torch
from ebbtide.conditions import Condition
from ebbtide.corruptions import CoinFlips, ColdCorruption, GaussianCorruption, PixelByPixel
from ebbtide.data.dataset import ValueRange
from ebbtide.degradations import Fade
from ebbtide.denoisers import FiniteOracle, GaussianOracle, MixtureOracle, NetworkDenoiser, VarianceDenoiser
from ebbtide.denoisers.restoring import PreviousDenoiser, RestoringDenoiser
from ebbtide.gaussian import Full
from ebbtide.likelihood.bound import bounds
from ebbtide.likelihood.ode import log_prob_by_ode
from ebbtide.likelihood.pixels import TrainedPixels
from ebbtide.networks import Mlp
from ebbtide.objectives import *
from ebbtide.objectives.classes import LabelObjective, TurnObjective
from ebbtide.randomness import SampleGenerators
from ebbtide.schedules import CosineSchedule, linear_schedule

free, table = GaussianCorruption(CosineSchedule()), GaussianCorruption(linear_schedule(10))
cold = ColdCorruption(degradation=Fade(), low=-1, high=1)
flips = CoinFlips(low=-1, high=1, shape=(1, 4, 4), steps=5, share=0.1)
pixels = PixelByPixel(low=-1, high=1, shape=(1, 4, 4))
generator, nobody = torch.Generator(), SampleGenerators.of(0, [])
x, t = torch.zeros(2, 1, 4, 4), torch.full((2,), 0.5, dtype=torch.float64)
none, never = x[:0], t[:0]

eye, points = torch.eye(16, dtype=torch.float64), torch.randn(3, 1, 4, 4, dtype=torch.float64)
gaussian = GaussianOracle(torch.zeros(16, dtype=torch.float64), eye, free)
mixture = MixtureOracle(torch.ones(1, dtype=torch.float64), (gaussian,))
finite = FiniteOracle(points, free)
mlp = Mlp(2, width=8, depth=1, classes=10)
flat = lambda x, t, condition: x.mean(1)
same = lambda x, t, condition: x
twice = lambda x, t, condition: torch.cat([x, x], 1)


def loss(objective, network, x=x, **condition):
    return objective(network, x, Condition(**condition), generator).values


def told(label):
    return mlp(torch.zeros(2, 2), t.float(), Condition(label=label))
"""
SHAPES = r"answer of shape .*\(2, 4, 4\) came for x of shape \(2, 1, 4, 4\)"
CORRUPTIONS = ("free", "table", "cold", "flips", "pixels")
WRONG = {
    **{f"{one}.corrupt(x.long(), t, generator)": "type int64 came.*floating point" for one in CORRUPTIONS},
    **{f"{one}.corrupt(x, 0.5, generator)": r"t = 0.5 came, expected a tensor" for one in CORRUPTIONS},
    **{f"{one}.corrupt(x, t[:1], generator)": r"t of shape \(1,\) came for 2 examples" for one in CORRUPTIONS},
    **{f"{one}.corrupt(x, 3 * t, generator)": "t = 1.5 came, expected times from 0" for one in CORRUPTIONS},
    **{f"{one}.corrupt(None, t, generator)": "data of type NoneType came" for one in CORRUPTIONS},
    "free.level(0.5)": "t = 0.5 came, expected a tensor",
    **{f"{one}(x.long(), t)": "type int64 came.*floating point" for one in ("gaussian", "mixture", "finite")},
    **{f"{one}(x[:, :, :1], t)": "events of 4 numbers came to an oracle for 16" for one in ("gaussian", "finite")},
    "NetworkDenoiser(same, free)(x, 0.5)": "t = 0.5 came, expected a tensor",
    "NetworkDenoiser(same, free)(x.long(), t)": "type int64 came",
    # an answer of another shape, however the network is read and trained
    "NetworkDenoiser(flat, free)(x, t)": SHAPES,
    "NetworkDenoiser(lambda *given: x[:1], free)(x, t)": r"answer of shape \(1, 1, 4, 4\) came",
    "NetworkDenoiser(lambda *given: (x,), free)(x, t)": "answer of type tuple came",
    "VarianceDenoiser(same, table)(x, t)": r"\(2, 1, 4, 4\), expected \(2, 2, 4, 4\).*variance is learned",
    "RestoringDenoiser(flat, cold)(x, t)": SHAPES,
    "PreviousDenoiser(flat, flips)(x, t)": SHAPES,
    "loss(DenoisingObjective(corruption=free), flat)": SHAPES,
    "loss(StepObjective(corruption=table), flat)": SHAPES,
    "loss(VarianceObjective(corruption=table), flat)": SHAPES,
    "loss(RestoringObjective(corruption=cold), flat)": SHAPES,
    "loss(PreviousObjective(corruption=flips), flat)": SHAPES,
    "loss(LabelObjective(), lambda x: x.sum(), label=torch.tensor([0, 1]))": r"classifier's answer of shape \(\)",
    "loss(TurnObjective(), lambda x: x.flatten(1))": "classifier of 16 classes",
    "TrainedPixels(ValueRange(low=-1, high=1), lambda *given: x)(finite(x, t), x - 1)": "log-probabilities of 256",
    # labels
    "told(torch.tensor([3, 99]))": "label of 99 came, expected a class from 0 to 9",
    "told(torch.tensor([-2, 3]))": "label of -2 came",
    "told(torch.tensor([3]))": r"labels of shape \(1,\) and type int64 came for 2 examples",
    "told(torch.tensor([3.0, 1.0]))": "type float32 came for 2 examples, expected one whole number",
    "loss(LabelObjective(), lambda x: x.flatten(1), label=torch.tensor([0, 16]))": "label of 16 came",
    # no examples, where a mean is taken of them or a way is walked
    "log_prob_by_ode(gaussian, none.double(), first=0.1)": "one example or more",
    "next(bounds(gaussian, None, none, None))": "one example or more",
    "gradient_moments(DenoisingObjective(corruption=free), mlp, none, None, t, generator)": "one example or more",
    # what is no covariance
    "MixtureOracle.spherical(torch.ones(2) / 2, torch.zeros(3, 16), 1.0, free)": "one weight for each",
    "Full(torch.ones(2, 3))": "expected a square matrix",
    "GaussianOracle(torch.zeros(3), torch.eye(2), free)": r"mean of shape \(3,\) and a covariance of \(2, 2\)",
}
EMPTY = [
    *(f"{one}.corrupt(none, never, {g}).xt" for one in CORRUPTIONS for g in ("generator", "nobody")),
    *(
        f"{one}.prior((0, 1, 4, 4), {g})"
        for one in ("free", "table", "flips", "pixels")
        for g in ("generator", "nobody")
    ),
    *(f"{one}(none, never).x0" for one in ("gaussian", "mixture", "finite")),
    *(f"{one}.covariance(none, never)" for one in ("gaussian", "mixture", "finite")),
    *(f"{one}.log_prob(none, t[0])" for one in ("gaussian", "mixture", "finite")),
    "NetworkDenoiser(same, free)(none, never).x0",
    "mlp(torch.zeros(0, 2), never.float(), Condition(label=torch.zeros(0).long()))",
    "loss(DenoisingObjective(corruption=free), same, none)",
    "loss(DenoisingObjective(corruption=table, weight=BoundWeight()), same, none)",
    "loss(DenoisingObjective(corruption=free, measured='x0', weight=MinSnr()), same, none)",
    "loss(StepObjective(corruption=table), same, none)",
    "loss(VarianceObjective(corruption=table), twice, none)",
    "loss(RestoringObjective(corruption=cold), same, none)",
    "loss(PreviousObjective(corruption=flips), same, none)",
]


@pytest.fixture(scope="module")
def names():
    """Calls without their checks of shapes and types, as a user's are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jaxtyping.config, "jaxtyping_disable", True)
        found = {}
        exec(SETUP, found)
        yield found


@pytest.mark.parametrize("code", WRONG)
def test_wrong_input_is_refused_in_one_line(names, code):
    with pytest.raises(EbbtideError, match=WRONG[code]) as refused:
        eval(code, names)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("code", EMPTY)
def test_of_nothing_comes_nothing(names, code):
    assert eval(code, names).shape[0] == 0


@pytest.mark.parametrize("name", ["__repr__", "__format__"])
def test_for_right_input_no_tensor_is_printed_into_a_message(names, monkeypatch, name):
    """It would cost more than the check, and on a GPU wait for it."""
    monkeypatch.setattr(torch.Tensor, name, lambda *given: pytest.fail("a tensor was printed"))
    for objective in ("DenoisingObjective(corruption=free)", "PreviousObjective(corruption=flips)"):
        eval(f"loss({objective}, same)", names)
    eval("told(torch.tensor([3, 9]))", names)
    for step in ("ddim", "sde-dpm2m"):
        final(sample(names["finite"], sampler(step), torch.linspace(1, 0, 4).double(), names["x"].double(), seeded(0)))
