"""ebbtide restore: real pictures, worn away and brought back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress, track
from rich.table import Table
from torch import Tensor

from ebbtide.cli.features import features_of
from ebbtide.cli.fields import Positional
from ebbtide.cli.options import given, parse, screen, wrote
from ebbtide.cli.reading import read_mask, read_picture
from ebbtide.cli.results import check_file, say_whose
from ebbtide.conditions import NO_LABEL
from ebbtide.corruptions import GaussianCorruption
from ebbtide.errors import EbbtideError, require
from ebbtide.evaluation.pictures import save_png, side_by_side
from ebbtide.evaluation.restoration import LIKENESS, likeness_rows, told
from ebbtide.guidance import Inpainted
from ebbtide.json_files import write_json
from ebbtide.recipes.draw import grid_back, labels_for, own_labels, restore_examples
from ebbtide.recipes.evaluate import LEAST, EvaluateSettings, sides
from ebbtide.recipes.recipe import SamplerName
from ebbtide.recipes.restoring import Likeness, likenesses
from ebbtide.recipes.run import Run, Weights, drawn_by, open_run
from ebbtide.recipes.run_data import data_of
from ebbtide.training.machine import device_of

SHOWN = 100
"""The sheet shows so many."""


@dataclass(frozen=True)
class RestoreOptions:
    """Wear real pictures down to a level and bring them back: noise, or whatever the run has learned to undo (deblur,
    enlarge, fill in, lift the snow). Writes original, corrupted and restored side by side.

    With a mask, what is white in it is painted anew, and the rest of the picture stays as it is.
    """

    run: Positional[Path]
    """The run's folder."""
    images: Positional[tuple[Path, ...]] = ()
    """Picture files, of the size that the run was trained on."""
    examples: int = 0
    """Also restore this many examples of the run's own data: held-out ones where it has a test set."""
    data: str | None = None
    """Another source than the run's own, such as where the data lie now."""
    level: float | None = None
    """How far to go, from 0 (not at all) to 1 (nothing left). None: 0.5 for noise, 1 with a mask and for others."""
    degraded: bool = False
    """The pictures are blurred, coarse, ... already: as they would be at --level."""
    mask: Path | None = None
    """A picture that is white where the others are to be painted anew, black where they are known."""
    measure: int = 0
    """Also restore this many held-out examples, and say how like their originals they are: PSNR, SSIM (needs
    ebbtide[metrics]) and Fréchet distance of the corrupted, the restored directly, and step by step."""
    sampler: SamplerName | None = None
    """`ebbtide samplers` lists them. None: as the run's recipe says; with a mask pc, which heeds what is known best."""
    steps: int | None = None
    """Steps for the whole way; a level of 0.5 takes half of them. None: as the run's recipe says."""
    label: str | None = None
    """What the network is told of all of them: a class, or none. None: of the run's own examples the labels that they
    have, of picture files nothing."""
    seed: int = 0
    """Chance in what wears them away."""
    resize: bool = False
    """Scale and crop pictures of another size."""
    weights: Weights = "average"
    """The averaged weights, or the last ones."""
    device: str = "auto"
    """Where to compute: auto (a GPU that torch sees, else the CPU), cpu, cuda, cuda:1, mps."""
    out: Path | None = None
    """The picture to write; None: RUN/pictures/restored.png."""
    overwrite: bool = False
    """Write over --out if it exists."""


def restore(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    options = parse(RestoreOptions, "restore", arguments)
    run = _asked(open_run(options.run), options)
    device = device_of(options.device)
    denoiser = run.denoiser(device, options.weights)
    noise = isinstance(denoiser.corruption, GaussianCorruption)
    level = options.level if options.level is not None else (0.5 if noise and options.mask is None else 1.0)
    require(noise or options.mask is None, f"--mask came, but {run.path} learned to undo {run.recipe.corruption.name}")
    require(not (noise and options.degraded), f"--degraded came, but {run.path} learned to undo noise: leave it out")
    if options.images or options.examples:
        _pictures(run, denoiser, options, level, device)
    if options.measure:
        _measured(run, denoiser, options, level, device)
    return 0


def _asked(run: Run, options: RestoreOptions) -> Run:
    """The run as it is to be sampled, once everything that was given has been found possible."""
    require(run.data.is_image, f"{run.path} was trained on points: only pictures can be restored")
    require(options.examples >= 0, f"--examples {options.examples} came, expected at least 0")
    require(
        options.measure == 0 or options.measure >= LEAST,
        f"--measure {options.measure} came, expected at least {LEAST} (or 0: none)",
    )
    require(
        bool(options.images) or options.examples > 0 or options.measure > 0,
        "nothing to restore: name pictures, or give --examples 6",
    )
    require(
        not options.degraded or (bool(options.images) and options.examples == options.measure == 0),
        "--degraded is for picture files: name them, and leave --examples and --measure out",
    )
    level = options.level
    require(level is None or 0 < level <= 1, f"--level {level} came, expected more than 0 and at most 1")
    require(options.steps is None or options.steps >= 1, f"--steps {options.steps} came, expected at least 1")
    labels_for(run, 1, options.label)  # an unknown one is refused here
    check_file(options.out, "--out", options.overwrite)
    usual = {} if options.mask is None else {"sampler": "pc"}
    return drawn_by(run, **(usual | given(options, ("sampler", "steps"))))


def _pictures(run: Run, denoiser: Any, options: RestoreOptions, level: float, device: str) -> None:
    unknown = None if options.mask is None else read_mask(run, options.mask)
    files = (read_picture(run, path, options.resize) for path in options.images)
    own, labels = _examples(run, options)
    x0 = torch.cat([*files, own])
    if options.label is not None or labels is None:
        labels = labels_for(run, len(x0), options.label)
    else:
        labels = torch.cat([torch.full((len(options.images),), NO_LABEL), labels])
    grid = grid_back(run, denoiser, level, device=device)
    if unknown is not None:
        denoiser = Inpainted(denoiser, x0.to(device), (1 - unknown).to(device))
    given_: dict[str, Any] = {"seed": options.seed, "device": device, "degraded": options.degraded, "labels": labels}
    corrupted, steps = restore_examples(run, denoiser, x0, grid, **given_)
    restored = corrupted
    for step in track(steps, "restoring", console=screen, disable=not screen.is_terminal):
        restored = step.x
    name = run.recipe.corruption.name
    shown = corrupted if unknown is None else torch.where(unknown > 0, sum(run.data.range) / 2, x0)
    what = "noised" if name == "gaussian" else name
    reached = f"t={float(grid[0]):.3g}"
    columns = {"original": x0, f"{what} to {reached}" if unknown is None else "known": shown, "restored": restored}
    if options.degraded:
        columns.pop("original")
    line = f"restored {len(x0)} from {reached}"
    if not options.degraded:
        error = float((restored.cpu() - x0).square().mean().sqrt()) / (run.data.range[1] - run.data.range[0])
        line += f", off by {error:.1%} of the range (root mean square)"
    screen.print(line)
    strip = side_by_side({title: run.to_bytes(x[:SHOWN]) for title, x in columns.items()})
    few = f" (the first {SHOWN} of {len(x0):,})" if len(x0) > SHOWN else ""
    wrote(save_png(strip, options.out or run.pictures / "restored.png"), f"pictures{few}")


def _measured(run: Run, denoiser: Any, options: RestoreOptions, level: float, device: str) -> None:
    both = sides(run, EvaluateSettings(device=device, source=options.data))
    say_whose(both.data)
    features = features_of(both, "auto", device=device)
    grid = grid_back(run, denoiser, level, device=device)
    rows: list[Likeness] = []
    with Progress(console=screen, disable=not screen.is_terminal) as bar:
        task = bar.add_task("measuring", total=min(options.measure, len(both.unseen)))
        found = likenesses(
            run, denoiser, both, features, count=options.measure, grid=grid, seed=options.seed, device=device
        )
        for happening in found:
            if isinstance(happening, int):
                bar.update(task, completed=happening)
            else:
                rows = happening
    sampling = run.recipe.sampling
    content: dict[str, Any] = {
        "level": float(grid[0]),
        "labels": bool(run.data.classes) and both.unseen.labels is not None,
        "steps": sampling.steps,
        "sampler": sampling.sampler,
        "features": features.name,
        "count": min(options.measure, len(both.unseen)),
        "of": "the test split" if both.split == "test" else "half of the data that it learned from",
        "rows": [asdict(row) for row in rows],
    }
    table = Table(box=None, header_style="bold")
    for head in (f"at t={float(grid[0]):.3g}", *LIKENESS.values()):
        table.add_column(head)
    for line in likeness_rows(content):
        table.add_row(*line)
    screen.print(table)
    screen.print(told(content))
    wrote(write_json(run.path / f"{both.data.name('restoration')}.json", content), "measured")


def _examples(run: Run, options: RestoreOptions) -> tuple[Tensor, Tensor | None]:
    """Examples of the run's data, from its test set if there is one, and their labels as the run knows them."""
    count = options.examples
    if count == 0:
        return torch.empty(0, *run.data.event_shape), torch.empty(0, dtype=torch.int64) if run.data.classes else None
    data = data_of(run, options.data)
    try:
        dataset = data.whole("test")
    except EbbtideError:
        dataset = data.whole("train")
    spread = torch.linspace(0, len(dataset) - 1, min(count, len(dataset))).round().long()
    return dataset.batch(spread).x0, own_labels(run, dataset, spread)
