"""How well a run restores: held-out pictures worn to a level, and what is made of them.

As the tables of Bansal et al. (2022, arXiv:2208.09392): the degraded pictures themselves, restored directly (the
network's first answer), and sampled (step by step, by the run's sampling recipe). Against the originals one by one PSNR
and SSIM, against all training pictures the Fréchet distance.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ebbtide.conditions import Condition
from ebbtide.data.dataset import spread
from ebbtide.evaluation.metrics import Measured, frechet, frechet_error, has_ssim, psnr, ssim
from ebbtide.recipes.draw import Times, own_labels, restore_examples
from ebbtide.recipes.evaluate import Sides, Sketch
from ebbtide.recipes.features import Features
from ebbtide.recipes.run import Run

BATCH = 250
MOST_PSNR = 100.0
"""dB that a picture restored to the bit counts as in a mean."""


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """Of one set: its name, the means of PSNR (dB) and SSIM over its pictures, and its Fréchet distance."""

    name: str
    psnr: Measured
    ssim: Measured | None
    frechet: Measured


class _Set:
    """What is kept of a set of pictures: likenesses and features."""

    def __init__(self, features: Features) -> None:
        self.sketch = Sketch(features)
        self.found: dict[str, list[np.ndarray]] = {"psnr": [], "ssim": []}

    def add(self, pictures: np.ndarray, originals: np.ndarray) -> None:
        self.sketch.add(pictures)
        self.found["psnr"].append(psnr(pictures, originals).clip(max=MOST_PSNR))
        if has_ssim(pictures.shape[1:3]):
            self.found["ssim"].append(ssim(pictures, originals))

    def told(self, name: str, real: Sketch) -> Likeness:
        kept = self.sketch
        distance = Measured(
            frechet(kept.moments, real.moments), frechet_error(kept.moments, real.moments, kept.rows, real.rows)
        )
        means = {key: _mean(np.concatenate(values)) if values else None for key, values in self.found.items()}
        assert means["psnr"] is not None
        return Likeness(name=name, psnr=means["psnr"], ssim=means["ssim"], frechet=distance)


def _mean(values: np.ndarray) -> Measured:
    return Measured(float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5))


def likenesses(
    run: Run,
    denoiser: Any,
    both: Sides,
    features: Features,
    *,
    count: int,
    grid: Times,
    seed: int = 0,
    device: str = "cpu",
    real: Sketch | None = None,
) -> Iterator[int | list[Likeness]]:
    """Yields how many are done, and in the end the rows: degraded, direct (where x0 is predicted), sampled.

    grid: the times of the way back (`draw.grid_back`). A run that has learned labels is told those of the pictures.

    real: the training pictures told in the features, for those who measure several times.
    """
    chosen = both.unseen.subset(spread(len(both.unseen), min(count, len(both.unseen))))
    direct = run.recipe.objective.predicts != "previous"
    sets = {name: _Set(features) for name in ("degraded", "direct", "sampled") if direct or name != "direct"}
    for first in range(0, len(chosen), BATCH):
        indices = torch.arange(first, min(first + BATCH, len(chosen)))
        x0, labels = chosen.batch(indices).x0, own_labels(run, chosen, indices)
        xt, steps = restore_examples(run, denoiser, x0, grid, seed=seed, offset=first, labels=labels, device=device)
        answers = {"degraded": xt}
        if direct:
            with torch.inference_mode():
                answers["direct"] = denoiser(xt, grid[:1].expand(len(x0)), Condition(label=labels).to(device)).x0
        for step in steps:
            answers["sampled"] = step.x
        originals = run.to_bytes(x0).numpy()
        for name, x in answers.items():
            sets[name].add(_bytes(run, x), originals)
        yield first + len(x0)
    real = real or Sketch.of(both.reference, features)
    yield [kept.told(name, real) for name, kept in sets.items()]


def _bytes(run: Run, x: Tensor) -> np.ndarray:
    return run.to_bytes(x.float()).numpy()
