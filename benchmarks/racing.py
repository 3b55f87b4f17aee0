"""Quality against network evaluations, by `ebbtide race`: the table and figure of docs/samplers.md.

    python benchmarks/racing.py RUN [--samples 1000] [--samplers dpm2m unipc ...] [--best 5] [--kept]

--kept: of the race that RUN/race.json holds, without running it again. The table shows all, the figure the best ones:
those with the least mean rank over the numbers of evaluations, and DDIM.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import measure
from ebbtide.evaluation.figures import png_bytes
from ebbtide.evaluation.race import race_figure
from ebbtide.files import write_atomically

SAMPLERS = ("dpm2m", "unipc", "ddim", "dpm3m", "adams", "sde-dpm2m", "heun")
FIGURE = Path("docs/pictures/race.png")
BASELINE = "ddim"


def ranked(laps: list[dict[str, Any]]) -> list[str]:
    """Samplers by their mean rank over the budgets, best first; who cannot spend a budget is last there."""
    names = list(dict.fromkeys(lap["sampler"] for lap in laps))
    budgets = sorted({lap["evaluations"] for lap in laps})
    ranks = dict.fromkeys(names, 0.0)
    for budget in budgets:
        there = {lap["sampler"]: lap["to_data"]["value"] for lap in laps if lap["evaluations"] == budget}
        order = sorted(names, key=lambda name: there.get(name, float("inf")))
        for rank, name in enumerate(order):
            ranks[name] += rank / len(budgets)
    return sorted(names, key=ranks.__getitem__)


def cell(lap: dict[str, Any] | None) -> str:
    if lap is None:
        return ""
    off = "" if lap["to_reference"] is None else f" ({100 * lap['to_reference']:.1f} %)"
    return f"{lap['to_data']['value']:.2f} ± {lap['to_data']['error']:.2f}{off}"


def main() -> None:
    options = measure.options(
        __doc__,
        ("run", {"type": Path}),
        ("--samples", {"type": int, "default": 1000}),
        ("--samplers", {"nargs": "+", "default": list(SAMPLERS)}),
        ("--best", {"type": int, "default": 5}),
        ("--kept", {"action": "store_true"}),
    )
    if not options.kept:
        command = [sys.executable, "-m", "ebbtide", "race", str(options.run), "--samples", str(options.samples)]
        subprocess.run([*command, "--samplers", *options.samplers], check=True)
    found = json.loads((options.run / "race.json").read_text())
    laps = found["laps"]
    budgets = sorted({lap["evaluations"] for lap in laps})
    by = {(lap["sampler"], lap["evaluations"]): lap for lap in laps}
    order = ranked(laps)
    rows = [(name, *(cell(by.get((name, budget))) for budget in budgets)) for name in order]
    title = "Fréchet distance to the data (and how far from the ODE's own end, in standard deviations)"
    measure.show("race", title, ("evaluations", *map(str, budgets)), rows)
    best = [*order[: options.best], *([BASELINE] if BASELINE not in order[: options.best] else [])]
    shown = [lap for lap in laps if lap["sampler"] in best]
    write_atomically(FIGURE, png_bytes(race_figure(shown)))
    measure.save("race", found)


if __name__ == "__main__":
    main()
