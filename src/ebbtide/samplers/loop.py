"""The loop. The step calls the denoiser; history is handed along as a value; every step is yielded."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from ebbtide.conditions import Condition
from ebbtide.corruptions import Corruption, GaussianCorruption, Settling
from ebbtide.denoisers.estimate import Denoiser
from ebbtide.denoisers.restoring import Around
from ebbtide.errors import require
from ebbtide.randomness import Randomness, SampleGenerators
from ebbtide.waist import check_some


class Moved(NamedTuple):
    """Where a step arrived, what was believed of x0 on the way, and what the next step should remember."""

    xs: Float[Tensor, "batch *event"]
    x0: Float[Tensor, "batch *event"]
    history: Any = None


@runtime_checkable
class Sampler(Protocol):
    """One step from t down to s < t. Times are (batch,); history is what the last step returned, None at first."""

    def __call__(
        self,
        denoiser: Any,
        xt: Float[Tensor, "batch *event"],
        t: Float[Tensor, " batch"],
        s: Float[Tensor, " batch"],
        condition: Condition | None,
        generator: Randomness,
        history: Any,
    ) -> Moved: ...


@dataclass(frozen=True)
class SampleStep:
    """The state after a step: x at time t, and the estimate of x0 that led there."""

    index: int
    t: float
    x: Float[Tensor, "batch *event"]
    x0: Float[Tensor, "batch *event"]


def sample(
    denoiser: Denoiser,
    sampler: Sampler,
    grid: Float[Tensor, " points"],
    x: Float[Tensor, "batch *event"],
    generator: Randomness,
    condition: Condition | None = None,
) -> Iterator[SampleStep]:
    """Walk x from grid[0] down to grid[-1], yielding each step, in inference mode: clone what needs gradients.

    Raises EbbtideError, before anything is asked, for times that do not fall from at most 1 to at least 0, and for no
    samples.
    """
    falls = grid.ndim == 1 and len(grid) >= 2 and bool((grid.diff() < 0).all())
    require(
        falls and float(grid[-1]) >= 0 and float(grid[0]) <= 1,
        f"the times {_listed(grid)} came, expected two or more that fall from at most 1 to at least 0: see grids",
    )
    check_some(x)
    return _walk(denoiser, sampler, grid, x, generator, condition)


def _walk(
    denoiser: Denoiser, sampler: Sampler, grid: Tensor, x: Tensor, generator: Randomness, condition: Condition | None
) -> Iterator[SampleStep]:
    history = None
    for index, (t, s) in enumerate(zip(grid[:-1], grid[1:], strict=True)):
        with torch.inference_mode():
            moved = sampler(denoiser, x, t.expand(x.shape[0]), s.expand(x.shape[0]), condition, generator, history)
        x, history = moved.xs, moved.history
        yield SampleStep(index, float(s), x, moved.x0)


def final(steps: Iterator[SampleStep]) -> Float[Tensor, "batch *event"]:
    """x after the last step."""
    last = deque(steps, maxlen=1)
    require(bool(last), "no steps came, expected at least one")
    return last[0].x


def generate(
    denoiser: Denoiser,
    sampler: Sampler,
    grid: Float[Tensor, " points"],
    event_shape: Sequence[int],
    indices: Sequence[int],
    *,
    seed: int,
    condition: Condition | None = None,
    device: torch.device | str = "cpu",
) -> Iterator[SampleStep]:
    """Samples with these indices under this seed, from the prior on; each is the same in any batch."""
    generator = SampleGenerators.of(seed, indices)
    denoiser = settled(denoiser, (len(indices), *event_shape), generator)
    x = _start(denoiser.corruption, (len(indices), *event_shape), generator, float(grid[0])).to(device)
    return sample(denoiser, sampler, grid, x, generator, condition)


def _listed(grid: Tensor) -> str:
    """The times of a grid, or as many as fit a line."""
    times = [f"{t:g}" for t in grid.flatten()[:6].tolist()]
    return ", ".join(times) + (", ..." if grid.numel() > 6 else "") if times else "of an empty grid"


def settled(denoiser: Denoiser, shape: Sequence[int], generator: Randomness) -> Denoiser:
    """The denoiser about one path of what its corruption draws at random, if that can be settled."""
    corruption = denoiser.corruption
    return Around(denoiser, corruption.settled(shape, generator)) if isinstance(corruption, Settling) else denoiser


def _start(corruption: Corruption, shape: Sequence[int], generator: Randomness, t: float) -> Tensor:
    """x at t without any data; Gaussian noise has its size there, as a grid may begin below t = 1 (`karras_grid`)."""
    if isinstance(corruption, GaussianCorruption):
        return corruption.prior(shape, generator, t)
    return corruption.prior(shape, generator)
