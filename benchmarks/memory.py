"""Does training grow? Resident memory of the process over many updates of the small network.

python benchmarks/memory.py [--updates 1000] [--preset images]
"""

from __future__ import annotations

import resource
from pathlib import Path

import measure
from ebbtide.recipes.build import build_network
from ebbtide.recipes.cost import cost_of
from ebbtide.recipes.presets import PRESETS
from training_speed import BATCH, ours, pictures


def resident() -> float:
    """MiB held right now."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0]) / 1024


def main() -> None:
    options = measure.options(
        __doc__, ("--updates", {"type": int, "default": 1000}), ("--preset", {"default": "images"})
    )
    recipe, data = PRESETS[options.preset].recipe, pictures()
    before = resident()
    loop = ours(recipe, build_network(recipe.network, data.event_shape, 0, 0), data)
    found: dict[int, float] = {}
    marks = sorted({10, *(options.updates * share // 10 for share in range(1, 11))})
    for update in loop:
        if update.step in marks:
            found[update.step] = resident()
        if update.step >= options.updates:
            break
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    stated = cost_of(recipe, data.event_shape, 0).memory / 2**20
    rows = [("before the first", f"{before:,.0f}"), *((str(step), f"{size:,.0f}") for step, size in found.items())]
    rows += [("peak of the process", f"{peak:,.0f}"), ("`ebbtide info` states, beside torch itself", f"{stated:,.0f}")]
    measure.show("memory", f"Preset {options.preset}, batch {BATCH}", ("after update", "MiB"), rows)
    measure.save("memory", {"before": before, "after": found, "peak": peak, "stated": stated})


if __name__ == "__main__":
    main()
