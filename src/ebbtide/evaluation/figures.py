"""Curves from records, as matplotlib figures: loss, loss against noise level, rate and speed, points.

matplotlib is slow to import, so it waits until a figure is drawn. Nothing touches pyplot or its state.
"""

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ebbtide.errors import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RecordList = Sequence[Mapping[str, Any]]

# Okabe and Ito (2008): told apart by readers of any colour vision, and in grey print by lightness.
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
INK, FAINT = "#333333", "#DDDDDD"
WIDTH, HEIGHT = 5.4, 3.3  # inches; narrow, so that the words stay readable on a phone
LONGEST_CURVE = 4000  # points drawn of a raw curve
REACH = 3.0  # times beyond the losses that a bar may stretch the axis
BARS: dict[str, tuple[str, Any, float]] = {  # its label, its line, and where in a bin its arrows stand
    "constant": ("best constant", (0, (1, 2)), 1 / 3),
    "linear": ("best linear denoiser", (0, (4, 2)), 2 / 3),
}


def is_number(value: Any) -> bool:
    """Whether the value is a finite int or float (and no bool); huge integers count as infinite."""
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(abs(value) <= 1e300)


def series(records: RecordList, field: str, kind: str = "update") -> tuple[np.ndarray, np.ndarray]:
    """Steps and values, two float arrays of one length, of the records with a finite number in the field."""
    pairs = [(record["step"], record.get(field)) for record in records if record["kind"] == kind]
    good = [(step, value) for step, value in pairs if is_number(value)]
    steps, values = zip(*good, strict=True) if good else ((), ())
    return np.array(steps, dtype=float), np.array(values, dtype=float)


def smoothed(values: np.ndarray) -> np.ndarray:
    """The running mean over about a twentieth of the curve.

    The window shrinks towards the start on both sides, so that a steep fall is not smeared; at the end only
    what lies ahead is missing.
    """
    count = len(values)
    index = np.arange(count)
    half = max(1, count // 40)
    low = np.maximum(index - half, 0)
    high = np.minimum(index + np.minimum(index, half), count - 1) + 1
    total = np.concatenate([[0.0], np.cumsum(values)])
    return (total[high] - total[low]) / (high - low)


def loss_figure(records: RecordList) -> "Figure":
    """Training loss against the step: every record faint, the running mean strong; log y where positive.

    Raises EbbtideError where no update has a finite loss.
    """
    steps, loss = series(records, "loss")
    require(len(loss) > 0, 'no "update" record has a finite "loss", so there is no loss curve to draw')
    figure, (axes,) = panels(1)
    mean = smoothed(loss)
    stride = math.ceil(len(loss) / LONGEST_CURVE)
    axes.plot(steps[::stride], loss[::stride], color=BLUE, alpha=0.3, linewidth=0.8, label="each record")
    axes.plot(steps[::stride], mean[::stride], color=BLUE, linewidth=2, label="running mean", **_dot(loss))
    _scale(axes, mean, loss)
    axes.set(ylabel="training loss")
    _steps(axes)
    axes.legend(loc="upper right", frameon=False, fontsize=8.5, labelcolor=INK)
    return figure


def levels_figure(records: RecordList, earlier: int = 3) -> "Figure":
    """Mean loss in each bin of t: the last "levels" record strong, up to `earlier` ones before it fainter.

    The axis is that of the losses: the best constant's and linear denoiser's, where far away, are arrows at the rim.

    Raises EbbtideError where no such record can be drawn.
    """
    drawable = [record for record in records if record["kind"] == "levels" and _is_levels(record)]
    require(len(drawable) > 0, 'no "levels" record has a finite loss, so there is no loss against t to draw')
    *past, last = drawable
    chosen = [*evenly(past, earlier), last]
    figure, (axes,) = panels(1)
    styles = [(0, (1, 1)), (0, (3, 1.5)), (0, (6, 1.5))]
    for index, record in enumerate(chosen):
        final = index == len(chosen) - 1
        loss = np.array([value if is_number(value) else np.nan for value in record["loss"]], dtype=float)
        axes.stairs(
            loss,
            np.array(record["edges"], dtype=float),
            baseline=None,
            color=BLUE,
            linewidth=2.2 if final else 1.2,
            alpha=1.0 if final else 0.5 + 0.3 * index / len(chosen),
            linestyle="-" if final else styles[index % len(styles)],
            label=f"update {record['step']:,}",
        )
    losses = np.array([value for record in chosen for value in record["loss"] if is_number(value)], dtype=float)
    edges = np.array(last["edges"], dtype=float)
    bars = {name: np.array([value or np.nan for value in last[name]], dtype=float) for name in BARS if _has(last, name)}
    shown = _window(axes, losses, list(bars.values()))
    for name, heights in bars.items():
        label, style, share = BARS[name]
        axes.stairs(heights, edges, baseline=None, color=INK, linewidth=1.0, linestyle=style, label=label)
        _point_beyond(axes, edges, heights, shown, share)
    axes.set(xlabel="noise level t  (0: data, 1: noise)", ylabel="mean loss (older batches fade)")
    axes.legend(loc="best", frameon=False, fontsize=8.5, labelcolor=INK)
    return figure


def _has(record: Mapping[str, Any], name: str) -> bool:
    """Whether the bar is on record, a number a bin, and anything but 0 (there is none) everywhere."""
    bar = record.get(name)
    return isinstance(bar, list) and len(bar) == len(record["loss"]) and all(map(is_number, bar)) and any(bar)


def _window(axes: "Axes", losses: np.ndarray, bars: Sequence[np.ndarray]) -> tuple[float, float]:
    """Set the y axis to the losses, and to bars as far as `REACH` times beyond them; lowest and highest shown."""
    low, high = float(losses.min()), float(losses.max())
    if low <= 0:
        margin = 0.05 * ((high - low) or abs(high) or 1.0)
        axes.set_ylim(low - margin, high + margin)
        return low - margin, high + margin
    near = np.concatenate([losses, *(np.clip(bar[bar > 0], low / REACH, REACH * high) for bar in bars)])
    _scale(axes, near, near)
    margin = 1.1 if axes.get_yscale() == "log" else 1.05
    low, high = float(near.min()) / margin, float(near.max()) * margin
    axes.set_ylim(low, high)
    return low, high


def _point_beyond(
    axes: "Axes", edges: np.ndarray, heights: np.ndarray, shown: tuple[float, float], share: float
) -> None:
    """Arrows at the rim where a bar lies beyond what is shown, at this share of a bin."""
    middles = edges[:-1] + share * np.diff(edges)
    for beyond, rim, marker in ((heights > shown[1], 1.0, "^"), (heights < shown[0], 0.0, "v")):
        if beyond.any():
            at = np.full(int(beyond.sum()), rim)
            axes.plot(
                middles[beyond],
                at,
                marker,
                color=INK,
                markersize=4,
                transform=axes.get_xaxis_transform(),
                clip_on=False,
            )


def rate_figure(records: RecordList) -> "Figure":
    """Learning rate and images per second, both against the step; one alone where the other is missing.

    Raises EbbtideError where both are missing.
    """
    rate, speed = series(records, "rate"), series(records, "images_per_second")
    shown = [
        (data, label, colour)
        for data, label, colour in ((rate, "learning rate", ORANGE), (speed, "images per second", GREEN))
        if len(data[0])
    ]
    require(len(shown) > 0, 'no "update" record has a "rate" or "images_per_second" to draw')
    figure, axes = panels(len(shown))
    for axis, ((steps, values), label, colour) in zip(axes, shown, strict=True):
        stride = math.ceil(len(steps) / LONGEST_CURVE)
        axis.plot(steps[::stride], values[::stride], color=colour, linewidth=1.6, **_dot(steps))
        axis.set(ylabel=label, ylim=(0, 1.1 * values.max() or 1))
        axis.ticklabel_format(axis="y", scilimits=(-3, 5))
    _steps(axes[-1])
    return figure


def points_figure(sampled: Any, data: Any, names: tuple[str, str] = ("data", "sampled")) -> "Figure":
    """Points of the plane: the data on the left, what was sampled on the right, on equal axes.

    sampled, data: N x 2, tensors or arrays. The window is that of the data with a margin; sampled points that
    lie beyond it, or are not finite, are counted in the title. Raises EbbtideError for another shape.
    """
    clouds = [_points(data, "data"), _points(sampled, "sampled")]
    require(bool(np.isfinite(clouds[0]).all()), "data: got points that are not finite")
    low, high = clouds[0].min(axis=0), clouds[0].max(axis=0)
    margin = 0.15 * float((high - low).max()) or 1.0
    low, high = low - margin, high + margin
    figure, axes = panels(1, 2)
    figure.set_figheight(0.6 * WIDTH)
    for axis, cloud, name, colour in zip(axes, clouds, names, (INK, BLUE), strict=True):
        inside = ((cloud >= low) & (cloud <= high)).all(axis=1)  # false for NaN
        beyond = len(cloud) - int(inside.sum())
        size = float(np.clip(3000 / len(cloud), 1, 12))
        axis.scatter(cloud[inside, 0], cloud[inside, 1], s=size, color=colour, alpha=0.6, linewidths=0)
        axis.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
        axis.set_title(f"{name}  ({len(cloud):,} points{f', {beyond:,} beyond' if beyond else ''})", fontsize=9)
    return figure


def png_bytes(figure: "Figure", dpi: int = 180) -> bytes:
    """The figure as the bytes of a PNG file."""
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=dpi)
    return data.getvalue()


def evenly(things: Sequence[Any], count: int) -> list[Any]:
    """At most `count` of the things, evenly chosen, in order, the last always among them."""
    if count >= len(things):
        return list(things)
    places = np.linspace(0 if count > 1 else len(things) - 1, len(things) - 1, count).round().astype(int)
    return [things[place] for place in places]


def panels(rows: int, columns: int = 1, share: bool = True) -> tuple["Figure", list["Axes"]]:
    """An empty figure in the one style of this library, and its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    axes = list(figure.subplots(rows, columns, sharex=share and rows > 1, squeeze=False).flat)
    for axis in axes:
        axis.grid(True, color=FAINT, linewidth=0.6)
        axis.set_axisbelow(True)
        axis.tick_params(colors=INK, labelsize=8.5)
        axis.spines[["top", "right"]].set_visible(False)
        axis.spines[["left", "bottom"]].set_color(INK)
        for label in (axis.xaxis.label, axis.yaxis.label):
            label.set(size=9, color=INK)
    return figure, axes


def _scale(axes: "Axes", smooth: np.ndarray, values: np.ndarray) -> None:
    """A log y axis with plain numbers where all is positive and the span asks for it; else linear."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    if smooth.min() > 0 and values.min() > 0 and values.max() / values.min() > 3:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if values.max() / values.min() < 300 else (1,)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())


def _steps(axes: "Axes") -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 2.5, 5, 10], integer=True))


def _dot(values: np.ndarray) -> dict[str, Any]:
    return {"marker": "o", "markersize": 4} if len(values) == 1 else {}  # a line of one point would be invisible


def _is_levels(record: Mapping[str, Any]) -> bool:
    edges, loss = record.get("edges"), record.get("loss")
    return (
        isinstance(edges, list)
        and isinstance(loss, list)
        and len(edges) == len(loss) + 1
        and all(map(is_number, edges))
        and any(map(is_number, loss))
    )


def _points(points: Any, name: str) -> np.ndarray:
    array = points.detach().cpu().numpy() if hasattr(points, "detach") else np.asarray(points)
    require(
        array.ndim == 2 and array.shape[1] == 2 and len(array) > 0,
        f"{name}: got shape {array.shape}, expected N x 2 points of the plane",
    )
    return array.astype(float)
