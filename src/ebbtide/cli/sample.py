"""ebbtide sample: new pictures from a run."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from ebbtide.cli.fields import Positional, Short
from ebbtide.cli.options import given, parse, screen, styled, wrote
from ebbtide.cli.results import check_file, results_folder
from ebbtide.errors import EbbtideError, require
from ebbtide.evaluation.npz import new_npz
from ebbtide.evaluation.pictures import save_gif, save_numbered, save_png
from ebbtide.files import write_atomically
from ebbtide.recipes import showing
from ebbtide.recipes.draw import BATCH, Drawing, check_drawing, draw, labels_for
from ebbtide.recipes.recipe import GridName, SamplerName
from ebbtide.recipes.run import Run, Weights, drawn_by, open_run
from ebbtide.recipes.run_data import data_of
from ebbtide.recipes.samplers import SAMPLERS
from ebbtide.training.machine import device_of

FILMED = 36
WRITTEN = r"\d{5,}\.png|grid\.png|film\.(png|gif)|points\.(npz|png)"
"""Names of the files that it may write."""
SHOWN = 100
"""The grid shows so many: of a thousand it would be a ribbon."""


@dataclass(frozen=True)
class SampleOptions:
    """Draw new samples: numbered PNG files and a grid of the first hundred (for points in the plane, a figure and an
    npz). Files are written as they come, so that -n may be large; Ctrl-C leaves those that are done."""

    run: Positional[Path]
    """The run's folder."""
    n: Annotated[int, Short("-n")] = 64
    """How many."""
    sampler: SamplerName | None = None
    """`ebbtide samplers` says what they are. None: as the run's recipe says, or ddim if --eta is given
    and that one has none."""
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
    """Where to; None: RUN/samples-SEED, or with -2, -3, ... behind it the next that is free."""
    npz: Path | None = None
    """Also write `images` (uint8, N x H x W or N x H x W x C) and `labels` to this file."""
    gif: bool = False
    """Also a film of the way from noise to image."""
    film: bool = False
    """Also a strip of moments on the way from noise to image."""
    data: str | None = None
    """Points: what to show them beside, if the run's own data are no longer where they were."""
    overwrite: bool = False
    """Write into a folder that is not empty: what ebbtide wrote there is replaced, other files are left alone. Also
    replaces the file of --npz."""


def sample(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    options = parse(SampleOptions, "sample", arguments)
    run = open_run(options.run)
    own = run.recipe.sampling.sampler
    if options.eta is not None and options.sampler is None and SAMPLERS[own].eta is None:
        screen.print(f"[yellow]note[/] the run's own sampler {own} has no eta: drawn by ddim")
        options = replace(options, sampler="ddim")
    run = drawn_by(run, **given(options, ("sampler", "steps", "grid", "eta")))
    require(options.n >= 1, f"-n {options.n} came, expected at least 1")
    require(options.steps is None or options.steps >= 1, f"--steps {options.steps} came, expected at least 1")
    require(options.batch >= 1, f"--batch {options.batch} came, expected at least 1")
    require(options.seed >= 0, f"--seed {options.seed} came, expected at least 0")
    check_drawing(run)
    check_file(options.npz, "--npz", options.overwrite)
    moving = options.gif or options.film
    require(run.data.is_image or not moving, "--gif and --film came for a run on points: they are for images")
    device = device_of(options.device)
    denoiser = run.denoiser(device, options.weights)
    labels = labels_for(run, options.n, options.label)
    drawings = draw(run, denoiser, options.n, seed=options.seed, labels=labels, batch=options.batch, device=device)
    first = next(drawings)  # wrong steps for the schedule show here, before anything is written
    usual = run.path / f"samples-{options.seed}"
    with results_folder(options.out, usual, names=WRITTEN, overwrite=options.overwrite) as out:
        return _write(run, _tracked(itertools.chain([first], drawings), run, options), labels, options, out)


def _tracked(drawings: Iterator[Drawing], run: Run, options: SampleOptions) -> Iterator[Drawing]:
    """The same under a progress bar."""
    total = -(-options.n // options.batch) * run.recipe.sampling.steps
    return iter(track(drawings, "sampling", total, console=screen, disable=not screen.is_terminal))


@dataclass
class Kept:
    """What is remembered of all that is drawn: the first samples, for the grid, and the way of a few, for the film."""

    most: int
    first: list[Tensor] = field(default_factory=list)
    frames: list[Tensor] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    count: int = 0

    def take(self, drawing: Drawing) -> Tensor | None:
        """The samples of a batch, once it is done."""
        x = drawing.step.x.cpu()
        if drawing.first == 0:
            self.frames.append(x[:FILMED].clone())
            self.times.append(drawing.step.t)
        if drawing.step.t > 0:
            return None
        if self.count < self.most:
            self.first.append(x[: self.most - self.count].clone())
        self.count += len(x)
        return x

    @property
    def shown(self) -> Tensor:
        return torch.cat(self.first)


def _write(run: Run, drawings: Iterator[Drawing], labels: Tensor | None, options: SampleOptions, out: Path) -> int:
    """Write each batch as it comes; the sheets follow, of all or of as many as there were when it was stopped."""
    kept = Kept(most=SHOWN if run.data.is_image else showing.POINTS)
    npz = options.npz or (None if run.data.is_image else out / "points.npz")
    stopped = False
    try:
        with contextlib.nullcontext() if npz is None else _rows(npz, run, options.n, labels) as add:
            for drawing in drawings:
                x = kept.take(drawing)
                if x is None:
                    continue
                if run.data.is_image:
                    save_numbered(run.to_bytes(x), out, drawing.first)
                if add is not None:
                    add(run.to_bytes(x) if run.data.is_image else x)
    except KeyboardInterrupt:
        if not (run.data.is_image and kept.count):
            raise
        stopped = True
    if run.data.is_image:
        wrote(out, f"{kept.count:,} pictures")
        _write_sheets(run, kept, options, out)
    if stopped:
        screen.print(f"stopped: {kept.count:,} of {options.n:,}" + ("" if npz is None else f", and without {npz}"))
        return 130
    if npz is not None:
        wrote(npz, ("images" if run.data.is_image else "points") + ("" if labels is None else " and labels"))
    if not run.data.is_image:
        _write_figure(run, kept.shown, options.data, out)
    return 0


@contextlib.contextmanager
def _rows(path: Path, run: Run, count: int, labels: Tensor | None) -> Iterator[Callable[[Tensor], None]]:
    """A function that adds samples to the file."""
    shape: tuple[int, ...] = run.data.event_shape
    if run.data.is_image:
        channels, *sides = shape
        shape = (*sides, channels) if channels > 1 else tuple(sides)
    name, kind = ("images", np.uint8) if run.data.is_image else ("points", np.float32)
    with new_npz(path) as file:
        with file.array(name, (count, *shape), kind) as add:
            yield lambda x: add(x.numpy().reshape(len(x), *shape))
        if labels is not None:
            with file.array("labels", (count,), np.int64) as add:
                add(labels.numpy())


def _write_sheets(run: Run, kept: Kept, options: SampleOptions, out: Path) -> None:
    columns = showing.columns_of(run) if options.label is None else None
    few = f" of the first {len(kept.shown)}" if kept.count > len(kept.shown) else ""
    wrote(save_png(showing.sheet(run, kept.shown, columns), out / "grid.png"), f"grid{few}")
    if options.film:
        frames = [frame[: showing.FILM_ROWS] for frame in kept.frames]
        wrote(save_png(showing.film_of(run, frames, kept.times), out / "film.png"), "film strip")
    if options.gif:
        sheets = [showing.sheet(run, frame) for frame in kept.frames]
        wrote(save_gif(sheets, out / "film.gif"), "film")


def _write_figure(run: Run, x: Tensor, source: str | None, out: Path) -> None:
    if x.shape[1] == 2:
        try:
            dataset = data_of(run, source).train
        except EbbtideError as error:
            screen.print(styled(("note", "yellow"), f" no figure, as the data to compare with cannot be read: {error}"))
            return
        data = dataset.batch(range(min(len(x), len(dataset)))).x0
        wrote(write_atomically(out / "points.png", showing.points(x, data)), "figure")
