"""ebbtide restore: real pictures, noised and brought back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
from ebbtide.guidance import Inpainted
from ebbtide.recipes.build import build_data
from ebbtide.recipes.draw import restore_examples
from ebbtide.recipes.recipe import SamplerName
from ebbtide.recipes.run import Run, Weights, drawn_by, open_run


@dataclass(frozen=True)
class RestoreOptions:
    """Noise real pictures to a level and bring them back; writes original, noised and restored side by side.

    With a mask, what is white in it is painted anew, and the rest of the picture stays as it is.
    """

    run: tyro.conf.Positional[Path]
    """The run's folder."""
    images: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Picture files, of the size that the run was trained on."""
    examples: int = 0
    """Also restore this many examples of the run's own data: held-out ones where it has a test set."""
    level: float | None = None
    """How far to noise, from 0 (not at all) to 1 (nothing left). None: 0.5, or 1 with a mask."""
    mask: Path | None = None
    """A picture that is white where the others are to be painted anew, black where they are known."""
    sampler: SamplerName | None = None
    """None: as the run's recipe says; with a mask pc, which heeds what is known best."""
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
    level = options.level if options.level is not None else (0.5 if options.mask is None else 1.0)
    require(0 < level <= 1, f"--level {level} came, expected more than 0 and at most 1")
    require(options.steps is None or options.steps >= 1, f"--steps {options.steps} came, expected at least 1")
    check_file(options.out, "--out")
    usual = {} if options.mask is None else {"sampler": "pc"}
    run = drawn_by(run, **(usual | given(options, ("sampler", "steps"))))
    unknown = None if options.mask is None else _read_mask(run, options.mask)
    x0 = torch.cat([*(_read(run, path, options.resize) for path in options.images), _examples(run, options.examples)])
    device = "cuda" if torch.cuda.is_available() else "cpu"
    denoiser = run.denoiser(device, options.weights)
    if unknown is not None:
        denoiser = Inpainted(denoiser, x0.to(device), (1 - unknown).to(device))
    noised, steps = restore_examples(run, denoiser, x0, level, seed=options.seed, device=device)
    restored = noised
    for step in track(steps, "restoring", console=screen, disable=not screen.is_terminal):
        restored = step.x
    shown = noised if unknown is None else torch.where(unknown > 0, sum(run.data.range) / 2, x0)
    titles = ("original", f"noised to t={level:g}" if unknown is None else "known", "restored")
    columns = {title: run.to_bytes(x) for title, x in zip(titles, (x0, shown, restored), strict=True)}
    error = float((restored.cpu() - x0).square().mean().sqrt()) / (run.data.range[1] - run.data.range[0])
    screen.print(f"restored {len(x0)} from t={level:g}, off by {error:.1%} of the range (root mean square)")
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


def _read_mask(run: Run, path: Path) -> Tensor:
    """1 where the picture is white, 0 where it is black, (1, height, width), scaled to the run's size."""
    _, height, width = run.data.event_shape
    require(path.is_file(), f"there is no mask {path}")
    try:
        with Image.open(path) as image:
            grey = image.convert("L").resize((width, height), Image.Resampling.NEAREST)
    except (UnidentifiedImageError, OSError):
        raise EbbtideError(f"{path} cannot be read as a picture") from None
    white = torch.tensor(list(grey.tobytes()), dtype=torch.float32).reshape(1, height, width) > 127
    require(
        bool(white.any()) and not bool(white.all()),
        f"the mask {path} is all {'white' if bool(white.all()) else 'black'}: expected white where to paint",
    )
    return white.float()


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
