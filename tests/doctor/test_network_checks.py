"""Patients with one fault each, made from ideal denoisers: the fault is found, and nothing else."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch

from ebbtide.conditions import Condition
from ebbtide.corruptions import GaussianCorruption
from ebbtide.data import load
from ebbtide.denoisers import (
    FiniteOracle,
    GaussianDenoiser,
    GaussianEstimate,
    GaussianOracle,
    MixtureOracle,
    NetworkDenoiser,
)
from ebbtide.denoisers.wiener import LinearDenoiser
from ebbtide.doctor.finding import Finding, Progress
from ebbtide.doctor.levels import result_of
from ebbtide.doctor.network import Patient, check_network, explained, measured
from ebbtide.doctor.weights import Standing
from ebbtide.schedules import (
    FunctionSchedule,
    NormalSchedule,
    SigmoidSchedule,
    discretised,
    linear_schedule,
    table,
)
from ebbtide.times import nearest
from parts import COSINE, SIGMAS, noise, seeded

CORRUPTION = GaussianCorruption(COSINE)
SHAPE, CLASSES = (3, 4, 4), 2
SIZE = math.prod(SHAPE)


def mixture(corruption=CORRUPTION, scale=1.0, shift=0.0):
    """A law of small colour pictures of two classes, red the brightest and blue the roughest."""
    colour = torch.tensor([0.6, 0.0, -0.6], dtype=torch.float64).repeat_interleave(16)
    rough = torch.tensor([0.15, 0.25, 0.45], dtype=torch.float64).repeat_interleave(16)
    components = []
    for index in range(CLASSES):
        root = noise(SIZE, 3, seed=index) * 0.3
        matrix = root @ root.mT + torch.diag(rough**2)
        mean = colour + 0.7 * noise(SIZE, seed=10 + index)
        components.append(GaussianOracle(scale * mean + shift, scale**2 * matrix, corruption))
    return MixtureOracle(torch.full((CLASSES,), 1 / CLASSES, dtype=torch.float64), tuple(components))


def examples(count, seed):
    """Some of the law, with their labels."""
    labels = torch.arange(count) % CLASSES
    draws = noise(count, SIZE, seed=seed)
    rows = []
    for label, z in zip(labels.tolist(), draws, strict=True):
        component = ORACLE.components[label]
        rows.append(component.mean + torch.linalg.cholesky(component.matrix) @ z)
    return torch.stack(rows).reshape(-1, *SHAPE).float(), Condition(label=labels)


ORACLE = mixture()
TRAIN, HELD_OUT = examples(1200, 31), examples(120, 32)
WELL = Standing(grown=1.5, share=1.0)


@dataclass
class Changed:
    """An ideal denoiser whose estimate of x0 is changed by a function of it, of what is seen, and of t."""

    change: Callable[..., torch.Tensor]
    corruption: GaussianCorruption = CORRUPTION
    ideal: GaussianDenoiser = ORACLE

    def __call__(self, xt, t, condition=None):
        x0 = self.change(self.ideal(xt, t).x0, xt, t, condition)
        return GaussianEstimate(xt, self.corruption.level(t), "x0", x0)


@dataclass
class Conditional:
    """The ideal denoiser of a class where it is told one; shift: how far off it takes labels."""

    shift: int = 0
    corruption: GaussianCorruption = CORRUPTION

    def __call__(self, xt, t, condition=None):
        x0 = ORACLE(xt, t).x0
        for label, component in enumerate(ORACLE.components):
            here = (condition.label + self.shift) % CLASSES == label
            if here.any():
                x0[here] = component(xt[here], t[here]).x0
        return GaussianEstimate(xt, self.corruption.level(t), "x0", x0)


def patient(average, network=None, *, train=TRAIN, held_out=HELD_OUT, labels=False, standing=WELL, others=None):
    """labels: the denoiser is told them. Of the examples of training some are looked at."""
    x0, condition = train
    condition = condition and condition[slice(0, 120)]
    return Patient(
        average=average,
        network=average if network is None else network,
        linear=LinearDenoiser.of([x0], average.corruption),
        train=(x0[:120], condition if labels else None),
        held_out=held_out and (held_out[0], held_out[1] if labels else None),
        standing=standing,
        others={} if others is None else others,
    )


def found(one):
    """The findings by name; each check speaks once."""
    findings = [one for one in check_network(one, result_of(measured(one))) if isinstance(one, Finding)]
    assert len({finding.check for finding in findings}) == len(findings)
    return {finding.check: finding for finding in findings}


def wrong(findings):
    """What is wrong, with its cause."""
    return {finding.check: finding.cause for finding in findings.values() if finding.verdict == "wrong"}


def test_a_denoiser_that_knows_its_law_is_not_called_untrained_for_what_a_covariance_knows_by_heart():
    """Of 45 examples of 48 numbers, none of them held out."""
    x0, _ = examples(45, 33)
    seen, one, other = x0[::3], x0[1::3], x0[2::3]
    few = replace(patient(ORACLE, train=(seen, None), held_out=None), linear=LinearDenoiser.of([x0], CORRUPTION))
    assert "levels: linear" in wrong(found(few))
    assert wrong(found(replace(few, linear=LinearDenoiser.of([one], CORRUPTION).told_by([other])))) == {}


CHECKS = ["levels: linear", "levels: average", "levels: time", "levels: overfitting", "levels: colours"]


def test_with_an_ideal_denoiser_nothing_is_wrong():
    assert isinstance(ORACLE, GaussianDenoiser)
    checks = found(patient(ORACLE))
    assert {check: finding.verdict for check, finding in checks.items()} == dict.fromkeys(CHECKS, "fine")


def test_with_one_that_heeds_labels_nothing_is_wrong():
    checks = found(patient(Conditional(), labels=True))
    assert {check: finding.verdict for check, finding in checks.items()} == dict.fromkeys(
        [*CHECKS, "levels: labels"], "fine"
    )


def test_without_held_out_examples_those_of_training_serve():
    checks = found(patient(Conditional(), labels=True, held_out=None))
    assert set(checks) == {*CHECKS, "levels: labels"} - {"levels: overfitting"}
    assert wrong(checks) == {}


@pytest.mark.parametrize("schedule", [SigmoidSchedule(), NormalSchedule(), linear_schedule(100)])
def test_it_is_so_with_other_schedules(schedule):
    assert wrong(found(patient(mixture(GaussianCorruption(schedule))))) == {}


def test_what_is_measured_is_the_error_of_each_on_what_was_not_seen():
    one = patient(ORACLE, Changed(lambda x0, xt, t, condition: x0 + 0.5))
    levels = result_of(measured(one))
    x0 = HELD_OUT[0].double()
    assert levels.constant == pytest.approx(float((x0 - TRAIN[0].double().mean(0)).square().mean()))
    assert levels.average.values.shape == levels.linear.values.shape == levels.network.values.shape
    assert levels.average.values.shape[1] == len(x0)
    assert levels.train.values.shape[1] == len(one.train[0])
    more = levels.network.mean - levels.average.mean
    assert torch.allclose(more, torch.full_like(more, 0.25), rtol=0, atol=0.1)


def test_all_that_asks_the_network_tells_how_far_it_is():
    """So that no piece of work is longer than a batch without a word, and each ends."""
    one = patient(Conditional(), labels=True, others={"itself": (Conditional(), lambda x0: x0)})
    asked, told = [], []
    for part in (measured(one), check_network(one, result_of(measured(one)))):
        told += [happened for happened in part if isinstance(happened, Progress)]
    for what in dict.fromkeys(progress.what for progress in told):
        done = [progress.done for progress in told if progress.what == what]
        assert done == sorted(done)
        assert done[-1] == next(progress.total for progress in told if progress.what == what)
        asked.append(what.removeprefix("errors "))
    assert asked == [
        *("of the averaged weights", "of the linear denoiser", "of the last weights", "on training examples"),
        *("with swapped colours", "with labels", "with wrong labels", "as the recipe says", "with itself"),
    ]


def test_a_network_that_ignores_t_is_found():
    def blind(x0, xt, t, condition):
        return ORACLE(xt, torch.full_like(t, 0.5)).x0

    checks = found(patient(Changed(blind)))
    assert wrong(checks) == {"levels: linear": None, "levels: time": "a network that ignores t"}


def test_a_table_of_one_step_has_no_other_time_to_tell():
    checks = found(patient(mixture(GaussianCorruption(table([0.9])))))
    assert "levels: time" not in checks
    assert wrong(checks) == {}


@pytest.mark.parametrize("good", ["low", "high"])
def test_levels_that_are_worse_than_the_best_linear_denoiser_are_counted_and_named(good):
    """Untrained there: the noise is left in and more put to it, or a mean is told that is off."""

    def half(x0, xt, t, condition):
        level = CORRUPTION.level(t)
        untrained = (level.log_snr > 1) if good == "high" else (level.log_snr < -1)
        alpha, sigma = (scale.reshape(-1, 1, 1, 1) for scale in (level.alpha, level.sigma))
        other = (xt + sigma) / alpha if good == "high" else torch.ones_like(x0)
        return torch.where(untrained.reshape(-1, 1, 1, 1), other.to(x0), x0)

    one = patient(Changed(half))
    levels = result_of(measured(one))
    bad = levels.average.log_snr > 1 if good == "high" else levels.average.log_snr < -1
    assert 2 <= bad.sum() < len(bad) - 1
    findings = found(one)
    assert wrong(findings) == {"levels: linear": None}
    text = findings["levels: linear"].text
    at = levels.average.log_snr[bad]
    assert f"at {int(bad.sum())} of {len(bad)} noise levels" in text
    assert f"log-SNR {float(at.min()):.1f} to {float(at.max()):.1f}" in text
    assert ("worse than the mean of the data" in text) == (good == "low")


SLOW, NEVER = "a moving average that is too slow for the run", "a moving average that was never updated"


@pytest.mark.parametrize(("share", "cause"), [(0.0, NEVER), (0.4, SLOW), (1.0, None)])
def test_an_average_that_is_worse_than_the_last_weights_lags(share, cause):
    def behind(x0, xt, t, condition):
        return 0.7 * x0

    lagging = Changed(behind)
    standing = Standing(grown=1.5, share=share)
    findings = wrong(found(patient(lagging, ORACLE, standing=standing)))
    assert findings.pop("levels: average") == cause
    assert set(findings) <= {"levels: linear"}
    # the other way round there is nothing to mend
    assert "levels: average" not in wrong(found(patient(ORACLE, lagging, standing=standing)))


def test_an_average_that_came_no_further_is_fine_where_it_is_as_good():
    assert wrong(found(patient(ORACLE, standing=Standing(grown=1.0, share=0.3)))) == {}


def test_labels_that_are_not_heeded_were_shuffled():
    """What a network learns from labels that tell nothing: to pass them over, or to heed them in vain."""
    pattern = 0.01 * noise(CLASSES, *SHAPE, seed=5).float()
    deaf = ORACLE
    misled = Changed(lambda x0, xt, t, condition: x0 + pattern[condition.label])
    for denoiser in (deaf, misled):
        assert wrong(found(patient(denoiser, labels=True))) == {"levels: labels": "shuffled labels"}


def test_labels_that_say_next_to_nothing_of_the_data_need_not_be_heeded():
    """Of sets whose labels are about something that hardly shows, no network learns much from them."""
    random = [
        (x0, Condition(label=condition.label[torch.randperm(len(x0), generator=seeded(3))]))
        for x0, condition in (TRAIN, HELD_OUT)
    ]
    assert wrong(found(patient(ORACLE, train=random[0], held_out=random[1], labels=True))) == {}


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_share_that_labels_explain_is_that_of_the_class_means_even_of_few_examples(share):
    """Of x = sqrt(share) mean of its class + sqrt(1 - share) noise; 8 classes in 40 examples show 35 parts of 39."""
    shares = []
    for seed in range(60):
        label = torch.arange(40) % 8
        means = noise(8, 50, seed=2 * seed)
        x = share**0.5 * means[label] + (1 - share) ** 0.5 * noise(40, 50, seed=2 * seed + 1)
        shares.append(explained(x.reshape(40, 2, 5, 5), label))
    found = torch.tensor(shares, dtype=torch.float64)
    between = share * 35 / 39
    assert abs(found.mean() - between / (between + 1 - share)) < SIGMAS * found.std() / len(shares) ** 0.5 + 0.002


def test_a_network_that_takes_labels_for_others_is_found():
    findings = wrong(found(patient(Conditional(shift=1), labels=True)))
    assert "levels: linear" in findings


@pytest.mark.parametrize("kinds", [0, 1])
def test_of_no_labels_or_only_one_nothing_is_said(kinds):
    label = torch.zeros(len(HELD_OUT[0]), dtype=torch.int64)
    held_out = HELD_OUT[0], Condition(label=label) if kinds else Condition()
    assert "levels: labels" not in found(patient(ORACLE, labels=True, held_out=held_out))


def test_examples_that_were_learned_by_heart_are_found():
    few = TRAIN[0][:100], TRAIN[1]
    by_heart = FiniteOracle(few[0].double(), CORRUPTION)
    findings = wrong(found(patient(by_heart, train=few)))
    assert findings.pop("levels: overfitting") == "overfitting"
    assert set(findings) <= {"levels: linear"}
    # who knows nothing but the training set cannot be told from one who knows all
    assert wrong(found(patient(by_heart, train=few, held_out=None))) == {}


def test_swapped_channels_are_found():
    turned = [(x0.flip(1), condition) for x0, condition in (TRAIN, HELD_OUT)]
    findings = wrong(found(patient(ORACLE, train=turned[0], held_out=turned[1])))
    assert findings.pop("levels: colours") == "swapped colour channels"
    assert set(findings) <= {"levels: linear"}
    grey = [(x0.mean(1, keepdim=True).expand(-1, 3, -1, -1), condition) for x0, condition in (TRAIN, HELD_OUT)]
    assert "levels: colours" not in wrong(found(patient(ORACLE, train=grey[0], held_out=grey[1])))


def network_of(oracle, kind="v"):
    """A network that has learned all there is, in its own schedule, kind and range."""
    return lambda x, t, condition: oracle(x, nearest(oracle.corruption.schedule, t)).as_(kind).to(x.dtype)


def as_is(x0):
    return x0


def readings(network, predicts, schedules, kinds, ranges):
    """The same network with each of these schedules, kinds and ranges, but for the recipe's own."""
    found = {}
    for name, schedule in schedules.items():
        found[f"schedule {name}"] = NetworkDenoiser(network, GaussianCorruption(schedule), predicts), as_is
    for kind in kinds:
        found[f"prediction {kind}"] = NetworkDenoiser(network, CORRUPTION, kind), as_is
    for name, there in ranges.items():
        found[name] = NetworkDenoiser(network, CORRUPTION, predicts), there
    return found


RANGES = {
    "half the range": lambda x0: 0.5 * x0 + 0.5,
    "a third of it": lambda x0: x0 / 3 - 1,
    "bytes": lambda x0: 128 * x0 + 128,
}
SCHEDULES = {
    "sigmoid": SigmoidSchedule(),
    "linear": linear_schedule(),
    "early": FunctionSchedule(lambda t: 12 - 28 * t**0.4),
    "late": discretised(FunctionSchedule(lambda t: 12 - 22 * t**3), 500, "late"),
}
TRUE = {
    "schedule early": (mixture(GaussianCorruption(SCHEDULES["early"])), "v"),
    "schedule late": (mixture(GaussianCorruption(SCHEDULES["late"])), "v"),
    "prediction eps": (ORACLE, "eps"),
    "prediction x0": (ORACLE, "x0"),
    "half the range": (mixture(scale=0.5, shift=0.5), "v"),
}


@pytest.mark.parametrize("name", TRUE)
def test_weights_of_another_recipe_are_found_and_the_right_one_is_named(name):
    network = network_of(*TRUE[name])
    others = readings(network, "v", SCHEDULES, ("eps", "x0"), RANGES)
    findings = wrong(found(patient(NetworkDenoiser(network, CORRUPTION, "v"), others=others)))
    assert findings.pop("levels: recipe") == f"a recipe that is not the training's: {name}"
    assert set(findings) <= {"levels: linear"}


@pytest.mark.parametrize("predicts", ["v", "eps", "x0"])
@pytest.mark.parametrize("answer", ["nothing", "noise"])
def test_a_network_that_has_learned_nothing_is_not_put_down_to_the_recipe(answer, predicts):
    rows = noise(4096, SIZE, seed=6).float()

    def network(x, t, condition):
        return torch.zeros_like(x) if answer == "nothing" else rows[: len(x)].reshape(x.shape)

    kinds = [kind for kind in ("v", "eps", "x0") if kind != predicts]
    others = readings(network, predicts, SCHEDULES, kinds, RANGES)
    findings = found(patient(NetworkDenoiser(network, CORRUPTION, predicts), others=others))
    assert "levels: linear" in wrong(findings)
    assert findings["levels: recipe"].verdict == "note", findings["levels: recipe"].text


@pytest.mark.parametrize("schedule", ["cosine", "sigmoid"])
def test_the_right_recipe_or_one_that_is_as_good_is_not_doubted(schedule):
    network = network_of(mixture(GaussianCorruption({"cosine": COSINE, **SCHEDULES}[schedule])))
    others = readings(network, "v", SCHEDULES, ("eps", "x0"), RANGES)
    checks = found(patient(NetworkDenoiser(network, CORRUPTION, "v"), others=others))
    assert wrong(checks) == {}
    assert checks["levels: recipe"].verdict == "fine"


def test_of_examples_that_are_all_the_same_no_denoiser_can_be_better_than_their_mean():
    dots = load("dots").batch(range(64)).x0
    oracle = FiniteOracle(dots[:1].double(), CORRUPTION)

    def nearly(x0, xt, t, condition):
        return oracle(xt, t).x0 + 0.01 * (1 + t.reshape(-1, 1, 1, 1).to(x0))

    one = patient(
        Changed(nearly, CORRUPTION, oracle),
        train=(dots, None),
        held_out=(dots, None),
        others={"another": (oracle, as_is)},
    )
    findings = found(one)
    assert wrong(findings) == {}
    assert "all the same" in findings["levels: linear"].text
