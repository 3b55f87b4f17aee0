"""Bits a dimension of runs on held-out images, beside codes without a network; how certain each form of the bound is.

    python benchmarks/bits.py RUN [RUN ...] [--examples 1000] [--forms]

--forms: for the last run, the bound of one chain of 200 steps in two forms, KL in closed form and sampled (item E10):
their means and their variances over draws of the noise.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import torch

import measure
from ebbtide.evaluation.codes import histogram_bits, png_bits
from ebbtide.likelihood.ladder import Steps
from ebbtide.likelihood.pixels import TrainedPixels
from ebbtide.likelihood.terms import sampled_terms, step_term
from ebbtide.randomness import generator_of, normal
from ebbtide.recipes.bits import Asked, BitsSettings, ask, join
from ebbtide.recipes.bits import measure as bounds_of
from ebbtide.recipes.pixels import find_decoder, train_decoder
from ebbtide.recipes.run import Run, open_run
from ebbtide.recipes.run_data import data_of

CHAIN, IMAGES, DRAWS = 200, 8, 8


def of_run(run: Run, examples: int) -> dict[str, Any]:
    """Both last decoders, and the codes."""
    found: dict[str, Any] = {}
    train = data_of(run).train
    for decoder, noise in (("bins", 1.0), ("trained", 4.0)):
        asked = ask(run, BitsSettings(examples=examples, first_noise=noise))
        last: Any = asked.reconstruction()
        if decoder == "trained":
            if find_decoder(run, asked.ladder.first) is None:
                for _ in train_decoder(run, asked.denoiser, train, asked.ladder.first):
                    pass
            network = find_decoder(run, asked.ladder.first)
            assert network is not None
            last = TrainedPixels(run.data.value_range, network)
        started = time.perf_counter()
        bound = join(list(bounds_of(asked, last)))
        found[decoder] = {
            "bits": bound.bits,
            "steps": bound.in_bits(bound.steps),
            "reconstruction": bound.in_bits(bound.reconstruction),
            "noise_error": bound.noise_error,
            "example_error": bound.example_error,
            "seconds": time.perf_counter() - started,
        }
    test = asked.examples.values
    return found | {"examples": len(test), "histogram": histogram_bits(train.values, test), "png": png_bits(test)}


@torch.inference_mode()
def forms(asked: Asked) -> dict[str, dict[str, float]]:
    """Mean and variance over draws, bits a dimension, of the middle of the bound of a few images."""
    ladder = Steps.of(asked.denoiser.corruption.schedule, CHAIN, "step")
    some = asked.examples.subset(list(range(IMAGES)))
    batch = some.batch(list(range(IMAGES)))
    x0, told = batch.x0, batch.condition if some.labels is not None else None
    level = asked.denoiser.corruption.level(ladder.times)
    d = x0[0].numel()
    between = float((level.sigma[0] / level.sigma[-1]).log()) * d
    closed, sampled = [], []
    for draw in range(DRAWS):
        generator = generator_of("forms", draw)
        total = torch.zeros(IMAGES, dtype=torch.float64)
        for s, t in zip(ladder.times[:-1], ladder.times[1:], strict=True):
            eps = normal(x0.shape, generator)
            total += step_term(asked.denoiser, x0, eps, s.expand(IMAGES), t.expand(IMAGES), "step", told).nats
        closed.append(total)
        sampled.append(sampled_terms(asked.denoiser, x0, ladder.times, generator, "step", told).sum(1) - between)
    unit = d * math.log(2)
    return {
        name: {
            "mean": float(torch.stack(values).mean()) / unit,
            "variance": float(torch.stack(values).var(0).mean()) / unit**2,
        }
        for name, values in (("KL in closed form", closed), ("sampled", sampled))
    }


def main() -> None:
    options = measure.options(
        __doc__,
        ("runs", {"type": Path, "nargs": "+"}),
        ("--examples", {"type": int, "default": 1000}),
        ("--forms", {"action": "store_true"}),
    )
    rows, results = [], {}
    for path in options.runs:
        run = open_run(path)
        found = of_run(run, options.examples)
        results[run.data.name] = found
        for decoder in ("trained", "bins"):
            one = found[decoder]
            rows.append(
                (
                    f"{run.data.name}, last decoder {decoder}",
                    f"{one['bits']:.3f} ± {one['noise_error']:.3f}",
                    f"{one['steps']:.3f} + {one['reconstruction']:.3f}",
                    f"± {one['example_error']:.3f}",
                    f"{one['seconds']:.0f} s",
                )
            )
        rows.append((f"{run.data.name}, a histogram of each pixel", f"{found['histogram']:.3f}", "", "", ""))
        rows.append((f"{run.data.name}, PNG files", f"{found['png']:.3f}", "", "", ""))
    heads = ("code", "bits a dimension", "steps + last step", "choice of images", "time")
    measure.show("bits", f"Up to {options.examples:,} test images", heads, rows)
    if options.forms:
        asked = ask(open_run(options.runs[-1]), BitsSettings(examples=IMAGES))
        results["forms"] = forms(asked)
        lines = [(name, f"{v['mean']:.4f}", f"{v['variance']:.2e}") for name, v in results["forms"].items()]
        title = f"{CHAIN} steps, {IMAGES} images, {DRAWS} draws of the noise"
        measure.show("forms", title, ("form of the bound", "mean, bits a dimension", "variance of one draw"), lines)
    measure.save("bits", results)


if __name__ == "__main__":
    main()
