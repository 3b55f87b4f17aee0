"""ebbtide restore: real pictures, noised and brought back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import tyro
from PIL import Image, UnidentifiedImageError
from rich.progress import track
from torch import Tensor

from ebbtide.cli.options import check_file, given, parse, screen, wrote
from ebbtide.data import Dataset
from ebbtide.data.colour import recolour
from ebbtide.data.images import decode
from ebbtide.errors import EbbtideError, require
from ebbtide.evaluation.pictures import save_png, side_by_side
from ebbtide.recipes.build import build_data
from ebbtide.recipes.draw import restore_examples
from ebbtide.recipes.recipe import SamplerName
from ebbtide.recipes.run import Run, Weights, open_run, with_sampling


@dataclass(frozen=True)
class RestoreOptions:
    """Noise real pictures to a level and bring them back; writes original, noised and restored side by side."""

    run: tyro.conf.Positional[Path]
    """The run's folder."""
    images: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Picture files, of the size that the run was trained on."""
    examples: int = 0
    """Also restore this many examples of the run's own data: held-out ones where it has a test set."""
    level: float = 0.5
    """How far to noise, from 0 (not at all) to 1 (nothing left)."""
    sampler: SamplerName | None = None
    """None: as the run's recipe says."""
    steps: int | None = None
    """Steps for the whole way; a level of 0.5 takes half of them. None: as the run's recipe says."""
    seed: int = 0
    """The noise."""
    resize: bool = False
    """Scale and crop pictures of another size."""
    weights: Weights = "average"
    """The averaged weights, or the last ones."""
    out: Path | None = None
    """The picture to write; None: RUN/pictures/restored.png."""


def restore(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    options = parse(RestoreOptions, "restore", arguments)
    run = open_run(options.run)
    require(run.data.is_image, f"{run.path} was trained on points: only pictures can be restored")
    require(options.examples >= 0, f"--examples {options.examples} came, expected at least 0")
    require(bool(options.images) or options.examples > 0, "nothing to restore: name pictures, or give --examples 6")
    require(0 < options.level <= 1, f"--level {options.level} came, expected more than 0 and at most 1")
    require(options.steps is None or options.steps >= 1, f"--steps {options.steps} came, expected at least 1")
    check_file(options.out, "--out")
    run = with_sampling(run, replace(run.recipe.sampling, **given(options, ("sampler", "steps"))))
    x0 = torch.cat([*(_read(run, path, options.resize) for path in options.images), _examples(run, options.examples)])
    device = "cuda" if torch.cuda.is_available() else "cpu"
    denoiser = run.denoiser(device, options.weights)
    noised, steps = restore_examples(run, denoiser, x0, options.level, seed=options.seed, device=device)
    restored = noised
    for step in track(steps, "restoring", console=screen, disable=not screen.is_terminal):
        restored = step.x
    titles = ("original", f"noised to t={options.level:g}", "restored")
    columns = {title: run.to_bytes(x) for title, x in zip(titles, (x0, noised, restored), strict=True)}
    error = float((restored.cpu() - x0).square().mean().sqrt()) / (run.data.range[1] - run.data.range[0])
    screen.print(f"restored {len(x0)} from t={options.level:g}, off by {error:.1%} of the range (root mean square)")
    wrote(save_png(side_by_side(columns), options.out or run.pictures / "restored.png"), "pictures")
    return 0


def _read(run: Run, path: Path, resize: bool) -> Tensor:
    """One picture as (1, channels, height, width) in the run's range."""
    channels, height, width = run.data.event_shape
    require(path.is_file(), f"there is no picture {path}")
    try:
        with Image.open(path) as image:
            size = image.size
    except (UnidentifiedImageError, OSError):
        raise EbbtideError(f"{path} cannot be read as a picture") from None
    fits = size == (width, height)
    require(
        fits or resize,
        f"{path} is {size[0]}x{size[1]} pixels, but the run's pictures are {width}x{height}: add --resize to scale it",
    )
    require(height == width, f"the run's pictures are {width}x{height}: only square ones can be read from files")
    try:
        picture = decode(path, width)
    except EbbtideError as error:
        raise EbbtideError(f"{path} cannot be read as a picture: {error}") from None
    pixels = recolour(picture[None], "grey" if channels == 1 else "rgb")[0]
    return run.data.value_range.encode(pixels).permute(2, 0, 1).unsqueeze(0)


def _examples(run: Run, count: int) -> Tensor:
    """Examples of the run's data, from its test set if there is one."""
    if count == 0:
        return torch.empty(0, *run.data.event_shape)
    dataset = _held_out(run)
    spread = torch.linspace(0, len(dataset) - 1, min(count, len(dataset))).round().long()
    return dataset.batch(spread).x0


def _held_out(run: Run) -> Dataset:
    try:
        return build_data(run.recipe.data, "test", run.data.value_range)
    except EbbtideError:
        return build_data(run.recipe.data, "train", run.data.value_range)
