"""Spoilt inputs by the thousand: each is read correctly or refused in one line, and nothing else happens.

    python benchmarks/fuzz.py [--count 10000] [--seed 0] [--only KIND] [--number N]

A worker process does one case after another and is replaced when it dies or takes too long. Of each case are watched:
what is raised, the time (20 s), the highest memory (twice that of healthy input), processes and connections that are
begun, files that are written, changed or deleted where nothing should be. The seed and the number of a case name it;
the inputs of those that fail are left in runs/benchmarks/fuzz/. Leaves with 1 if any failed.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from random import Random
from typing import Any

import measure

FAILED = measure.RESULTS / "fuzz"
LONGEST = 20.0
"""Seconds of a case, on a processor of its own."""
BUSY = 6
"""Times as long it may wait, on a machine that has other work."""
MOST_MEMORY = 2.0
"""Times the highest memory of healthy input."""
REPLACED_AFTER = 10_000
"""Cases that one worker does, so that what it keeps in memory does not add up."""


class Worker:
    """A process that does cases; `started` again where needed."""

    def __init__(self, workshop: Path) -> None:
        self.workshop = workshop
        self.process: subprocess.Popen[bytes] | None = None
        self.done = 0

    def start(self) -> None:
        for name in ("tmp", "cache"):
            (self.workshop / name).mkdir(exist_ok=True)
        environment = os.environ | {
            "TMPDIR": str(self.workshop / "tmp"),
            "EBBTIDE_CACHE": str(self.workshop / "cache"),
            "MPLCONFIGDIR": str(self.workshop / "cache"),
            "XDG_CACHE_HOME": str(self.workshop / "cache"),
            "HF_HUB_OFFLINE": "1",
            "HF_DATASETS_OFFLINE": "1",
            "HF_HOME": str(self.workshop / "cache"),
            "OMP_NUM_THREADS": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "COLUMNS": "120",
        }
        command = [sys.executable, str(Path(__file__).with_name("fuzz_worker.py")), str(self.workshop)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        self.done = 0
        found = self._answer(600.0)  # imports, seeds and healthy inputs
        if found["outcome"] != "ready":
            raise RuntimeError(f"the worker did not start: {found['said']}")

    def ask(self, kind: str, seed: int, number: int) -> dict[str, Any]:
        """What came of a case: its outcome in a word, and what was said."""
        if self.process is None or self.done >= REPLACED_AFTER:
            self.stop()
            self.start()
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"kind": kind, "seed": seed, "number": number}).encode() + b"\n")
        self.process.stdin.flush()
        self.done += 1
        return self._answer(LONGEST)

    def _answer(self, seconds: float) -> dict[str, Any]:
        assert self.process is not None
        assert self.process.stdout is not None
        begun, computed = time.monotonic(), self._computed()
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while not selector.select(0.5):
                if self._computed() - computed > seconds or time.monotonic() - begun > BUSY * seconds:
                    self.stop()
                    return {"outcome": "hang", "said": f"longer than {seconds:g} s"}
        line = self.process.stdout.readline()
        if not line:
            code = self.process.wait()
            self.process = None
            return {"outcome": "death", "said": f"the process ended with {code}"}
        found: dict[str, Any] = json.loads(line)
        return found

    def _computed(self) -> float:
        """Seconds of the processor that the worker has used."""
        assert self.process is not None
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


GOOD = ("worked", "refused")


def main() -> None:
    options = measure.options(
        __doc__,
        ("--count", {"type": int, "default": 10_000, "help": "how many inputs"}),
        ("--seed", {"type": int, "default": 0}),
        ("--only", {"help": "this kind of input"}),
        ("--number", {"type": int, "help": "this case alone"}),
        ("--minutes", {"type": float, "help": "stop after this long"}),
    )
    with tempfile.TemporaryDirectory(prefix="ebbtide-fuzz-") as folder:
        worker = Worker(Path(folder))
        try:
            sys.exit(_run(worker, options))
        finally:
            worker.stop()


def _run(worker: Worker, options: argparse.Namespace) -> int:
    from fuzz_cases import KINDS

    kinds = {name: share for name, (_, share) in KINDS.items() if options.only in (None, name)}
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    slowest: dict[str, float] = defaultdict(float)
    largest: dict[str, float] = defaultdict(float)
    failures, started = [], time.monotonic()
    numbers = range(options.count) if options.number is None else [options.number]
    for number in numbers:
        kind = Random(f"{options.seed} {number}").choices(list(kinds), list(kinds.values()))[0]
        begun = time.monotonic()
        found = worker.ask(kind, options.seed, number)
        seconds = time.monotonic() - begun
        counts[kind][found["outcome"]] += 1
        slowest[kind] = max(slowest[kind], found.get("seconds", seconds))
        largest[kind] = max(largest[kind], found.get("memory", 0.0))
        if found["outcome"] not in GOOD:
            failures.append({"kind": kind, "number": number, **found})
            print(f"{number}  {kind}: {found['outcome']}\n{found['said']}", flush=True)
            _keep(worker.workshop, options.seed, failures[-1])
        if (number + 1) % 500 == 0:
            passed = (time.monotonic() - started) / 60
            print(f"{number + 1:,} inputs, {len(failures)} failures, {passed:.1f} minutes", flush=True)
        if options.minutes is not None and time.monotonic() - started > 60 * options.minutes:
            break
    minutes = (time.monotonic() - started) / 60
    _show(counts, slowest, largest, minutes)
    measure.save("fuzz", {"seed": options.seed, "minutes": minutes, "counts": counts, "failures": failures})
    return 1 if failures else 0


def _keep(workshop: Path, seed: int, failure: dict[str, Any]) -> None:
    """The inputs of a case that failed, and what was seen."""
    target = FAILED / f"{seed}-{failure['number']}"
    shutil.rmtree(target, ignore_errors=True)
    if (workshop / "case").is_dir():
        shutil.copytree(workshop / "case", target, symlinks=True)
    target.mkdir(parents=True, exist_ok=True)
    (target / "about.json").write_text(json.dumps(failure, indent=1))


def _show(
    counts: dict[str, Counter[str]], slowest: dict[str, float], largest: dict[str, float], minutes: float
) -> None:
    rows = []
    for kind, found in sorted(counts.items()):
        failed = sum(count for outcome, count in found.items() if outcome not in GOOD)
        cells = (f"{sum(found.values()):,}", f"{found['worked']:,}", f"{found['refused']:,}", f"{failed:,}")
        rows.append((kind, *cells, f"{slowest[kind]:.1f} s", f"{largest[kind]:.2f}"))
    total = Counter[str]()
    for found in counts.values():
        total.update(found)
    failed = total.total() - total["worked"] - total["refused"]
    cells = (f"{total.total():,}", f"{total['worked']:,}", f"{total['refused']:,}", f"{failed:,}")
    rows.append(("all", *cells, f"{max(slowest.values()):.1f} s", f"{max(largest.values()):.2f}"))
    heads = ("input", "spoilt", "read", "refused in a line", "failed", "slowest", "memory, of healthy")
    measure.show("fuzz", f"Spoilt inputs in {minutes:.0f} minutes", heads, rows)


if __name__ == "__main__":
    main()
