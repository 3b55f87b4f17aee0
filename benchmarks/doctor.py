"""Is the doctor right? Runs that were broken on purpose, each in one known way, and healthy runs of several presets.

    python benchmarks/doctor.py [--only NAME ...]

Trained once under runs/benchmarks/doctor, twenty minutes in all; the doctor is asked anew each time.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from PIL import Image, ImageDraw

import measure
from ebbtide.data import load
from ebbtide.doctor.finding import Finding, in_order
from ebbtide.errors import EbbtideError
from ebbtide.networks import UNet
from ebbtide.recipes.doctor import DoctorSettings, examine_run
from ebbtide.recipes.presets import PRESETS
from ebbtide.recipes.recipe import DataRecipe, Recipe, ScheduleRecipe
from ebbtide.recipes.run import Run, open_run
from ebbtide.recipes.train import train
from ebbtide.training import average
from frechet import FASHION

FOLDER = measure.RESULTS / "doctor"
UPDATES = 400
Patch = Callable[[], contextlib.AbstractContextManager[object]]


@dataclass(frozen=True)
class Case:
    """recipe: what is trained. fault: what was done to it, "" if nothing. expected: words of the cause to be named.

    while_training, while_asked: a patch of the code. after: what the run becomes in the end.
    """

    recipe: Recipe
    fault: str = ""
    expected: str = ""
    while_training: Patch = contextlib.nullcontext
    while_asked: Patch = contextlib.nullcontext
    after: Callable[[Run], Run] = lambda run: run


def digits(**training: object) -> Recipe:
    """The preset, for so many updates."""
    recipe = PRESETS["digits"].recipe
    plain = {"updates": UPDATES, "minutes": None, "pictures": 0}
    return replace(recipe, training=replace(recipe.training, **(plain | training)))


def from_source(source: Path, **training: object) -> Recipe:
    return replace(digits(**training), data=DataRecipe(source=str(source), size=8 if source.is_dir() else None))


def coloured(source: Path) -> Recipe:
    """Pictures in colour, 16 x 16."""
    recipe = PRESETS["images"].recipe
    data = replace(recipe.data, source=str(source), size=16)
    return replace(recipe, data=data, training=replace(recipe.training, updates=UPDATES, minutes=None, pictures=0))


def sunsets(folder: Path, *, swapped: bool) -> Path:
    """Discs and squares of warm colours on a dark blue sky, 16 x 16. swapped: red and blue, of the training images."""
    if folder.is_dir():
        return folder
    random = np.random.default_rng(0)
    for split, count in (("train", 600), ("test", 200)):
        for number in range(count):
            disc = bool(number % 2)
            sky = tuple(int(value) for value in random.uniform((5, 10, 40), (40, 50, 110)))
            warm = tuple(int(value) for value in random.uniform((190, 90, 0), (255, 190, 60)))
            image = Image.new("RGB", (64, 64), sky)
            x, y, size = random.uniform(4, 36), random.uniform(4, 36), random.uniform(14, 26)
            draw = ImageDraw.Draw(image)
            (draw.ellipse if disc else draw.rectangle)((x, y, x + size, y + size), fill=warm)
            small = np.array(image.resize((16, 16), Image.Resampling.BOX))
            path = folder / split / ("disc" if disc else "square") / f"{number:04}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(small[..., ::-1] if swapped and split == "train" else small).save(path)
    return folder


def arrays(name: str, images: np.ndarray, labels: np.ndarray) -> Path:
    path = FOLDER / "data" / f"{name}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, images=images, labels=labels)
    return path


def shuffled() -> Path:
    data = load("digits")
    assert data.labels is not None
    return arrays("shuffled", data.values, np.random.default_rng(0).permutation(data.labels))


def alike() -> Path:
    """Forty copies of one digit with a little noise."""
    one = load("digits").values[:1].astype(float)
    noise = np.random.default_rng(0).normal(0, 3, (40, *one.shape[1:]))
    images = np.clip(np.rint(one + noise), 0, 255).astype(np.uint8)
    return arrays("alike", images, np.arange(40) % 2)


def with_nan() -> Path:
    """The digits as files, one of them with a number that is none."""
    folder = FOLDER / "data" / "nan"
    if not folder.is_dir():
        folder.mkdir(parents=True)
        for number, image in enumerate(load("digits").values[..., 0]):
            Image.fromarray(image).save(folder / f"{number:04}.png")
        bad = np.full((8, 8), 0.5, np.float32)
        bad[3, 4] = np.nan
        Image.fromarray(bad).save(folder / "broken.tif")
    return folder


def never_updated() -> contextlib.AbstractContextManager[object]:
    return mock.patch.object(average.Average, "update", return_value=None)


def too_slow() -> contextlib.AbstractContextManager[object]:
    """A half-life of 100,000 images from the first update on, in a run that sees 25,600."""
    return mock.patch.object(average, "half_life_at", return_value=100_000)


@contextlib.contextmanager
def blind() -> Iterator[None]:
    """A network that is always told the same time."""
    forward = UNet.forward
    with mock.patch.object(UNet, "forward", lambda self, x, t, condition: forward(self, x, 0 * t + 0.5, condition)):
        yield


def rescheduled(run: Run) -> Run:
    return replace(run, recipe=replace(run.recipe, schedule=ScheduleRecipe()))


def recoloured(run: Run) -> Run:
    """Asked about the data as they should have been."""
    right = str(sunsets(FOLDER / "data" / "sunsets", swapped=False))
    return replace(run, recipe=replace(run.recipe, data=replace(run.recipe.data, source=right)))


def cases() -> dict[str, Case]:
    """All of them; those without a fault are healthy."""
    base = digits()
    right, bgr = (
        sunsets(FOLDER / "data" / name, swapped=swapped) for name, swapped in (("sunsets", False), ("bgr", True))
    )
    linear = replace(base, schedule=ScheduleRecipe(name="linear", steps=1000))
    short = replace(
        base, schedule=ScheduleRecipe(name="constant", beta=0.02, steps=50), sampling=replace(base.sampling, steps=50)
    )
    unnormalised = replace(base, data=replace(base.data, low=0.0, high=255.0))
    found = {
        "unnormalised": Case(unnormalised, "pixels from 0 to 255", "not normalised"),
        "other-schedule": Case(
            linear, "trained with Ho's 1,000 steps, sampled with normal", "schedule linear", after=rescheduled
        ),
        "rate": Case(digits(rate=1.0), "a learning rate of 1, five hundred times too much", "learning rate"),
        "average-never": Case(base, "the average is never updated", "never updated", never_updated),
        "average-slow": Case(base, "a half-life of four times the run", "too slow", too_slow),
        "swapped": Case(coloured(bgr), "training images read as BGR", "swapped colour channels"),
        "swapped-since": Case(
            coloured(bgr), "trained on BGR, asked about RGB", "swapped colour channels", after=recoloured
        ),
        "labels": Case(from_source(shuffled()), "labels shuffled", "shuffled labels"),
        "blind": Case(base, "a network that is told no time", "ignores t", blind, blind),
        "signal-left": Case(short, "50 steps of beta 0.02", "leaves signal"),
        "alike": Case(from_source(alike()), "forty near-identical images", "nearly the same"),
        "nan": Case(from_source(with_nan()), "NaN in one of 1,501 files", "not numbers"),
    }
    healthy = {name: Case(PRESETS[name].recipe) for name in ("digits", "dots", "swiss-roll", "moons", "mixture")}
    images = replace(coloured(right), training=replace(coloured(right).training, updates=3 * UPDATES))
    fashion = PRESETS["fashion"].recipe
    fashion = replace(
        fashion, data=replace(fashion.data, source=FASHION), training=replace(fashion.training, minutes=2.0, pictures=0)
    )
    return found | healthy | {"images": Case(images), "fashion": Case(fashion)}


def trained(name: str, case: Case) -> Run:
    """The run, trained unless it was before."""
    path = FOLDER / name
    if not (path / "done").is_file():
        shutil.rmtree(path, ignore_errors=True)
        print(f"training {name}", flush=True)
        with case.while_training(), contextlib.suppress(EbbtideError):
            for _ in train(case.recipe, path):
                pass
        (path / "done").touch()
    return case.after(open_run(path))


def main() -> None:
    options = measure.options(__doc__, ("--only", {"nargs": "+", "default": None}))
    chosen = {name: case for name, case in cases().items() if options.only is None or name in options.only}
    rows, results = [], {}
    for name, case in chosen.items():
        run = trained(name, case)
        torch.manual_seed(0)
        with case.while_asked():
            seconds = measure.seconds_of(lambda: results.__setitem__(name, asked(run)))  # noqa: B023
        findings = results[name]
        bad = [finding for finding in in_order(findings) if finding.verdict == "wrong"]
        causes = list(dict.fromkeys(finding.cause for finding in bad if finding.cause))
        right = any(case.expected in cause for cause in causes) if case.fault else not bad
        rows.append(
            (
                name,
                case.fault or "nothing",
                "; ".join(causes) or ("; ".join(finding.check for finding in bad) if bad else "nothing wrong"),
                f"{len(bad)} of {len(findings)}",
                "yes" if right else "NO",
                f"{seconds:.0f} s",
            )
        )
        print(" | ".join(rows[-1]), flush=True)
        for finding in bad:
            print(f"    {finding.check}: {finding.text}", flush=True)
    heads = ("run", "what was done to it", "what the doctor says", "checks that found something", "right", "time")
    measure.show("doctor", "Runs broken on purpose, and healthy ones", heads, rows)
    measure.save("doctor", {row[0]: dict(zip(heads[1:], row[1:], strict=True)) for row in rows})


def asked(run: Run) -> list[Finding]:
    return [found for found in examine_run(run, DoctorSettings()) if isinstance(found, Finding)]


if __name__ == "__main__":
    main()
