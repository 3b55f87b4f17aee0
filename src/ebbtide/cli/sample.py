"""ebbtide sample: new pictures from a run."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from rich.progress import track
from torch import Tensor

from ebbtide.cli.options import check_file, given, new_folder, parse, screen, styled, wrote
from ebbtide.errors import EbbtideError, require
from ebbtide.evaluation.pictures import save_gif, save_numbered, save_png
from ebbtide.files import clear_disk_errors, write_atomically
from ebbtide.recipes import showing
from ebbtide.recipes.build import build_data
from ebbtide.recipes.draw import BATCH, Drawing, draw, labels_for
from ebbtide.recipes.recipe import GridName, SamplerName
from ebbtide.recipes.run import Run, Weights, drawn_by, open_run
from ebbtide.recipes.samplers import SAMPLERS
from ebbtide.training.machine import device_of

FILMED = 36


@dataclass(frozen=True)
class SampleOptions:
    """Draw new samples: numbered PNG files and a grid (for points in the plane, a figure and an npz)."""

    run: tyro.conf.Positional[Path]
    """The run's folder."""
    n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 64
    """How many."""
    sampler: SamplerName | None = None
    """`ebbtide samplers` says what they are. None: as the run's recipe says, or ddim if --eta is given."""
    steps: int | None = None
    """Steps a sample; None: as the run's recipe says."""
    grid: GridName | None = None
    """Times of the steps: uniform in t, quadratic, log-snr, karras (short steps where there is little noise), or
    measured (where this network's steps err most)."""
    eta: float | None = None
    """Noise added along the way, 0 to 1, by samplers that have an eta."""
    seed: int = 0
    """Sample k of a seed is the same picture in any batch."""
    label: str | None = None
    """Draw this class only ("none": without a label); None: all classes in turn."""
    batch: int = BATCH
    """Samples at a time."""
    weights: Weights = "average"
    """The averaged weights, or the last ones."""
    device: str = "auto"
    """Where to compute: auto (a GPU that torch sees, else the CPU), cpu, cuda, cuda:1, mps."""
    out: Path | None = None
    """Where to; None: RUN/samples-SEED."""
    npz: Path | None = None
    """Also write `images` (uint8, N x H x W or N x H x W x C) and `labels` to this file."""
    gif: bool = False
    """Also a film of the way from noise to image."""
    film: bool = False
    """Also a strip of moments on the way from noise to image."""
    overwrite: bool = False
    """Write into a folder that is not empty."""


def sample(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    options = parse(SampleOptions, "sample", arguments)
    run = open_run(options.run)
    if options.eta is not None and options.sampler is None:
        options = replace(options, sampler="ddim")
    run = drawn_by(run, **given(options, ("sampler", "steps", "grid", "eta")))
    require(options.n >= 1, f"-n {options.n} came, expected at least 1")
    require(options.steps is None or options.steps >= 1, f"--steps {options.steps} came, expected at least 1")
    require(options.batch >= 1, f"--batch {options.batch} came, expected at least 1")
    require(options.seed >= 0, f"--seed {options.seed} came, expected at least 0")
    with_eta = [name for name, about in SAMPLERS.items() if about.eta is not None]
    require(
        options.eta is None or run.recipe.sampling.sampler in with_eta,
        f"--eta {options.eta} came with --sampler {options.sampler}, but only {', '.join(with_eta)} have an eta",
    )
    check_file(options.npz, "--npz")
    moving = options.gif or options.film
    require(run.data.is_image or not moving, "--gif and --film came for a run on points: they are for images")
    device = device_of(options.device)
    denoiser = run.denoiser(device, options.weights)
    labels = labels_for(run, options.n, options.label)
    drawings = draw(run, denoiser, options.n, seed=options.seed, labels=labels, batch=options.batch, device=device)
    first = next(drawings)  # wrong steps for the schedule show here, before anything is written
    out = options.out or run.path / f"samples-{options.seed}"
    with new_folder(out, options.overwrite), clear_disk_errors(out):
        x, frames, times = _collect(drawings, first, run, options)
        if run.data.is_image:
            _write_images(run, x, labels, frames, times, options, out)
        else:
            _write_points(run, x, labels, options, out)
    return 0


def _collect(
    drawings: Iterator[Drawing], first: Drawing, run: Run, options: SampleOptions
) -> tuple[Tensor, list[Tensor], list[float]]:
    """All samples, and what the first few looked like after each step."""
    done: list[Tensor] = []
    frames: list[Tensor] = []
    times: list[float] = []
    batches = -(-options.n // options.batch)

    def everything() -> Iterator[Drawing]:
        yield first
        yield from drawings

    total = batches * run.recipe.sampling.steps
    for drawing in track(everything(), "sampling", total, console=screen, disable=not screen.is_terminal):
        if drawing.first == 0:
            frames.append(drawing.step.x[:FILMED].cpu())
            times.append(drawing.step.t)
        if drawing.step.t == 0:
            done.append(drawing.step.x.cpu())
    return torch.cat(done), frames, times


def _write_images(
    run: Run,
    x: Tensor,
    labels: Tensor | None,
    frames: list[Tensor],
    times: list[float],
    options: SampleOptions,
    out: Path,
) -> None:
    images = run.to_bytes(x)
    save_numbered(images, out)
    wrote(out, f"{len(images)} pictures")
    columns = showing.columns_of(run) if options.label is None else None
    wrote(save_png(showing.sheet(run, x, columns), out / "grid.png"), "grid")
    if options.film:
        few = [frame[: showing.FILM_ROWS] for frame in frames]
        wrote(save_png(showing.film_of(run, few, times), out / "film.png"), "film strip")
    if options.gif:
        sheets = [showing.sheet(run, frame) for frame in frames]
        wrote(save_gif(sheets, out / "film.gif"), "film")
    if options.npz:
        array = images.numpy()
        _write_npz(options.npz, {"images": array[..., 0] if array.shape[-1] == 1 else array}, labels)


def _write_points(run: Run, x: Tensor, labels: Tensor | None, options: SampleOptions, out: Path) -> None:
    _write_npz(options.npz or out / "points.npz", {"points": x.numpy()}, labels)
    if x.shape[1] == 2:
        try:
            dataset = build_data(run.recipe.data)
        except EbbtideError as error:
            screen.print(styled(("note", "yellow"), f" no figure, as the data to compare with cannot be read: {error}"))
            return
        data = dataset.batch(range(min(len(x), len(dataset)))).x0
        wrote(write_atomically(out / "points.png", showing.points(x, data)), "figure")


def _write_npz(path: Path, arrays: dict[str, np.ndarray], labels: Tensor | None) -> None:
    if labels is not None:
        arrays["labels"] = labels.numpy()
    data = io.BytesIO()
    np.savez_compressed(data, **arrays)  # type: ignore[arg-type]
    wrote(write_atomically(path, data.getvalue()), " and ".join(arrays))
