"""Quality against the number of network evaluations a sample, for one trained run of Fashion-MNIST.

python benchmarks/evaluations.py RUN [--samples 5000]
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import measure
from ebbtide.recipes.draw import draw_all, labels_for
from ebbtide.recipes.run import open_run, with_sampling
from frechet import Judge

COUNTS = (3, 5, 7, 10, 20, 50)
WAYS = {"dpm2m": ("dpm2m", "karras"), "dpm2m, even in t": ("dpm2m", "uniform"), "ddim": ("ddim", "karras")}


def main() -> None:
    options = measure.options(__doc__, ("run", {"type": Path}), ("--samples", {"type": int, "default": 5000}))
    judge, run = Judge(), open_run(options.run)
    denoiser, labels = run.denoiser(), labels_for(run, options.samples)
    results: dict[str, dict[int, float]] = {name: {} for name in WAYS}
    rows = []
    for steps in COUNTS:
        row = [str(steps)]
        for name, (sampler, grid) in WAYS.items():
            sampling = replace(run.recipe.sampling, sampler=sampler, grid=grid, steps=steps)
            chosen = with_sampling(run, sampling)  # type: ignore[arg-type]
            images = chosen.to_bytes(draw_all(chosen, denoiser, options.samples, labels=labels)).numpy()
            results[name][steps] = judge.distance(images)
            row.append(f"{results[name][steps]:.3f}")
            print(f"{name}, {steps} evaluations: {row[-1]}", flush=True)
        rows.append(row)
    title = f"Fréchet distance, {options.run.name}, {options.samples} samples"
    measure.show("evaluations", title, ("evaluations", *WAYS), rows)
    measure.save("evaluations", {"run": str(options.run), "samples": options.samples, "results": results})


if __name__ == "__main__":
    main()
