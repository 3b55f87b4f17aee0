"""A race of samplers as a figure; drawn from RUN/race.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ebbtide.errors import require
from ebbtide.evaluation.figures import INK, panels

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
    axes[0].legend(frameon=False, fontsize=8, labelcolor=INK, ncols=2)
    return figure
