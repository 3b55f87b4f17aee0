"""What is said of samples with one fault each, and of samples that are as the data."""

import re

import pytest
import scipy.fft
import torch

from ebbtide.doctor.samples import CHANGE, check_more_steps, check_samples, pick
from parts import noise


def pictures(count, channels=3, size=16, seed=0):
    """Photos of a kind: slow waves that are large, fast ones that are small, and noise of a camera."""
    wave = torch.arange(size, dtype=torch.float64)
    size_of = 1 / (1 + wave[:, None] + wave)
    told = size_of * noise(count, channels, size, size, seed=seed)
    return torch.from_numpy(scipy.fft.idctn(told.numpy(), norm="ortho", axes=(2, 3))).float() * 4


DATA = pictures(200, seed=1)
GOOD = pictures(150, seed=2)


def found(samples, data=DATA):
    return {finding.check: finding for finding in check_samples(samples, data)}


def only(findings, check, verdict="wrong"):
    """This check says so, and all others are fine."""
    one = findings.pop(check)
    assert one.verdict == verdict, one
    assert {other.verdict for other in findings.values()} <= {"fine"}, findings
    return one.text


@pytest.mark.parametrize(
    ("samples", "data"),
    [(GOOD, DATA), (GOOD[:, :1], DATA[:, :1]), (noise(100, 2, seed=1), noise(120, 2, seed=2)), (DATA, DATA)],
    ids=["colour", "grey", "points", "the data"],
)
def test_samples_that_are_as_the_data_are_fine(samples, data):
    assert {finding.verdict for finding in found(samples, data).values()} == {"fine"}
    assert ("sampling: noise" in found(samples, data)) == (data.ndim == 4)


@pytest.mark.parametrize("shift", [-0.8, 0.8])
@pytest.mark.parametrize(("channel", "name"), list(enumerate(["red", "green", "blue"])))
def test_a_channel_that_is_off_is_named_with_how_much(channel, name, shift):
    samples = GOOD.clone()
    deviation = float(DATA.std())
    samples[:, channel] += shift * deviation
    text = only(found(samples), "sampling: brightness")
    off = (samples[:, channel].mean() - DATA[:, channel].mean()) / deviation
    assert f"{name} of samples is off by {float(off):+.2f}" in text


def test_points_and_grey_pictures_may_be_off_too():
    assert "the mean value" in only(found(GOOD[:, :1] + 1.5, DATA[:, :1]), "sampling: brightness")
    points = noise(100, 2, seed=1) + torch.tensor([0.0, 2.0])
    only(found(points, noise(120, 2, seed=2)), "sampling: brightness")


@pytest.mark.parametrize("part", [0.05, 0.08, 0.12])
def test_noise_that_is_left_is_found_with_its_size(part):
    whole = float(DATA.max() - DATA.min())
    samples = GOOD + part * whole * noise(*GOOD.shape, seed=3).float()
    text = only(found(samples), "sampling: noise")
    (size,) = re.findall(r"standard deviation ([\d.]+) of", text)
    assert float(size) == pytest.approx(part, rel=0.1)


def test_samples_without_fine_waves_are_noted():
    assert only(found(torch.nn.functional.avg_pool2d(GOOD, 3, 1, 1)), "sampling: noise", "note")


def test_samples_that_are_all_alike_are_wrong():
    samples = DATA.mean(0) + 0.1 * GOOD
    assert found(samples)["sampling: variety"].verdict == "wrong"
    assert "all alike" in found(GOOD[:1].expand(50, -1, -1, -1))["sampling: variety"].text


def test_samples_far_from_the_data_are_wrong():
    far = 3 * GOOD
    finding = found(far)["sampling: variety"]
    assert finding.verdict == "wrong"
    one, other = (float(torch.pdist(x.flatten(1).double()).square().mean().sqrt()) for x in (far, DATA))
    assert f"{one / other:.2f} times as far apart" in finding.text


@pytest.mark.parametrize("bad", [float("nan"), float("-inf")])
def test_samples_that_are_no_numbers_are_counted_and_nothing_else_is_said(bad):
    samples = GOOD.clone()
    samples[[3, 7], 1, 2, 3] = bad
    ((check, finding),) = found(samples).items()
    assert (check, finding.verdict, finding.cause) == ("sampling: finite", "wrong", "samples that are not finite")
    assert finding.text.startswith("2 of 150")


def test_of_data_that_are_all_the_same_samples_should_be_too():
    dot = torch.full((40, 1, 3, 3), -1.0)
    dot[:, :, 1, 1] = 1
    assert {finding.verdict for finding in found(dot, dot).values()} == {"fine"}
    assert {finding.verdict for finding in found(dot + 0.02 * noise(*dot.shape), dot).values()} == {"fine"}
    only(found(dot + 0.5 * noise(*dot.shape), dot), "sampling: variety")


def test_pictures_without_any_contrast_are_looked_at_without_an_error():
    black = torch.zeros(20, 1, 8, 8)
    assert found(black, black)["sampling: variety"].verdict == "fine"
    assert found(black + noise(*black.shape), black)["sampling: variety"].verdict == "wrong"


@pytest.mark.parametrize(("change", "verdict"), [(0.0, "fine"), (0.8 * CHANGE, "fine"), (1.2 * CHANGE, "note")])
def test_what_more_steps_change_is_told_in_deviations_of_the_data(change, verdict):
    many = GOOD + change * DATA.std() * noise(*GOOD.shape, seed=4).sign().float()
    finding = check_more_steps(GOOD, many, DATA, 25)
    assert finding.verdict == verdict
    assert f"with 50 steps instead of 25 samples change by {change:.2f}" in finding.text


@pytest.mark.parametrize(("total", "count"), [(10, 4), (10, 10), (3, 8), (1000, 16)])
def test_those_that_are_picked_are_spread_from_the_first_to_the_last(total, count):
    picked = pick(torch.arange(total), count)
    assert len(picked.unique()) == min(total, count)
    assert picked[[0, -1]].tolist() == [0, total - 1]
    assert picked.diff().max() - picked.diff().min() <= 1
