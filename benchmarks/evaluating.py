"""What `ebbtide evaluate` says of a run, what it costs, and that its memory does not grow with the number of samples.

    python benchmarks/evaluating.py [RUN] [--samples 1000 5000 20000]

Each in a process of its own, whose largest memory is read; the first trains the features if that was not done before.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import measure
from ebbtide.evaluation.quality import copies_in_words, heads_of, rows_of


def evaluated(run: Path, samples: int) -> dict[str, Any]:
    """What was found, with seconds of the whole command and its largest memory."""
    command = [sys.executable, "-m", "ebbtide", "evaluate", str(run), "--samples", str(samples)]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    found: dict[str, Any] = json.loads((run / "evaluation.json").read_text())
    return found | {"whole_seconds": time.perf_counter() - started, "mebibytes": used.ru_maxrss / 1024}


def main() -> None:
    options = measure.options(
        __doc__,
        ("run", {"type": Path, "nargs": "?", "default": Path("runs/demo")}),
        ("--samples", {"type": int, "nargs": "+", "default": [1000, 5000, 20_000]}),
    )
    found = {count: evaluated(options.run, count) for count in options.samples}
    middle = found[options.samples[len(options.samples) // 2]]
    name = f"{options.run.name}, {middle['data']}, in the features of {middle['features']}"
    measure.show("evaluation", name, ("metric", *heads_of(middle)), rows_of(middle))
    print(copies_in_words(middle))
    rows = [
        (
            f"{count:,}",
            f"{one['whole_seconds']:.0f} s",
            f"{one['sampling']['a_second']:,.0f}",
            f"{one['mebibytes']:,.0f}",
            f"{one['sets']['samples']['frechet']['value']:.2f} ± {one['sets']['samples']['frechet']['error']:.2f}",
        )
        for count, one in found.items()
    ]
    heads = ("samples", "the whole command", "samples/s", "largest memory, MiB", "Fréchet distance")
    measure.show("evaluation-cost", f"ebbtide evaluate {options.run.name}", heads, rows)
    measure.save("evaluating", {str(count): one for count, one in found.items()})


if __name__ == "__main__":
    main()
