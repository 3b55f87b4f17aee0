"""Measuring side by side: what is compared takes turns, so that a slow minute of the machine slows all of it.

Nothing else should run meanwhile. Every benchmark prints its tables, leaves them as runs/benchmarks/TABLE.md for
publish.py, and writes runs/benchmarks/NAME.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ebbtide.training.machine import accelerator_of, describe

RESULTS = Path("runs/benchmarks")


@dataclass(frozen=True)
class Spread:
    """The middle of some measurements, and the middle half of them."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        if len(values) < 2:
            return cls(values[0], values[0], values[0])
        low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(middle, low, high)

    def words(self, digits: int = 1, unit: str = "") -> str:
        return f"{self.median:,.{digits}f} ({self.low:,.{digits}f} to {self.high:,.{digits}f}){unit}"


def seconds_of(work: Callable[[], object], times: int = 1) -> float:
    """Seconds for one call, the mean over `times`."""
    started = time.perf_counter()
    for _ in range(times):
        work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return (time.perf_counter() - started) / times


def interleaved(
    works: Mapping[str, Callable[[], object]], rounds: int, *, warmup: int = 2, times: int = 1
) -> dict[str, list[float]]:
    """Seconds a call of each, in each round; in a round all take turns, the order turning from round to round.

    All with the same number of threads, that of the environment or as many as there are cores.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(len(os.sched_getaffinity(0)))
        os.environ["OMP_NUM_THREADS"] = str(torch.get_num_threads())  # nobody chooses another
    for work in works.values():
        for _ in range(warmup):
            work()
    names = list(works)
    found: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            found[name].append(seconds_of(works[name], times))
    return found


def ratios(slow: Sequence[float], fast: Sequence[float]) -> Spread:
    """How many times as long the first takes, round by round."""
    return Spread.of([a / b for a, b in zip(slow, fast, strict=True)])


def machine() -> dict[str, Any]:
    """What it was measured on."""
    return {**describe(accelerator_of()), "threads": torch.get_num_threads()}


def processor() -> str:
    """What computes, with what makes it fast in bf16: two of one name may differ there."""
    facts, able = machine(), torch.cpu.get_capabilities()
    kinds = {"amx_bf16": "AMX", "avx512_bf16": "AVX-512 BF16"}
    kind = next((words for key, words in kinds.items() if able.get(key)), None) if facts["device"] == "cpu" else None
    return facts["name"] + (f" with {kind}" if kind else "")


def show(name: str, title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table and leave it as runs/benchmarks/NAME.md, with the machine under it."""
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}", *(f"| {' | '.join(row)} |" for row in rows)]
    text = "\n".join(lines)
    print(f"\n{title}\n\n{text}\n", flush=True)
    RESULTS.mkdir(parents=True, exist_ok=True)
    facts = machine()
    where = f"{processor()}, {facts['threads']} threads, {facts['precision']}, torch {facts['torch']}"
    (RESULTS / f"{name}.md").write_text(f"*{title} ({where})*\n\n{text}\n")


def options(about: str | None, *arguments: tuple[str, dict[str, Any]]) -> argparse.Namespace:
    """The command line of a benchmark: its docstring as help."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, settings in arguments:
        parser.add_argument(name, **settings)
    return parser.parse_args()


def save(name: str, results: Mapping[str, Any]) -> Path:
    """Write runs/benchmarks/NAME.json with the machine and the versions."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    content = {"machine": machine(), **results}
    path.write_text(json.dumps(content, indent=1, default=asdict) + "\n")
    print(f"wrote {path}")
    return path
