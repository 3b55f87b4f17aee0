"""Updates a second beside other work: one thread, all of them, or as many as are found fastest by trying.

    python benchmarks/busy.py [--preset digits] [--seconds 20] [--busy 0 1 2]

Each is a process of its own, for a while, in turns; the work beside it is that of so many processes that never rest.
Also what the trial before training says to expect, against what comes.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import torch

import measure
from ebbtide.recipes.build import build_data, build_network, build_settings, build_trainee, outputs_of
from ebbtide.recipes.corruptions import objective_of
from ebbtide.recipes.presets import PRESETS
from ebbtide.recipes.run import DataFacts
from ebbtide.recipes.trial import made_up, tried
from ebbtide.training import fit
from ebbtide.training.machine import accelerator_of

ALLOWED = 1.25
"""How many times as fast the best fixed number of threads may be."""


def child(preset: str, seconds: float) -> dict[str, float]:
    """Updates a second of this process, and what its trial expected."""
    known = PRESETS[preset]
    recipe = replace(known.recipe, training=replace(known.recipe.training, updates=None, minutes=seconds / 60))
    data = build_data(recipe.data) if recipe.data.source else made_up(known.shape, known.classes)
    facts = DataFacts.of(data)
    trial = tried(recipe, data)
    network = build_network(
        recipe.network, facts.event_shape, len(facts.classes), recipe.training.seed, outputs_of(recipe.objective)
    )
    objective = objective_of(recipe, facts.event_shape, facts.limits)
    trainee = build_trainee(recipe.training, network)
    settings = build_settings(recipe.training)
    started = time.perf_counter()
    done = sum(1 for _ in fit(trainee, objective, data, settings, accelerator_of(trial.precision)))
    speed = done / (time.perf_counter() - started)
    return {
        "updates": speed,
        "expected": (trial.speed or 0.0) / recipe.training.batch,
        "threads": torch.get_num_threads(),
        "bf16": trial.precision == "bf16",
    }


@contextlib.contextmanager
def beside(count: int) -> Iterator[None]:
    """So many processes that never rest."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def run_child(preset: str, seconds: float, threads: int | None) -> dict[str, float]:
    """A process with a fixed number of threads, or none given."""
    environment = {key: value for key, value in os.environ.items() if key not in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    command = [sys.executable, __file__, "--child", "--preset", preset, "--seconds", str(seconds)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    options = measure.options(
        __doc__,
        ("--preset", {"default": "digits", "choices": sorted(PRESETS)}),
        ("--seconds", {"type": float, "default": 20.0}),
        ("--busy", {"type": int, "nargs": "+", "default": [0, 1, 2]}),
        ("--child", {"action": "store_true", "help": "one process; what this command starts itself"}),
    )
    if options.child:
        print(json.dumps(child(options.preset, options.seconds)))
        return
    numbers = sorted({1, torch.get_num_threads()})
    rows, results = [], {}
    for count in options.busy:
        with beside(count):
            fixed = {number: run_child(options.preset, options.seconds, number) for number in numbers}
            chosen = run_child(options.preset, options.seconds, None)
        best = max(found["updates"] for found in fixed.values())
        words = "quiet" if not count else f"beside {count} busy process{'es' if count > 1 else ''}"
        rows.append(
            (
                words,
                *(f"{fixed[number]['updates']:.2f}" for number in numbers),
                f"{chosen['updates']:.2f}",
                f"{best / chosen['updates']:.2f}",
                f"{chosen['expected']:.2f}",
            )
        )
        results[words] = {"fixed": {str(number): found for number, found in fixed.items()}, "chosen": chosen}
        print(words, results[words], flush=True)
    heads = [f"{number} thread{'s' if number > 1 else ''}" for number in numbers]
    measure.show(
        f"busy-{options.preset}",
        f"Updates a second of {options.preset}, {options.seconds:g} seconds each",
        ("machine", *heads, "chosen", f"best / chosen (aim: {ALLOWED})", "told in advance"),
        rows,
    )
    measure.save(f"busy_{options.preset}", results)


if __name__ == "__main__":
    main()
