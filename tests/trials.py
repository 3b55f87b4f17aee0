"""Small recipes, runs and calls of the command line that several tests share."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from ebbtide.cli.main import main
from ebbtide.evaluation.records import read_records
from ebbtide.recipes.objectives import ObjectiveName, with_objective
from ebbtide.recipes.presets import PRESETS
from ebbtide.recipes.recipe import Recipe, ScheduleRecipe
from ebbtide.recipes.run import Run, Weights, open_run
from ebbtide.recipes.run_data import find_data
from ebbtide.recipes.train import train
from ebbtide.training import checkpoints
from ebbtide.training.checkpoints import Checkpoint
from ebbtide.training.state import GROUPS

SMALL = (
    *("--network.channels", "8", "--network.width", "16", "--network.depth", "1", "--training.batch", "16"),
    *("--training.pictures", "0", "--training.precision", "fp32", "--sampling.steps", "3"),
)
"""Options that make any preset quick to train."""


def small(name: str = "digits", *, dropout: float = 0.0, source: str | None = None, **training: Any) -> Recipe:
    """A preset with a network, a batch and a budget that take seconds."""
    recipe = PRESETS[name].recipe
    quick = {"updates": 6, "minutes": None, "batch": 16, "pictures": 0, "warmup": 2, "precision": "fp32"}
    return replace(
        recipe,
        data=recipe.data if source is None else replace(recipe.data, source=source, size=8, flip=False),
        network=replace(recipe.network, channels=8, width=16, depth=1, patch=1, dropout=dropout),
        training=replace(recipe.training, **(quick | training)),
        sampling=replace(recipe.sampling, steps=100 if recipe.sampling.sampler == "previous" else 3),
    )


def trained(recipe: Recipe, out: Path, **options: Any) -> list[Any]:
    """Everything that happens while the recipe trains."""
    return list(train(recipe, out, **options))


def last(out: Path) -> Checkpoint:
    """A run's newest checkpoint, whole."""
    return checkpoints.load(checkpoints.latest(out / "checkpoints"), GROUPS)


def differing(a: Checkpoint, b: Checkpoint) -> list[str]:
    """The names of the tensors that are not bitwise the same in both."""
    assert {name: set(group) for name, group in a.tensors.items()} == {n: set(g) for n, g in b.tensors.items()}
    return [
        f"{name}/{key}"
        for name, group in a.tensors.items()
        for key, value in group.items()
        if not torch.equal(value, b.tensors[name][key])
    ]


def updates(out: Path) -> list[tuple[int, float]]:
    """Step and loss of every update that a run has recorded."""
    records = read_records(out / "metrics.jsonl")
    return [(record["step"], record["loss"]) for record in records if record["kind"] == "update"]


def relabelled(path: Path, kind: str) -> None:
    """Have a file's tensors of float32 read as another type of the same size, by its header alone."""
    content = path.read_bytes()
    length = 8 + int.from_bytes(content[:8], "little")
    header = content[8:length].replace(b'"F32"', f'"{kind}"'.encode())
    path.write_bytes(len(header).to_bytes(8, "little") + header + content[length:])


def pictures(folder: Path, count: int, *, colour: bool, size: int = 8) -> Path:
    """A folder of PNG files, grey or in colour."""
    folder.mkdir(parents=True)
    values = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    for number, value in enumerate(values):
        Image.fromarray(value if colour else value[..., 0]).save(folder / f"{number}.png")
    return folder


def _shared(name: str, recipe: Recipe) -> Path:
    """The run of that name, which is trained once in a session: by the first of pytest's workers that asks."""
    folder = Path(os.environ["EBBTIDE_TRIALS"])
    if not (folder / name).exists():
        with tempfile.TemporaryDirectory(dir=folder) as own:
            trained(recipe, Path(own) / name)
            with contextlib.suppress(OSError):  # another worker's came first
                (Path(own) / name).rename(folder / name)
    return folder / name


def grey_run() -> Path:
    """A run on the digits, which have labels. Do not write into it: copy it."""
    return _shared("grey", small())


def table_run(objective: ObjectiveName = "v") -> Path:
    """A run on the digits with a table of 20 steps, whose network heeds time and labels; for any of the losses."""
    recipe = with_objective(replace(small(rate=0.03), schedule=ScheduleRecipe(steps=20)), objective)
    return _shared(f"table-{objective}", recipe)


def colour_run() -> Path:
    """A run on pictures in colour, without labels, that were deleted after it."""
    with tempfile.TemporaryDirectory() as folder:
        source = pictures(Path(folder) / "pictures", 20, colour=True)
        return _shared("colour", small("images", source=str(source)))


def cold_run(preset: str) -> Path:
    """A run on the digits of a preset whose corruption is no Gaussian noise."""
    return _shared(preset, small(preset))


def point_run() -> Path:
    """A run on points of the plane, without labels."""
    return _shared("points", small("swiss-roll"))


def network_of(run: Run, weights: Weights = "average") -> nn.Module:
    """The network that a run's denoiser asks; `run.wrap` makes a denoiser of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "wrap", lambda self, network: network)
        return run.denoiser(weights=weights)


class Clock:
    """In the place of a module's `time`: on by a tick whenever it is read, so that nothing depends on the machine."""

    def __init__(self, tick: float) -> None:
        self.now, self.tick = 0.0, tick

    def perf_counter(self) -> float:
        """Seconds since the clock was made."""
        self.now += self.tick
        return self.now

    monotonic = perf_counter


def learned_from(run: Path, source: Path) -> Path:
    """A copy of a run, made one that was trained on these data."""
    found = open_run(run)
    data = find_data(found, str(source))
    replace(found, data=replace(found.data, examples=len(data.train), fingerprint=data.mark)).write()
    return run


def newest(run: Path, stem: str) -> Path:
    """The newest file of a kind that a command has written into a run's folder."""
    return max(run.glob(f"{stem}*.json"), key=lambda path: path.stat().st_mtime_ns)


@dataclass(frozen=True)
class Outcome:
    """How a call of the command line ended."""

    code: int
    out: str
    err: str


def call(*arguments: object) -> Outcome:
    """`ebbtide arguments...` in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as left:
            return Outcome(int(left.code or 0), out.getvalue(), err.getvalue())
    raise AssertionError("main() returned instead of leaving with an exit code")


def refusal(*arguments: object) -> str:
    """The one line on stderr by which a call is refused with exit code 2."""
    outcome = call(*arguments)
    assert outcome.code == 2, outcome
    assert outcome.err.startswith("ebbtide: "), outcome.err
    assert outcome.err.endswith("\n"), outcome.err
    assert outcome.err.count("\n") == 1, outcome.err
    return outcome.err


def everything_in(folder: Path) -> dict[str, bytes]:
    """Every file under a folder with its content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
