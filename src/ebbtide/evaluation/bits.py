"""Where the bits of a bound are paid: four pictures drawn from RUN/bits.json."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ebbtide.errors import require
from ebbtide.evaluation.figures import BLUE, GREEN, INK, ORANGE, panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def told(found: Mapping[str, Any]) -> str:
    """Of which examples these bits are, and what they do not hold: a label that the network is told costs nothing."""
    learned = " (which it learned from)" if found.get("learned_from") else ""
    return f"{found['split']}{learned}" + (", given the labels" if found.get("labels") else "")


def bits_figure(found: Mapping[str, Any]) -> "Figure":
    """The cost of a unit of log-SNR; what is still known at each level, and at each t; error against rate.

    What is known is the information I(x0; xt), or from a network its upper estimate: the rates summed from the noisy
    end on (Guo, Shamai & Verdu 2005, arXiv:cs/0412108). Bars: what the schedule spends of it in each tenth of t.
    The last is progressive decoding (Ho et al. 2020, arXiv:2006.11239, figure 5): after so many bits, this is how far
    the estimate of x0 still is from the image.
    """
    log_snr, t, rate, width, distortion = (
        np.array(found[name], dtype=float) for name in ("log_snr", "t", "rate", "width", "distortion")
    )
    seen = np.isfinite(rate) & np.isfinite(distortion)
    require(bool(seen.any()), "the file of bits holds no curve to draw")
    log_snr, t, rate, width, distortion = (values[seen] for values in (log_snr, t, rate, width, distortion))
    known = found["parts"]["prior"] + np.cumsum(rate * width)
    figure, axes = panels(4, share=False)
    figure.set_size_inches(5.4, 11.0)
    axes[0].plot(log_snr, rate, color=BLUE, linewidth=1.8)
    axes[0].set(xlabel="log-SNR  (noise to data)", ylabel="bits a dimension\nfor a unit of log-SNR")
    axes[1].plot(log_snr, known, color=ORANGE, linewidth=1.8)
    axes[1].axhline(found["bits"], color=INK, linewidth=0.9, linestyle=(0, (4, 2)))
    axes[1].annotate(
        f"the whole bound, {found['bits']:.3g}",
        (log_snr[0], found["bits"]),
        xytext=(2, -11),
        textcoords="offset points",
        fontsize=8,
        color=INK,
    )
    axes[1].set(xlabel="log-SNR  (noise to data)", ylabel="known at this level,\nbits a dimension")
    edges = np.linspace(0, 1, 11)
    at_edges = np.interp(edges, t[::-1], known[::-1])
    axes[2].bar(edges[:-1], -np.diff(at_edges), width=0.1, align="edge", color=ORANGE, alpha=0.3, linewidth=0)
    axes[2].plot(t, known, color=ORANGE, linewidth=1.8)
    axes[2].set(xlabel="t  (data to noise)", ylabel="known at t, and (bars) spent\nin each tenth, bits a dimension")
    axes[3].plot(known, distortion, color=GREEN, linewidth=1.8)
    unit = "bytes" if found["images"] else "units of the data"
    axes[3].set(xlabel="rate, bits a dimension", ylabel=f"error of the estimate of x0,\n{unit} (root mean square)")
    for axis in axes:
        axis.set_ylim(bottom=0)
        axis.xaxis.label.set(size=9, color=INK)
        axis.yaxis.label.set(size=9, color=INK)
    return figure
