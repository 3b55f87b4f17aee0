"""The whole bound of many examples: in full, or from a few stratified levels with its standard error.

Each example draws its noise from a generator of its own, so its number does not depend on the batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ebbtide.conditions import Condition
from ebbtide.denoisers.estimate import GaussianDenoiser
from ebbtide.errors import require
from ebbtide.likelihood.ladder import Ladder
from ebbtide.likelihood.reconstruction import Reconstruction
from ebbtide.likelihood.terms import Term, first_term, prior_term
from ebbtide.randomness import SampleGenerators, normal, seed_of
from ebbtide.waist import check_some

BINS = 48
"""Of log-SNR: the density of levels is constant in each, and the curves have a point a bin."""


@dataclass(frozen=True, kw_only=True)
class Bound:
    """The bound of n examples in nats, its parts apart.

    prior, steps, reconstruction: L_T, the sum of all L_{l-1}, L_0. spread: the variance of each example's total over
    draws of noise and levels (nats²), as estimated from two independent halves. log_snr: levels, from high to low;
    rate: what a unit of log-SNR costs there, nats, mean over the examples; error: mean ‖x0 - x0_hat‖² there.
    """

    prior: Float64[Tensor, " n"]
    steps: Float64[Tensor, " n"]
    reconstruction: Float64[Tensor, " n"]
    spread: Float64[Tensor, " n"]
    dimensions: int
    log_snr: Float64[Tensor, " levels"]
    width: Float64[Tensor, " levels"]
    rate: Float64[Tensor, " levels"]
    error: Float64[Tensor, " levels"]

    @property
    def nats(self) -> Float64[Tensor, " n"]:
        """-log p(x0) is at most this."""
        return self.prior + self.steps + self.reconstruction

    @property
    def bits(self) -> float:
        """Bits a dimension, mean over the examples."""
        return self.in_bits(self.nats)

    @property
    def noise_error(self) -> float:
        """The standard error of `bits` that levels and noise leave, for these examples."""
        return float(self.spread.sum().sqrt()) / len(self.spread) / self.dimensions / math.log(2)

    @property
    def example_error(self) -> float:
        """The standard error of `bits` as an estimate for all data of which these examples are a sample.

        One example tells nothing of it: not a number.
        """
        if len(self) < 2:
            return math.nan
        return float(self.nats.std()) / len(self.nats) ** 0.5 / self.dimensions / math.log(2)

    def in_bits(self, nats: Float64[Tensor, " n"]) -> float:
        """Nats an example as bits a dimension, their mean."""
        return float(nats.mean()) / self.dimensions / math.log(2)

    def __len__(self) -> int:
        return len(self.prior)


@dataclass(frozen=True, kw_only=True)
class Density:
    """Where levels are drawn: a density along log-SNR, constant in each of the bins between falling edges."""

    edges: Float64[Tensor, " edges"]
    values: Float64[Tensor, " bins"]

    @classmethod
    def even(cls, ends: tuple[float, float]) -> Density:
        """The same everywhere."""
        high, low = ends
        edges = torch.linspace(high, low, BINS + 1, dtype=torch.float64)
        return cls(edges=edges, values=torch.full((BINS,), 1 / (high - low), dtype=torch.float64))

    def at(self, share: Float64[Tensor, "*batch"]) -> tuple[Float64[Tensor, "*batch"], Float64[Tensor, "*batch"]]:
        """The log-SNR below which this share of the density lies, counted from the high end, and the density there."""
        widths = -self.edges.diff()
        mass = torch.cat([torch.zeros(1, dtype=torch.float64), (self.values * widths).cumsum(0)])
        inside = share * mass[-1]
        index = (torch.searchsorted(mass, inside, right=True) - 1).clamp(0, len(self.values) - 1)
        return self.edges[index] - (inside - mass[index]) / self.values[index], self.values[index] / mass[-1]

    def bin_of(self, log_snr: Float64[Tensor, " batch"]) -> Tensor:
        """Which bin a log-SNR lies in."""
        return (torch.searchsorted(-self.edges, -log_snr, right=True) - 1).clamp(0, len(self.values) - 1)


def aimed(
    denoiser: GaussianDenoiser,
    ladder: Ladder,
    x0: Float[Tensor, "n *event"],
    *,
    seed: int = 0,
    condition: Condition | None = None,
    batch: int = 256,
) -> Density:
    """The density that spends evaluations where the bound is paid: the root mean square of f, from these few examples.

    A tenth is even, so that no level is missed. Any density gives an unbiased estimate; a good one a certain one.
    """
    even = Density.even(ladder.ends)
    check_some(x0)
    middles = (even.edges[1:] + even.edges[:-1]) / 2
    count, n = BINS, x0.shape[0]
    example = torch.arange(n).repeat_interleave(count)
    levels = middles.repeat(n)
    terms = _terms(denoiser, ladder, x0, example, levels, _generators(seed, "aim", range(n)), condition, batch)
    f = (terms.nats / ladder.width(levels)).reshape(n, count)
    size = f.square().mean(0).sqrt()
    share = size / size.sum() if float(size.sum()) > 0 else torch.full_like(size, 1 / count)
    widths = -even.edges.diff()
    return replace(even, values=(0.9 * share + 0.1 / count) / widths)


def bounds(
    denoiser: GaussianDenoiser,
    ladder: Ladder,
    x0: Float[Tensor, "n *event"],
    reconstruction: Reconstruction,
    *,
    levels: int | None = 64,
    density: Density | None = None,
    condition: Condition | None = None,
    seed: int = 0,
    batch: int = 256,
) -> Iterator[Bound]:
    """The bound, a few examples at a time (`joined` makes one of them).

    levels: evaluations an example, beside two for L_0; in two halves, each at even shares of the density from a random
    start, so all levels are covered and the sum is unbiased. None: every step of the ladder, with two draws of noise.
    """
    check_some(x0)
    every = ladder.rungs
    require(levels is not None or every is not None, "the limit of many steps has no full sum: say how many levels")
    require(levels is None or levels >= 2, f"levels={levels} came, expected at least 2")
    density = density or Density.even(ladder.ends)
    each = len(every) if levels is None and every is not None else (levels or 0) // 2
    many = max(1, batch // max(1, 2 * each))
    for start in range(0, x0.shape[0], many):
        some = x0[start : start + many]
        told = None if condition is None else condition[slice(start, start + many)]
        generators = _generators(seed, "bound", range(start, start + some.shape[0]))
        yield _bound(
            denoiser,
            ladder,
            some,
            reconstruction,
            every if levels is None else None,
            each,
            density,
            told,
            generators,
            batch,
        )


def joined(parts: Iterable[Bound]) -> Bound:
    """One bound of all examples."""
    found = list(parts)
    require(len(found) > 0, "no example came, whose bound could be told")
    shares = torch.tensor([len(part) for part in found], dtype=torch.float64)
    values: dict[str, Any] = {}
    for name in ("prior", "steps", "reconstruction", "spread"):
        values[name] = torch.cat([getattr(part, name) for part in found])
    for name in ("rate", "error"):  # a bin that some part has not visited counts where it was visited
        table = torch.stack([getattr(part, name) for part in found])
        weights = shares.unsqueeze(1) * table.isfinite()
        values[name] = (table.nan_to_num(0.0) * weights).sum(0) / weights.sum(0)
    return replace(found[0], **values)


def _bound(
    denoiser: GaussianDenoiser,
    ladder: Ladder,
    x0: Tensor,
    reconstruction: Reconstruction,
    every: Tensor | None,
    each: int,
    density: Density,
    condition: Condition | None,
    generators: tuple[torch.Generator, ...],
    batch: int,
) -> Bound:
    """Two halves of each example; `each` levels a half."""
    n, dimensions = x0.shape[0], x0[0].numel()
    twice = torch.arange(n).repeat_interleave(2)
    t = torch.full((batch,), ladder.first, dtype=torch.float64)
    first = torch.cat(
        [
            first_term(
                denoiser, *_drawn(x0, index, generators), t[: len(index)], reconstruction, _of(condition, index)
            ).nats.cpu()
            for index in twice.split(batch)
        ]
    ).reshape(n, 2)
    example = twice.repeat_interleave(each)
    if every is None:
        starts = torch.stack([torch.rand(2, generator=g, dtype=torch.float64) for g in generators]).flatten()
        share = (torch.arange(each, dtype=torch.float64) + starts.unsqueeze(1)) / each
        levels, drawn_with = density.at(share.flatten())
        counts = 1 / (each * drawn_with * ladder.width(levels))
    else:
        levels, counts = every.repeat(2 * n), torch.ones(2 * n * each, dtype=torch.float64)
    terms = _terms(denoiser, ladder, x0, example, levels, generators, condition, batch)
    steps = (counts * terms.nats).reshape(n, 2, each).sum(2)
    total = steps + first
    if every is None:
        where, at, width = density.bin_of(levels), (density.edges[1:] + density.edges[:-1]) / 2, -density.edges.diff()
    else:
        where, at, width = torch.arange(each).repeat(2 * n), every, ladder.width(every)
    return Bound(
        prior=prior_term(denoiser.corruption, x0).cpu(),
        steps=steps.mean(1),
        reconstruction=first.mean(1),
        spread=(total[:, 0] - total[:, 1]).square() / 4,
        dimensions=dimensions,
        log_snr=at,
        width=width,
        rate=_means(terms.nats / ladder.width(levels), where, len(at)),
        error=_means(terms.error, where, len(at)),
    )


def _terms(
    denoiser: GaussianDenoiser,
    ladder: Ladder,
    x0: Tensor,
    example: Tensor,
    levels: Tensor,
    generators: tuple[torch.Generator, ...],
    condition: Condition | None,
    batch: int,
) -> Term:
    """The ladder's terms of (example, level) pairs, batch by batch."""
    parts = [
        ladder.term(denoiser, *_drawn(x0, index, generators), some, _of(condition, index))
        for index, some in zip(example.split(batch), levels.split(batch), strict=True)
    ]
    if not parts:
        return Term(torch.zeros(0, dtype=torch.float64), torch.zeros(0, dtype=torch.float64))
    return Term(torch.cat([part.nats.cpu() for part in parts]), torch.cat([part.error.cpu() for part in parts]))


def _drawn(x0: Tensor, index: Tensor, generators: tuple[torch.Generator, ...]) -> tuple[Tensor, Tensor]:
    """Examples with noise from their own generators."""
    some = x0[index.to(x0.device)]
    own = SampleGenerators(tuple(generators[i] for i in index.tolist()))
    return some, normal(some.shape, own, dtype=some.dtype, device=some.device)


def _of(condition: Condition | None, index: Tensor) -> Condition | None:
    return None if condition is None else condition[index]


def _generators(seed: int, what: str, indices: range) -> tuple[torch.Generator, ...]:
    return SampleGenerators.of(seed_of(seed, what), indices).generators


def _means(values: Tensor, where: Tensor, count: int) -> Tensor:
    """The mean of the values in each bin; not a number where there are none."""
    total = torch.zeros(count, dtype=torch.float64).index_add(0, where, values)
    return total / torch.bincount(where, minlength=count)
