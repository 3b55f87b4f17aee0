"""ebbtide train: from data to a run."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Annotated

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ebbtide.cli.fields import Nameless
from ebbtide.cli.help import ALL, SHORT
from ebbtide.cli.options import output, parse, screen, styled, wrote
from ebbtide.cli.paper import filled
from ebbtide.cli.standard_output import complain
from ebbtide.errors import printable, require
from ebbtide.recipes.corruptions import corruptions_in_words
from ebbtide.recipes.objectives import ObjectiveName, objectives_in_words, with_fields, with_steps
from ebbtide.recipes.presets import PRESETS, find_recipe
from ebbtide.recipes.recipe import Recipe, check, check_name
from ebbtide.recipes.run import open_run
from ebbtide.recipes.session import Ended, Note
from ebbtide.recipes.train import train as train_run
from ebbtide.training import Update

TARGET = "PRESET|RECIPE.json|RUN"
EXAMPLES = """  ebbtide train digits                       a preset
  ebbtide train images --data photos/        your own pictures
  ebbtide train digits --network.channels 64 --minutes 5
  ebbtide train runs/digits --resume         go on with a run"""
RENAMED = {
    "--steps": "--updates (steps are those of sampling)",
    "--training.steps": "--training.updates",
    "--training.checkpoint-steps": "--training.checkpoint-updates",
}


@dataclass(frozen=True)
class TrainOptions:
    """Learn from data. The defaults shown are those of the preset."""

    data: str | None = None
    """What to learn from: digits, dots, swiss-roll, moons, mixture, a folder of images or IDX files, an .npy, .npz or
    IDX file, or hf:NAME. None: the preset's own."""
    out: Path | None = None
    """The run's folder; None: runs/ and the recipe's name."""
    updates: int | None = None
    """Stop after this many updates."""
    minutes: float | None = None
    """Stop after this much time; the learning rate falls to zero as it ends."""
    seed: int | None = None
    """All randomness of the run; None: the preset's."""
    objective: ObjectiveName | None = None
    """The loss, by name (--help-all says what they are); fields --objective.... given beside it change it. None: as
    these fields say."""
    resume: bool = False
    """Go on from the newest checkpoint of --out, exactly as if training had never stopped."""
    device: str = "auto"
    """Where to compute: auto (a GPU that torch sees, else the CPU), cpu, cuda, cuda:1, mps."""
    recipe: Annotated[Recipe, Nameless()] = field(default_factory=Recipe)
    """The recipe itself, every field an option."""


def train(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    if not arguments:
        print(f"usage: ebbtide train {TARGET} [options]    (--help lists them)\n\n{filled(presets_in_words())}")
        return 2
    base = _base(arguments)
    target, rest = (arguments[0], arguments[1:]) if arguments[0] not in (*SHORT, *ALL) else ("digits", arguments)
    options = _parsed(rest, base)
    out = _folder(target, options)
    if options.resume:  # what is given now changes the run's own recipe
        base = open_run(out).recipe
    if options.objective is not None:  # fields that are given beside it change the loss that is named
        base = with_fields(base, options.objective)
    options = _parsed(rest, base)
    recipe = _chosen(options, base)
    with _stop_signals() as stop:
        return _show(
            train_run(
                recipe, out, resume=options.resume, new_data=options.data is not None, device=options.device, stop=stop
            ),
            recipe,
        )


def _parsed(arguments: Sequence[str], base: Recipe) -> TrainOptions:
    return parse(
        TrainOptions,
        "train",
        arguments,
        TrainOptions(recipe=base),
        about=f"{EXAMPLES}\n\npresets: {', '.join(PRESETS)} (`ebbtide train` says what they are)",
        more=f"{presets_in_words()}\n\n{corruptions_in_words()}\n\n{objectives_in_words()}",
        target=TARGET,
        renamed=RENAMED,
    )


def presets_in_words() -> str:
    """The presets, a line each."""
    return "\n".join(["presets:", *(f"  {name:17}{preset.about}" for name, preset in PRESETS.items())])


def _base(arguments: Sequence[str]) -> Recipe:
    """The recipe whose values are the defaults: it must be known before the options can be read."""
    name = arguments[0]
    if name in (*SHORT, *ALL):
        return PRESETS["digits"].recipe
    require(
        not name.startswith("-"),
        f"{name!r} came first, expected a preset ({', '.join(PRESETS)}), a recipe or a run: ebbtide train PRESET ...",
    )
    if (Path(name) / "recipe.json").is_file():
        return open_run(Path(name)).recipe
    return find_recipe(name)


def _folder(target: str, options: TrainOptions) -> Path:
    """The run's folder."""
    is_run = (Path(target) / "recipe.json").is_file()
    require(not is_run or options.resume, f"{target} is a run: add --resume to go on with it")
    out = options.out or (Path(target) if is_run else Path("runs") / check_name(options.recipe.name))
    exists = (out / "recipe.json").is_file()
    require(exists or not options.resume, f"there is no run {out} to resume: leave --resume out to start it")
    return out


def _chosen(options: TrainOptions, base: Recipe) -> Recipe:
    """The recipe, after all options; base: with no options."""
    recipe, training = options.recipe, options.recipe.training
    for short, whole, said, given, usual in (
        ("updates", "training.updates", options.updates, training.updates, base.training.updates),
        ("minutes", "training.minutes", options.minutes, training.minutes, base.training.minutes),
        ("seed", "training.seed", options.seed, training.seed, base.training.seed),
        ("data", "data.source", options.data, recipe.data.source, base.data.source),
    ):
        fits = said is None or given in (said, usual)
        require(fits, f"--{short} {said} and --{whole} {given} both came: give one of them")
    require(options.updates is None or options.minutes is None, "--updates and --minutes both came: give one of them")
    if options.updates is not None:
        training = replace(training, updates=options.updates, minutes=None)
    if options.minutes is not None:
        training = replace(training, updates=None, minutes=options.minutes)
    if options.seed is not None:
        training = replace(training, seed=options.seed)
    data = recipe.data if options.data is None else replace(recipe.data, source=options.data)
    if options.objective is not None:
        recipe = with_steps(recipe)
    return check(replace(recipe, training=training, data=data))


def _show(happenings: Iterator[Note | Update | Ended], recipe: Recipe) -> int:
    """Notes above a progress bar; the way to go on at the end."""
    minutes = recipe.training.minutes
    screen.print(
        f"training {recipe.name} for {f'{minutes:g} minutes' if minutes else f'{recipe.training.updates:,} updates'}"
    )
    bar = Progress(
        TextColumn("update {task.fields[step]:>6}"),
        BarColumn(),
        TextColumn("loss {task.fields[loss]:.4f}"),
        TextColumn("{task.fields[speed]:,.0f} images/s"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
        console=screen,
        disable=not screen.is_terminal,
    )
    lines = _Lines(enabled=not screen.is_terminal)
    with bar:
        task = bar.add_task("", total=1.0, step=0, loss=float("nan"), speed=0.0, left="")
        meter = _Meter()
        for happening in happenings:
            match happening:
                case Update():
                    meter.take(happening)
                    lines.take(happening, meter)
                    bar.update(
                        task,
                        completed=happening.progress,
                        step=happening.step,
                        loss=meter.loss,
                        speed=meter.speed,
                        left=meter.left(),
                    )
                case Note(text=text, trouble=trouble):
                    bar.console.print(styled(("note ", "yellow") if trouble else "", text))
                case Ended(run=run, finished=finished):
                    ended, path = finished, run.path
    wrote(path, "run")
    if not ended:
        stopped = f"stopped; a checkpoint is saved. Go on with: ebbtide train {path} --resume"
        screen.print(stopped)
        if output.gone:
            complain(f"ebbtide: standard output was closed: {printable(stopped)}")
        return 130
    wrote(path / "pictures" / "final.png", "samples")
    screen.print(f"next: ebbtide sample {path} -n 100    ebbtide report {path}")
    return 0


class _Meter:
    """Smoothed loss and speed, and the time left."""

    def __init__(self) -> None:
        self.loss = self.speed = 0.0
        self.started: tuple[float, float] | None = None
        self.progress = 0.0

    def take(self, update: Update) -> None:
        first = self.started is None
        if first:
            self.started = (time.monotonic(), update.progress)
        self.progress = update.progress
        share = 1.0 if first else 0.05
        if not update.skipped:
            self.loss += share * (update.loss - self.loss)
        self.speed += share * (update.images_per_second - self.speed)

    def left(self) -> str:
        assert self.started is not None
        begun, at = self.started
        done = self.progress - at
        if done <= 0:
            return ""
        seconds = (time.monotonic() - begun) * (1 - self.progress) / done
        return f"{int(seconds // 60)}:{int(seconds % 60):02d} left"


class _Lines:
    """A line now and then, where the output is no terminal."""

    def __init__(self, enabled: bool, every: float = 10.0) -> None:
        self.enabled, self.every, self.last = enabled, every, time.monotonic()

    def take(self, update: Update, meter: _Meter) -> None:
        now = time.monotonic()
        if self.enabled and (now - self.last >= self.every or update.progress >= 1):
            self.last = now
            screen.print(
                f"update {update.step}  {update.progress:.0%}  loss {meter.loss:.4f}  "
                f"{meter.speed:,.0f} images/s  {meter.left()}"
            )
            sys.stdout.flush()


@contextlib.contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """A question `stop()`, answered with yes after Ctrl-C, a polite kill, or when nobody is left to read what is said.

    The second Ctrl-C stops at once. A hang-up that was to be ignored (nohup) stays ignored.
    """
    asked: list[int] = []

    def ask(signum: int, frame: FrameType | None) -> None:
        if signum == signal.SIGINT and signum in asked:
            raise KeyboardInterrupt
        if not asked:
            with contextlib.suppress(RuntimeError):  # it came in the midst of another line
                screen.print("stopping after this update; Ctrl-C again stops at once")
        asked.append(signum)

    heeded = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        heeded.append(signal.SIGHUP)
    before = {number: signal.signal(number, ask) for number in heeded}
    try:
        yield lambda: bool(asked) or output.gone
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
