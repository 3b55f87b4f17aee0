"""What a network has learned at each noise level, held against what is known without one, and against itself."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ebbtide.conditions import Condition
from ebbtide.denoisers import GaussianDenoiser
from ebbtide.denoisers.wiener import LinearDenoiser
from ebbtide.doctor.finding import Finding, Progress, fine, note, wrong
from ebbtide.doctor.levels import (
    Comparison,
    Errors,
    answers_at,
    compare,
    compare_apart,
    measuring,
    same_levels,
    times_to_look_at,
)
from ebbtide.doctor.weights import Standing

WORSE, SURELY = 1.05, 4.0
"""A ratio of errors, and standard errors, from which one counts as worse than the other."""
OVERFIT = 1.5
UNTOLD = 1e-3
"""Change of a network's answer, of its size, when it is told quite another time: less than that is none."""
BETTER, FITS = 0.9, 1.2
"""Ratio of errors to those of the recipe's way, and to the best linear denoiser's, below which another way to read the
network is the right one."""
AS_GOOD = 1.03
"""Ratio to the best of the other ways, below which one is named with it: some schedules hardly differ."""
READ = 64
"""Examples on which the other ways are tried, at every second level."""
TELLING, TOLD = 0.05, 0.2
"""Share of the data's variance that labels explain from which they must help, and how much of it at least."""
LAGS = 0.8
"""Share of the way that an average has come, below which it is called slow."""


@dataclass(frozen=True, kw_only=True)
class Patient:
    """A trained denoiser with what is known around it.

    average, network: with the averaged and with the last weights. linear: the best linear denoiser that could be made
    without the examples whose errors are measured. train, held_out: examples with their conditions (held_out None:
    there is none). others: the same weights read in other ways, by name: another schedule, kind of prediction or range
    of values, with the function that takes x0 there.
    """

    average: GaussianDenoiser
    network: GaussianDenoiser
    linear: LinearDenoiser
    train: tuple[Tensor, Condition | None]
    held_out: tuple[Tensor, Condition | None] | None
    standing: Standing
    others: Mapping[str, tuple[GaussianDenoiser, Callable[[Tensor], Tensor]]]

    @property
    def unseen(self) -> tuple[Tensor, Condition | None]:
        """Held-out examples, else those of training."""
        return self.train if self.held_out is None else self.held_out


@dataclass(frozen=True)
class Levels:
    """What was measured; figures are drawn from it."""

    average: Errors
    linear: Errors
    network: Errors
    train: Errors
    constant: float


def measured(patient: Patient) -> Generator[Progress, None, Levels]:
    """The errors that all checks share."""
    times = times_to_look_at(patient.average.corruption.schedule)
    x0, condition = patient.unseen
    return Levels(
        average=(yield from measuring("errors of the averaged weights", patient.average, times, x0, condition)),
        linear=(yield from measuring("errors of the linear denoiser", patient.linear, times, x0)),
        network=(yield from measuring("errors of the last weights", patient.network, times, x0, condition)),
        train=(yield from measuring("errors on training examples", patient.average, times, *patient.train)),
        constant=float((x0.double().flatten(1).cpu() - patient.linear.mean).square().mean()),
    )


def check_network(patient: Patient, levels: Levels) -> Iterator[Finding | Progress]:
    """All checks; those that need more evaluations come only where something is wrong, or are cheap."""
    times = levels.average.times
    against_linear = compare(levels.average, levels.linear)
    yield _linear(patient, levels, against_linear)
    yield _average(patient, compare(levels.average, levels.network))
    yield from _time(patient, times)
    swapped = None
    if patient.unseen[0].ndim == 4 and patient.unseen[0].shape[1] == 3:
        swapped = yield from _channels(patient, levels)
        yield swapped
    if patient.held_out is not None and (swapped is None or swapped.verdict == "fine"):
        yield _overfit(levels)
    yield from _labels(patient, times)
    if not patient.linear.knows_all:
        bad = against_linear.overall > 1 or bool(_surely_worse(against_linear).any())
        yield from _read_otherwise(patient, levels, bad)


def _surely_worse(found: Comparison, ratio: float = WORSE) -> Tensor:
    return (found.ratio > ratio) & (found.z > SURELY)


def _linear(patient: Patient, levels: Levels, found: Comparison) -> Finding:
    if patient.linear.knows_all:
        return fine("levels: linear", "the examples are all the same: no network can do better than to say so")
    bad = _surely_worse(found)
    best = f"its error is {found.overall:.2f} of the best linear denoiser's, in the mean over noise levels"
    if not bool(bad.any()):
        return fine("levels: linear", best)
    at = levels.average.log_snr[bad]
    constant = int((levels.average.mean > levels.constant * WORSE).sum())
    worst = float(found.ratio[bad].max())
    text = (
        f"at {int(bad.sum())} of {len(bad)} noise levels (log-SNR {float(at.min()):.1f} to {float(at.max()):.1f}) the "
        f"network is worse than the best linear denoiser, up to {worst:.3g} times: it is not trained there"
    )
    if constant:
        text += f"; at {constant} it is worse than the mean of the data"
    return wrong("levels: linear", text)


def _average(patient: Patient, found: Comparison) -> Finding:
    share = patient.standing.share
    said = (
        f"the averaged weights' error is {found.overall:.3g} times the last ones'; the average has come {share:.0%} of "
        "the way from the first weights"
    )
    if found.overall < WORSE or found.overall_z < SURELY:
        return fine("levels: average", said)
    slow = "a moving average that is too slow for the run" if 0.001 < share < LAGS else None
    never = "a moving average that was never updated" if share <= 0.001 else None
    return wrong("levels: average", f"samples are drawn with weights that lag behind: {said}", slow or never)


def _time(patient: Patient, times: Tensor) -> Iterator[Finding]:
    """Whether the network heeds t: its answer when it is told the time from the other end."""
    if len(times) < 2:
        return
    changes = []
    for index in (0, len(times) // 2, len(times) - 1):
        other = times[0] if index > len(times) // 2 else times[-1]
        told, lied = answers_at(patient.network, times[index], other, *patient.unseen)
        changes.append(float((told - lied).square().mean().sqrt() / told.square().mean().sqrt().clamp(min=1e-30)))
    change = max(changes)
    said = f"told another time, the network changes its answer by {change:.2g} of its size"
    if change < UNTOLD:
        yield wrong("levels: time", f"the network does not heed t: {said}", "a network that ignores t")
    else:
        yield fine("levels: time", said)


def _overfit(levels: Levels) -> Finding:
    found = compare_apart(levels.average, levels.train)
    bad = (found.ratio > OVERFIT) & (found.z > SURELY)
    worst = float(found.ratio.max())
    said = f"errors on held-out examples are up to {worst:.2f} times those on training examples"
    if bool(bad.any()):
        return wrong("levels: overfitting", f"the network has learned examples by heart: {said}", "overfitting")
    return fine("levels: overfitting", said)


def _labels(patient: Patient, times: Tensor) -> Iterator[Finding | Progress]:
    """What the right label is worth: the error with it against that with a wrong one.

    At high noise the label is what is left to know: it then saves at least the share of the variance that class means
    explain.
    """
    x0, condition = patient.unseen
    if condition is None or condition.label is None or len(condition.label.unique()) < 2:
        return
    order = condition.label.argsort(stable=True)
    wrong_ones = torch.empty_like(condition.label)
    # half the set further on along the sorted labels is another label for nearly all
    wrong_ones[order] = condition.label[order].roll(len(order) // 2)
    right = yield from measuring("errors with labels", patient.network, times, x0, condition)
    told = Condition(label=wrong_ones)
    false = yield from measuring("errors with wrong labels", patient.network, times, x0, told)
    cost = float(compare(false, right).ratio.max()) - 1
    known = explained(x0, condition.label)
    said = (
        f"labels explain {max(known, 0):.0%} of the data's variance; a wrong one raises the error by up to {cost:.1%}"
    )
    if known > TELLING and cost < TOLD * known:
        yield wrong("levels: labels", f"the network learned nothing from labels: {said}", "shuffled labels")
    else:
        yield fine("levels: labels", said)


def explained(x0: Tensor, label: Tensor) -> float:
    """The share of the variance between class means, less what chance would give (Fisher's adjusted R²)."""
    x = x0.double().flatten(1)
    classes = label.unique()
    within = sum(float((x[label == one] - x[label == one].mean(0)).square().sum()) for one in classes)
    total = float((x - x.mean(0)).square().sum())
    left = max(1, len(x) - len(classes))
    return 1 - (within / left) / (total / (len(x) - 1)) if total > 0 else 0.0


def _channels(patient: Patient, levels: Levels) -> Generator[Progress, None, Finding]:
    x0, condition = patient.unseen
    times = levels.average.times
    swapped = yield from measuring("errors with swapped colours", patient.average, times, x0.flip(1), condition)
    found = compare(swapped, levels.average)
    said = f"with red and blue swapped its error is {found.overall:.2f} times as large"
    # what a network says that fits neither order may come nearer to one of them by chance
    fits = _overall(_of_linear(swapped, patient.linear, patient.average)) < FITS
    if fits and found.overall < 1 / WORSE and found.overall_z < -SURELY:
        text = f"the network was trained on the other order of channels: {said}"
        return wrong("levels: colours", text, "swapped colour channels")
    return fine("levels: colours", said)


def _read_otherwise(patient: Patient, levels: Levels, bad: bool) -> Iterator[Finding | Progress]:
    """Whether the weights fit another schedule, kind of prediction or range of values than the recipe's.

    Errors are told of the best linear denoiser's in the same reading: the wider the range, the less the noise hides.
    bad: the recipe's own way fails, so that the best of the others is worth a word in any case.
    """
    x0, condition = patient.unseen
    x0, condition = x0[:READ], None if condition is None else condition[slice(0, READ)]
    times, log_snr = levels.average.times[::2], levels.average.log_snr[::2]
    errors = yield from measuring("errors as the recipe says", patient.average, times, x0, condition)
    own = _of_linear(errors, patient.linear, patient.average)
    found: dict[str, Errors] = {}
    for name, (denoiser, there) in patient.others.items():
        moved = there(x0)
        wider = _variance(moved) / _variance(x0)
        linear = replace(patient.linear, variances=wider * patient.linear.variances)
        here = same_levels(denoiser.corruption.schedule, log_snr)
        errors = yield from measuring(f"errors with {name}", denoiser, here, moved, condition)
        told = _of_linear(errors, linear, denoiser)
        # in a wider range to leave the noise in is nearly the best linear denoiser
        if wider <= 1 or _overall(told) < 1 / WORSE:
            found[name] = told
    if not found:
        return
    best = min(found, key=lambda name: _overall(found[name]))
    said = (
        f"its error is {_overall(found[best]):.3g} of the best linear denoiser's with {best}, and {_overall(own):.3g} "
        "as the recipe says (mean over noise levels)"
    )
    against = compare(found[best], own)
    if _overall(found[best]) < FITS and against.overall < BETTER and against.overall_z < -SURELY:
        least = _overall(found[best])
        alike = " or ".join(name for name, errors in found.items() if _overall(errors) < AS_GOOD * least)
        text = f"the weights were trained with {alike}: {said}; mend the recipe"
        yield wrong("levels: recipe", text, f"a recipe that is not the training's: {alike}")
    elif bad:
        yield note("levels: recipe", f"no other schedule, kind or range fits the weights better: {said}")
    else:
        yield fine("levels: recipe", f"the weights fit the recipe's schedule, kind and range best: {said}")


def _variance(x: Tensor) -> float:
    return float((x - x.mean(0)).double().square().mean())


def _of_linear(errors: Errors, linear: LinearDenoiser, denoiser: GaussianDenoiser) -> Errors:
    """The errors, of those that the best linear denoiser should make."""
    should = linear.error(denoiser.corruption.level(errors.times))
    return replace(errors, values=errors.values / should.unsqueeze(1))


def _overall(errors: Errors) -> float:
    """The geometric mean over the levels."""
    return float(errors.mean.log().mean().exp())
