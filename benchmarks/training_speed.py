"""Training images/s against the libraries that users would pick instead, and how near the machine's peak we come.

    python benchmarks/training_speed.py [--rounds 7]

1. The default small network against the peers' usual recipe: what a user gets without any flag, pictures of 32x32.
2. Networks of one shape, layer by layer, 48 and 96 channels: diffusers' UNet2DModel in their loop, ours in ours.
3. FLOP/s of our training step over the best matrix product of the same run, for the small and the base network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import measure
import peers
from ebbtide.data import Dataset
from ebbtide.recipes.build import build_network, build_objective, build_schedule, build_settings, build_trainee
from ebbtide.recipes.presets import PRESETS
from ebbtide.recipes.recipe import NetworkRecipe, Recipe
from ebbtide.training import Update, fit
from ebbtide.training.machine import accelerator_of, native_bf16, product_rate

BATCH = 64
SIZE = 32


SAME_SHAPE = NetworkRecipe(channels=48, multipliers=(1, 2), blocks=1, attention=(False, False), lean=False)
"""The network of `peers.small_network`, layer by layer, as ebbtide writes it."""


PARTS = {"images": 64, "cifar10-base": 16}
"""Presets whose share of the peak is told, and how many images are computed at a time; the batch is the preset's."""


def in_parts(recipe: Recipe, part: int) -> Recipe:
    """The recipe with its batch computed in parts of this size."""
    return replace(recipe, training=replace(recipe.training, accumulate=recipe.training.batch // part))


def pictures(count: int = 4096, channels: int = 3) -> Dataset:
    """Bytes that look like nothing: speed does not depend on what is seen."""
    values = np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, channels), dtype=np.uint8)
    return Dataset(name="noise", values=values)


def ours(recipe: Recipe, network: nn.Module, data: Dataset) -> Iterator[Update]:
    """ebbtide's loop without an end."""
    recipe = replace(recipe, training=replace(recipe.training, updates=10**9, minutes=None))
    accelerator = accelerator_of(recipe.training.precision)
    objective = build_objective(recipe.objective, build_schedule(recipe.schedule))
    trainee = build_trainee(recipe.training, network.to(accelerator.device))
    return fit(trainee, objective, data, build_settings(recipe.training), accelerator)


def flops_an_image(step: Callable[[], object], batch: int) -> float:
    """Of one whole update, by torch's counter."""
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops() / batch


def against_the_usual(rounds: int) -> dict[str, Any]:
    """Part 1."""
    data, x0 = pictures(), torch.randn(BATCH, 3, SIZE, SIZE)
    recipe = PRESETS["images"].recipe
    recipe = replace(recipe, training=replace(recipe.training, batch=BATCH))
    loop = ours(recipe, build_network(recipe.network, data.event_shape, 0, 0), data)
    theirs = {
        "diffusers, fp32": peers.DiffusersLoop(peers.usual_network(SIZE, 3)).update,
        "diffusers, bf16 autocast": peers.DiffusersLoop(peers.usual_network(SIZE, 3), bf16=True).update,
        "denoising_diffusion_pytorch, fp32": peers.lucidrains_update(SIZE, 3),
    }
    works: dict[str, Callable[[], object]] = {"ebbtide, preset images": lambda: next(loop)}
    works |= {name: lambda update=update: update(x0) for name, update in theirs.items()}
    return _compared("training-usual", "Without any flag: pictures of 32x32, batch 64", works, rounds)


def on_one_network(rounds: int) -> dict[str, Any]:
    """Part 2."""
    data, x0 = pictures(), torch.randn(BATCH, 3, SIZE, SIZE)
    recipe = PRESETS["images"].recipe
    recipe = replace(recipe, training=replace(recipe.training, batch=BATCH, optimizer="adamw"))
    network, their_network = build_network(SAME_SHAPE, data.event_shape, 0, 0), peers.small_network(SIZE, 3)
    sizes = [sum(parameter.numel() for parameter in one.parameters()) for one in (network, their_network)]
    assert sizes[0] == sizes[1], f"the networks have {sizes} parameters: they are not of one shape"
    loop = ours(recipe, network, data)
    fp32 = peers.DiffusersLoop(peers.small_network(SIZE, 3))
    bf16 = peers.DiffusersLoop(peers.small_network(SIZE, 3), bf16=True)
    works: dict[str, Callable[[], object]] = {
        "ebbtide's loop": lambda: next(loop),
        "diffusers' loop, fp32": lambda: fp32.update(x0),
        "diffusers' loop, bf16 autocast": lambda: bf16.update(x0),
    }
    return _compared(
        "training-same", "One shape of network (48 and 96 channels), 32x32, batch 64, AdamW", works, rounds
    )


def _compared(table: str, title: str, works: dict[str, Callable[[], object]], rounds: int) -> dict[str, Any]:
    """Images/s, and how many times as fast the first is."""
    flops = {name: flops_an_image(work, BATCH) for name, work in works.items()}
    seconds = measure.interleaved(works, rounds)
    first = next(iter(works))
    rows, results = [], {}
    for name, taken in seconds.items():
        speed = measure.Spread.of([BATCH / s for s in taken])
        ratio = measure.ratios(taken, seconds[first])
        rows.append((name, f"{flops[name] / 1e9:.2f}", speed.words(), ratio.words(2)))
        results[name] = {"gflop_an_image": flops[name] / 1e9, "images_a_second": speed, "times_the_first": ratio}
    measure.show(table, title, ("loop", "GFLOP an image", "images/s (middle half)", f"{first} is faster by"), rows)
    return results


def of_the_peak(rounds: int) -> dict[str, Any]:
    """Part 3."""
    dtype = torch.bfloat16 if native_bf16() else torch.float32
    data = pictures()
    rows, results = [], {}
    for name, part in PARTS.items():
        recipe = in_parts(PRESETS[name].recipe, part)
        batch = recipe.training.batch
        loop = ours(recipe, build_network(recipe.network, data.event_shape, 0, 0), data)
        work = partial(next, loop)
        flops = flops_an_image(work, batch) * batch
        product = torch.randn(1024, 1024).to(dtype)
        multiply = partial(torch.matmul, product, product)
        seconds = measure.interleaved({"step": work, "product": multiply}, max(2, rounds // 3), warmup=1)
        peak = max(product_rate(native_bf16(), repeats=10), 2 * 1024**3 / min(seconds["product"]))
        rate = measure.Spread.of([flops / s for s in seconds["step"]])
        rows.append(
            (
                f"{name}, batch {batch} in parts of {part}",
                f"{flops / batch / 1e9:.2f}",
                (f"{rate.median / 1e9:,.0f}"),
                f"{peak / 1e9:,.0f}",
                f"{rate.median / peak:.0%}",
            )
        )
        results[name] = {"flops_an_update": flops, "flop_rate": rate, "peak": peak, "share": rate.median / peak}
    measure.show(
        "training-peak",
        f"FLOP/s of a training step over the best matrix product ({dtype})",
        ("preset", "GFLOP an image", "GFLOP/s", "peak GFLOP/s", "share"),
        rows,
    )
    return results


def main() -> None:
    rounds = measure.options(__doc__, ("--rounds", {"type": int, "default": 7, "help": "of each, in turns"})).rounds
    measure.save(
        "training_speed",
        {"usual": against_the_usual(rounds), "one_network": on_one_network(rounds), "peak": of_the_peak(rounds)},
    )


if __name__ == "__main__":
    main()
