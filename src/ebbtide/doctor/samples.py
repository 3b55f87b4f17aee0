"""What samples look like beside the data: their brightness and colours, noise that is left, all alike; more steps."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ebbtide.denoisers.wiener import waves
from ebbtide.doctor.finding import Finding, fine, note, wrong

SHIFT = 0.5
"""Of the samples' mean, in standard deviations of the data's values."""
SURELY = 4.0
"""Standard errors."""
NOISE = 0.03
"""Standard deviation of noise left in samples, of the whole range of the data."""
SAME = 1e-3
"""Standard deviation between examples, of the whole range, below which they are all the same."""
ALIKE, WILD = 0.5, 2.0
"""Distance between samples, of the distance between examples."""
CHANGE = 0.5
"""Change of a sample with twice the steps, in standard deviations of the data."""


def check_samples(samples: Tensor, data: Tensor) -> Iterator[Finding]:
    """samples, data: (n, *event) in the network's units, of the same law if all went well."""
    bad = int((~samples.isfinite()).flatten(1).any(1).sum())
    if bad:
        text = f"{bad} of {len(samples)} samples hold NaN or infinite numbers"
        yield wrong("sampling: finite", text, "samples that are not finite")
        return
    samples, data = samples.double(), data.double()
    yield _brightness(samples, data)
    yield _variety(samples, data)
    if data.ndim == 4 and min(data.shape[2:]) >= 8:
        yield _noise(samples, data)


def _brightness(samples: Tensor, data: Tensor) -> Finding:
    """Means a channel (a coordinate, for points)."""
    means, expected = (x.flatten(2).mean(2) if x.ndim == 4 else x for x in (samples, data))
    deviation = data.std()
    difference = means.mean(0) - expected.mean(0)
    error = (means.var(0) / len(means) + expected.var(0) / len(expected)).sqrt()
    worst = int(difference.abs().argmax())
    shift = float(difference[worst] / deviation)
    channel = ("red", "green", "blue")[worst] if data.ndim == 4 and data.shape[1] == 3 else "the mean value"
    said = f"{channel} of samples is off by {shift:+.2f} standard deviations of the data"
    if abs(shift) > SHIFT and abs(float(difference[worst] / error[worst].clamp(min=1e-30))) > SURELY:
        return wrong("sampling: brightness", f"colours are off: {said}")
    return fine("sampling: brightness", said)


def _variety(samples: Tensor, data: Tensor) -> Finding:
    """Root mean square distance of pairs."""
    found, expected = (float(x.flatten(1).var(0).mean().sqrt()) for x in (samples, data))
    whole = max(float(data.max() - data.min()), 1e-30)
    if expected < SAME * whole:
        said = f"examples are all the same, and samples differ by {found / whole:.3f} of the whole range"
        return (wrong if found > NOISE * whole else fine)("sampling: variety", said)
    ratio = found / expected
    said = f"samples lie {ratio:.2f} times as far apart as examples"
    if ratio < ALIKE:
        return wrong("sampling: variety", f"samples are all alike: {said}")
    if ratio > WILD:
        return wrong("sampling: variety", f"samples are far from the data: {said}")
    return fine("sampling: variety", said)


def _noise(samples: Tensor, data: Tensor) -> Finding:
    """Power of the fastest quarter of waves each way: pictures have least of these, noise as much as of all."""
    found, expected = (float(_fast(x)) for x in (samples, data))
    left = max(0.0, found - expected) ** 0.5 / max(float(data.max() - data.min()), 1e-30)
    said = f"the finest waves of samples have {found / max(expected, 1e-12):.2f} times the power of the data's"
    if left > NOISE and found > 1.5 * expected:
        text = f"noise is left in the samples, of standard deviation {left:.3f} of the whole range: {said}"
        return wrong("sampling: noise", text)
    return (note if found < 0.4 * expected else fine)("sampling: noise", said)


def _fast(x: Tensor) -> Tensor:
    high = waves(x)[:, :, 3 * x.shape[2] // 4 :, 3 * x.shape[3] // 4 :]
    return high.square().mean()


def check_more_steps(few: Tensor, many: Tensor, data: Tensor, steps: int) -> Finding:
    """few, many: the same samples, from the same noise, with the recipe's steps and with twice as many."""
    change = float((few.double() - many.double()).square().mean().sqrt() / data.double().std())
    said = f"with {2 * steps} steps instead of {steps} samples change by {change:.2f} standard deviations of the data"
    if change > CHANGE:
        return note("sampling: more steps", f"{said}: more steps may help (--steps)")
    return fine("sampling: more steps", said)


def pick(x: Tensor, count: int) -> Tensor:
    """Some of them, spread."""
    return x[torch.linspace(0, len(x) - 1, min(count, len(x))).round().long()]
