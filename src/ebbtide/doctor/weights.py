"""The weights themselves: numbers that are none, how far they went, and where their moving average stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ebbtide.doctor.finding import Finding, fine, shown, wrong

Weights = Mapping[str, Tensor]

BLOWN_UP = 30.0
"""Times the size of the first weights."""


@dataclass(frozen=True)
class Standing:
    """grown: root mean square of the weights, of the first ones'. share: how far the average came on the way from the
    first weights to the last, 1 being all of it."""

    grown: float
    share: float


def standing(first: Weights, network: Weights, average: Weights) -> Standing:
    """Of all floating-point weights as one vector; share = <average - first, last - first> / ‖last - first‖²."""
    names = [name for name, value in first.items() if value.is_floating_point()]
    vectors = [torch.cat([group[name].double().flatten() for name in names]) for group in (first, network, average)]
    begun, ended, mean = vectors
    way = ended - begun
    size = float(begun.norm())
    grown = float(ended.norm()) / size if size > 0 else float("inf")
    length = float(way.square().sum())
    return Standing(grown, float((mean - begun) @ way) / length if length > 0 else 1.0)


def check_weights(first: Weights, network: Weights, average: Weights) -> Iterator[Finding]:
    """Non-finite numbers, size, and an average that never moved."""
    bad = [
        f"{group}: {name}"
        for group, values in (("network", network), ("average", average))
        for name, value in values.items()
        if value.is_floating_point() and not bool(value.isfinite().all())
    ]
    if bad:
        yield wrong("weights: finite", f"weights hold NaN or infinite numbers: {shown(bad)}", "weights that are NaN")
        return
    yield fine("weights: finite", "all weights are finite")
    found = standing(first, network, average)
    said = f"the weights are {found.grown:.2g} times as large as at the start"
    if found.grown > BLOWN_UP:
        yield wrong("weights: size", f"{said}: they blew up", "a learning rate that is far too high")
    else:
        yield fine("weights: size", said)
    still = all(torch.equal(average[name].cpu(), value.cpu()) for name, value in first.items())
    moved = any(not torch.equal(network[name].cpu(), value.cpu()) for name, value in first.items())
    if still and moved:
        text = "the moving average still equals the first weights, though the network has learned: samples are noise"
        yield wrong("weights: average", text, "a moving average that was never updated")
