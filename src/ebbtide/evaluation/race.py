"""A race of samplers: who leads, if anyone does, as words, a figure and a section of the report; from RUN/race.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ebbtide.errors import require
from ebbtide.evaluation.figures import INK, panels
from ebbtide.evaluation.page import picture, section_of, sentence

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
    "#999999",
)  # Okabe and Ito (2008)
MARKS = "osD^vP*X"
SURELY = 2.0
"""Standard errors of a difference beyond which it is one."""


def tied(laps: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The nearest lap and all that are no farther from the data than chance would put them, the cheapest first."""
    told = [lap for lap in laps if "behind" in lap]
    near = [lap for lap in told if lap["behind"]["value"] <= SURELY * lap["behind"]["error"]]
    return sorted(near, key=lambda lap: (lap["steps"] * lap["a_step"], lap["to_data"]["value"]))


def leader_in_words(laps: Sequence[Mapping[str, Any]]) -> str:
    """Who is nearest to the data, where that is more than chance; else who shares the lead, and who is the cheapest."""
    near = tied(laps)
    cheapest, names = near[0], list(dict.fromkeys(lap["sampler"] for lap in near))
    if len(near) == 1:
        far = f"{cheapest['to_data']['value']:.2f} ± {cheapest['to_data']['error']:.2f}"
        return f"{cheapest['sampler']} leads: with {cheapest['steps']} steps it is nearest to the data ({far})"
    steps = {name: " or ".join(f"{lap['steps']}" for lap in near if lap["sampler"] == name) for name in names}
    if len(names) == 1:
        return f"{names[0]} leads, within the error with {steps[names[0]]} steps: {cheapest['steps']} will do"
    told = ", ".join(f"{name} with {steps[name]}" for name in names)
    return (
        f"nobody leads: {told} steps are as near to the data, within the error; the cheapest of them is "
        f"{cheapest['sampler']} with {cheapest['steps']} steps"
    )


def race_section(run: Path) -> str:
    """Who leads, and the picture; nothing where there was no race."""
    return section_of(run / "race.json", "Race of samplers", partial(_race, run))


def _race(run: Path, found: Mapping[str, Any]) -> list[str]:
    said = (
        f"{leader_in_words(found['laps'])}; {found['samples']:,} samples a lap, in the features of {found['features']}."
    )
    shown = picture(run / "pictures" / "race.png", "Distance to the data against network evaluations", kind="chart")
    return [sentence(said[0].upper() + said[1:]), shown or ""]


def race_figure(laps: Sequence[Mapping[str, Any]]) -> Figure:
    """Distance to the data, and from where the ODE itself leads, against network evaluations; both axes logarithmic."""
    from matplotlib.ticker import LogLocator, NullFormatter

    require(len(laps) > 0, "there are no laps to draw")
    names = list(dict.fromkeys(lap["sampler"] for lap in laps))
    figure, axes = panels(2)
    figure.set_size_inches(5.4, 6.2)
    for index, name in enumerate(names):
        own = [lap for lap in laps if lap["sampler"] == name]
        spent = np.array([lap["steps"] * lap["a_step"] for lap in own], dtype=float)
        data = np.array([lap["to_data"]["value"] for lap in own], dtype=float)
        error = np.array([lap["to_data"]["error"] for lap in own], dtype=float)
        style: dict[str, Any] = {
            "color": COLOURS[index % len(COLOURS)],
            "marker": MARKS[index % len(MARKS)],
            "markersize": 4,
            "linewidth": 1.5,
        }
        axes[0].errorbar(spent, data, error, label=name, elinewidth=0.8, **style)
        if own[0]["to_reference"] is not None:
            axes[1].plot(spent, [lap["to_reference"] for lap in own], **style)
    near = tied(laps)
    at = [lap["steps"] * lap["a_step"] for lap in near], [lap["to_data"]["value"] for lap in near]
    axes[0].plot(*at, "o", color=INK, fillstyle="none", markersize=10, label="nearest, within the error", zorder=5)
    axes[0].set(ylabel="Fréchet distance to the data", xscale="log", yscale="log")
    axes[1].set(
        xlabel="network evaluations a sample",
        ylabel="off the ODE's own end,\nstandard deviations",
        xscale="log",
        yscale="log",
    )
    ticks = sorted({lap["evaluations"] for lap in laps})
    axes[1].set_xticks(ticks, [str(tick) for tick in ticks])
    axes[1].minorticks_off()
    for axis in axes:
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter(NullFormatter())
    axes[0].legend(loc="best", frameon=False, fontsize=8, labelcolor=INK, ncols=2)
    return figure
