"""What `ebbtide doctor` found, as a picture and as words of the report; drawn from RUN/doctor.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ebbtide.errors import require
from ebbtide.evaluation.figures import BLUE, GREEN, INK, ORANGE, panels
from ebbtide.evaluation.page import picture, section_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CURVES = {
    "linear": ("best linear denoiser", INK, "-", 1.4),
    "network": ("network, last weights", GREEN, (0, (4, 2)), 1.4),
    "train": ("network, training examples", ORANGE, (0, (1, 1.5)), 1.8),
    "average": ("network", BLUE, "-", 2.0),
}


def errors_figure(found: Mapping[str, Any]) -> Figure:
    """The error of x0 by noise level, and the same as a share of the best linear denoiser's; best constant dotted.

    A curve above 1 in the lower picture is a level at which the network has not learned what a covariance knows.
    """
    log_snr = np.array(found["log_snr"], dtype=float)
    require(len(log_snr) > 1, "the file of findings holds no curves to draw")
    figure, axes = panels(2)
    figure.set_size_inches(5.4, 5.6)
    linear = np.array(found["linear"], dtype=float)
    axes[0].axhline(found["constant"], color=INK, linewidth=1.0, linestyle=(0, (1, 2)), label="best constant")
    finite = [1.0]
    for name, (label, colour, style, width) in CURVES.items():
        values = np.array(found[name], dtype=float)  # null: not finite
        with np.errstate(divide="ignore", invalid="ignore"):
            share = values / linear
        finite += share[np.isfinite(share)].tolist()
        axes[0].plot(log_snr, values, color=colour, linewidth=width, linestyle=style, label=label)
        axes[1].plot(log_snr, share, color=colour, linewidth=width, linestyle=style)
    axes[0].set_yscale("log")
    axes[0].set(ylabel="mean square error of x0")
    top = max(1.1, min(3.0, 1.05 * max(finite)))
    axes[1].set(xlabel="log-SNR  (noise to data)", ylabel="of the linear one's", ylim=(0, top))
    axes[0].legend(loc="best", frameon=False, fontsize=8, labelcolor=INK)
    return figure


def count_in_words(verdicts: Sequence[str]) -> str:
    """How many checks there were and how many found a fault, as command and report say it; a note is none."""
    bad, notes = verdicts.count("wrong"), verdicts.count("note")
    worth = f", {notes} worth a note" if notes else ""
    if bad:
        return f"{bad} of {len(verdicts)} checks found something wrong{worth}"
    return f"nothing is wrong: {len(verdicts)} checks{worth}"


def diagnosis_section(run: Path) -> str:
    """The findings that are not fine, and the picture; nothing where the doctor was not asked."""
    return section_of(run / "doctor.json", "Doctor", partial(_diagnosis, run))


def _diagnosis(run: Path, found: Mapping[str, Any]) -> list[str]:
    findings = found["findings"]
    told = [{name: escape(str(one[name])) for name in ("verdict", "check", "text")} for one in findings]
    lines = [
        f"<li><b>{one['verdict']}</b><span>{one['check']}: {one['text']}</span></li>"
        for one in told
        if one["verdict"] != "fine"
    ]
    said = f"<p>{count_in_words([one['verdict'] for one in findings])}.</p>"
    listed = '<ol class="events">' + "\n".join(lines) + "</ol>" if lines else ""
    alt = "Error at each noise level against the best linear denoiser"
    return [said, listed, picture(run / "pictures" / "doctor.png", alt, kind="chart") or ""]
