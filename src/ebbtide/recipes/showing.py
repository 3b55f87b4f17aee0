"""Pictures of a run: sample grids over training, the final grid, the film from noise to image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ebbtide.corruptions import GaussianCorruption
from ebbtide.data import Dataset
from ebbtide.evaluation import figures
from ebbtide.evaluation.pictures import film_strip, picture_grid, save_png
from ebbtide.files import write_atomically
from ebbtide.recipes.draw import draw, draw_all, labels_for
from ebbtide.recipes.recipe import SamplingRecipe
from ebbtide.recipes.run import Run, with_sampling

QUICK_STEPS = 20
FILM_ROWS = 6
FILM_COLUMNS = 10
POINTS = 2000


def progress_picture(run: Run, denoiser: Any, dataset: Dataset, step: int, device: torch.device | str) -> Path:
    """A grid of the same few samples, in few steps, at this point of training."""
    sampling = _quick(run.recipe.sampling, denoiser)
    quick = with_sampling(run, sampling)
    count, columns = _grid_shape(run, 40 if run.data.is_image else POINTS)
    x = draw_all(quick, denoiser, count, labels=labels_for(run, count), device=device)
    return _save(run, x, dataset, run.path / "samples" / f"step-{step:08d}.png", columns)


def final(run: Run, denoiser: Any, dataset: Dataset, device: torch.device | str) -> list[Path]:
    """The final grid by the recipe's own sampler, and for images the film from noise to image."""
    count, columns = _grid_shape(run, 100 if run.data.is_image else POINTS)
    frames: list[Tensor] = []
    times: list[float] = []
    x = torch.empty(0)
    for drawing in draw(run, denoiser, count, labels=labels_for(run, count), batch=count, device=device):
        x = drawing.step.x.cpu()
        frames.append(x[:FILM_ROWS])
        times.append(drawing.step.t)
    paths = [_save(run, x, dataset, run.pictures / "final.png", columns)]
    if run.data.is_image:
        paths.append(save_png(film_of(run, frames, times), run.pictures / "film.png"))
    return paths


def film_of(run: Run, frames: Sequence[Tensor], times: Sequence[float]) -> Image.Image:
    """A strip of at most ten moments, evenly chosen, the last one always among them."""
    chosen = figures.evenly(list(range(len(frames))), FILM_COLUMNS)
    return film_strip([run.to_bytes(frames[i]) for i in chosen], [f"t={times[i]:.2f}" for i in chosen])


def sheet(run: Run, x: Tensor, columns: int | None = None) -> Image.Image:
    """A grid of samples."""
    return picture_grid(run.to_bytes(x), columns=columns)


def columns_of(run: Run) -> int | None:
    """How many pictures a row so that each column is one class: all classes once, or several times if they are few."""
    classes = len(run.data.classes)
    return classes * max(1, 10 // classes) if 2 <= classes <= 20 else None


def points(sampled: Tensor, data: Tensor) -> bytes:
    """Points of the plane beside the data, as PNG."""
    return figures.png_bytes(figures.points_figure(_in_plane(sampled), _in_plane(data)))


def _in_plane(x: Tensor) -> Tensor:
    """The first two coordinates; numbers lie on a line."""
    return x[:, :2] if x.shape[1] > 1 else torch.cat([x, torch.zeros_like(x)], dim=1)


def _save(run: Run, x: Tensor, dataset: Dataset, path: Path, columns: int | None) -> Path:
    if run.data.is_image:
        return save_png(sheet(run, x, columns), path)
    data = dataset.batch(torch.arange(min(len(x), len(dataset)))).x0
    return write_atomically(path, points(x, data))


def _grid_shape(run: Run, about: int) -> tuple[int, int | None]:
    """How many samples, and how many a row: whole rows of all classes where that is possible."""
    columns = columns_of(run)
    if run.data.is_image and columns is not None:
        return max(1, about // columns) * columns, columns
    return about, None


def _quick(sampling: SamplingRecipe, denoiser: Any) -> SamplingRecipe:
    """Few steps; of Gaussian noise by DDIM, which has them in any number."""
    available = denoiser.corruption.steps
    few = QUICK_STEPS if available is None else min(QUICK_STEPS, available)
    if isinstance(denoiser.corruption, GaussianCorruption):
        return replace(sampling, sampler="ddim", eta=0.0, steps=few)
    return sampling if sampling.sampler == "previous" else replace(sampling, steps=min(few, sampling.steps))
