"""Sampling images/s at equal network and steps, and what the sampler itself costs a step.

    python benchmarks/sampling_speed.py [--rounds 7]

1. diffusers' DDIM loop on its UNet2DModel with 48 and 96 channels, ebbtide's on its own network of the same shape, and
   on its default small network.
2. The same loops around a network that does nothing: the time of a step is then the sampler's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import measure
import peers
from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers import NetworkDenoiser
from ebbtide.grids import uniform_grid
from ebbtide.guidance import Clipped
from ebbtide.recipes.build import build_network
from ebbtide.recipes.presets import PRESETS
from ebbtide.samplers import Ddim, DpmSolver2M, Sampler, final, sample
from ebbtide.schedules import NormalSchedule
from ebbtide.training.machine import in_precision
from training_speed import SAME_SHAPE

BATCH, STEPS = 64, 10
SHAPE = (BATCH, 1, 28, 28)


def ours(network: Callable[..., Tensor], sampler: Sampler) -> Callable[[], object]:
    """A batch of samples by ebbtide's loop."""
    corruption = GaussianCorruption(NormalSchedule())
    denoiser = Clipped(NetworkDenoiser(network, corruption, "v"))
    grid, x = uniform_grid(corruption.schedule, STEPS), torch.randn(SHAPE)
    return lambda: final(sample(denoiser, sampler, grid, x, torch.Generator()))


def theirs(network: Callable[[Tensor, Tensor], Tensor], scheduler: Any, bf16: bool = False) -> Callable[[], object]:
    """A batch of samples by the loop of diffusers' pipelines."""

    @torch.no_grad()
    def work() -> Tensor:
        scheduler.set_timesteps(STEPS)
        x = torch.randn(SHAPE)
        for t in scheduler.timesteps:
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                eps = network(x, t).float()
            x = scheduler.step(eps, t, x).prev_sample
        return x

    return work


def images(rounds: int) -> dict[str, Any]:
    """Part 1."""
    from diffusers import DDIMScheduler

    unet = peers.small_network(28).eval()
    same = build_network(SAME_SHAPE, SHAPE[1:], 0, 0).eval()
    small = build_network(PRESETS["fashion"].recipe.network, SHAPE[1:], 0, 0).eval()

    def ask(x: Tensor, t: Tensor) -> Tensor:
        return unet(x, t, return_dict=False)[0]

    works = {
        "ebbtide, same shape": ours(in_precision(same, "auto"), Ddim()),
        "ebbtide, same shape, fp32": ours(same, Ddim()),
        "diffusers, UNet2DModel": theirs(ask, DDIMScheduler()),
        "diffusers, UNet2DModel, bf16 autocast": theirs(ask, DDIMScheduler(), bf16=True),
        "ebbtide, its small network": ours(in_precision(small, "auto"), Ddim()),
    }
    seconds = measure.interleaved(works, rounds, warmup=1)
    first = next(iter(works))
    rows, results = [], {}
    for name, taken in seconds.items():
        speed, ratio = measure.Spread.of([BATCH / s for s in taken]), measure.ratios(taken, seconds[first])
        rows.append((name, speed.words(), ratio.words(2)))
        results[name] = {"images_a_second": speed, "times_the_first": ratio}
    measure.show(
        "sampling",
        f"DDIM, {STEPS} steps, batch {BATCH}, 28x28",
        ("loop", "images/s (middle half)", f"{first} is faster by"),
        rows,
    )
    return results


def overhead(rounds: int) -> dict[str, Any]:
    """Part 2."""
    from diffusers import DDIMScheduler, DPMSolverMultistepScheduler

    def nothing(x: Tensor, *_: Any) -> Tensor:
        return x

    small = in_precision(build_network(PRESETS["fashion"].recipe.network, SHAPE[1:], 0, 0).eval(), "auto")
    works = {
        "ebbtide, DDIM": ours(nothing, Ddim()),
        "diffusers, DDIM": theirs(nothing, DDIMScheduler()),
        "ebbtide, DPM-Solver++ 2M": ours(nothing, DpmSolver2M()),
        "diffusers, DPM-Solver++ 2M": theirs(nothing, DPMSolverMultistepScheduler()),
        "the small network with DDIM": ours(small, Ddim()),
    }
    seconds = measure.interleaved(works, rounds, warmup=1)
    whole = seconds["the small network with DDIM"]
    rows, results = [], {}
    for name, taken in seconds.items():
        step = measure.Spread.of([1e3 * s / STEPS for s in taken])
        share = measure.Spread.of([s / w for s, w in zip(taken, whole, strict=True)])
        rows.append((name, step.words(3), f"{share.median:.1%}"))
        results[name] = {"milliseconds_a_step": step, "share_of_the_small_network": share}
    measure.show(
        "sampling-overhead",
        f"A step around a network that does nothing, batch {BATCH}, 28x28",
        ("loop", "ms a step (middle half)", "share of a step with the small network"),
        rows,
    )
    return results


def main() -> None:
    rounds = measure.options(__doc__, ("--rounds", {"type": int, "default": 7, "help": "of each, in turns"})).rounds
    measure.save("sampling_speed", {"images": images(rounds), "overhead": overhead(rounds)})


if __name__ == "__main__":
    main()
