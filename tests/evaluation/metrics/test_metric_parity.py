"""The same features give the same numbers as torchmetrics and prdc."""

import numpy as np
import pytest
import torch
from prdc import compute_prdc
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.inception import InceptionScore
from torchmetrics.image.kid import KernelInceptionDistance

from draws import moments_of
from ebbtide.evaluation.metrics import ClassShares, frechet, kernel_distance, precision_recall

WIDTH = 12


class Given(nn.Module):
    """A network of features whose images are the features."""

    num_features = WIDTH

    def forward(self, images):
        return images


def sets(count=150, seed=0):
    random = np.random.default_rng(seed)
    root = random.normal(size=(WIDTH, WIDTH)) / WIDTH**0.5
    return random.normal(size=(count, WIDTH)), random.normal(size=(count, WIDTH)) @ root + 0.3


def theirs(metric, real, made):
    metric.update(torch.from_numpy(real), real=True)
    metric.update(torch.from_numpy(made), real=False)
    return metric.compute()


@pytest.mark.parametrize("count", [150, 8], ids=["many rows", "fewer rows than features"])
def test_frechet(count):
    real, made = sets(count)
    expected = float(theirs(FrechetInceptionDistance(Given()), real, made))
    assert frechet(moments_of(real), moments_of(made)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.filterwarnings("ignore:Metric")
def test_kernel_distance():
    real, made = sets()
    metric = KernelInceptionDistance(Given(), subsets=1, subset_size=len(real))
    assert kernel_distance(real, made).value == pytest.approx(float(theirs(metric, real, made)[0]), rel=1e-6)


@pytest.mark.filterwarnings("ignore:Metric", "ignore:std")
def test_inception_score():
    """Theirs takes logits."""
    logits = torch.from_numpy(2 * sets()[1])
    metric = InceptionScore(Given(), splits=1)
    metric.update(logits)
    shares = ClassShares(WIDTH)
    shares.add(logits.softmax(1).numpy())
    assert shares.score().value == pytest.approx(float(metric.compute()[0]), rel=1e-6)


@pytest.mark.parametrize("neighbours", [1, 3, 5])
def test_precision_and_recall(neighbours):
    real, made = sets()
    expected = compute_prdc(real, made[:100], neighbours)
    found = precision_recall(real, made[:100], neighbours)
    assert found.precision.value == pytest.approx(expected["precision"], rel=1e-9)
    assert found.recall.value == pytest.approx(expected["recall"], rel=1e-9)
    assert 0 < found.precision.value < 1
    assert 0 < found.recall.value < 1
