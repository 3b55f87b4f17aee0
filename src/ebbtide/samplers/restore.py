"""Reconstruct (item G8): noise a real example to level t and bring it back."""

from __future__ import annotations

from collections.abc import Iterator

from jaxtyping import Float
from torch import Tensor

from ebbtide.conditions import Condition
from ebbtide.denoisers.estimate import Denoiser
from ebbtide.randomness import Randomness
from ebbtide.samplers.loop import Sampler, SampleStep, sample, settled


def restore(
    denoiser: Denoiser,
    sampler: Sampler,
    grid: Float[Tensor, " points"],
    x0: Float[Tensor, "batch *event"],
    generator: Randomness,
    condition: Condition | None = None,
) -> tuple[Float[Tensor, "batch *event"], Iterator[SampleStep]]:
    """x0 worn to t = grid[0], and the steps that bring it back; the last step holds the restored example."""
    denoiser = settled(denoiser, x0.shape, generator)
    xt = denoiser.corruption.corrupt(x0, grid[0].expand(x0.shape[0]), generator).xt
    return xt, sample(denoiser, sampler, grid, xt, generator, condition)
