import io
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from ebbtide.errors import EbbtideError
from ebbtide.evaluation import figures
from trials import Clock


def update(step: int, **values: object) -> dict[str, object]:
    return {"kind": "update", "step": step, **values}


def levels(step: int, loss: list[float | None]) -> dict[str, object]:
    edges = [index / len(loss) for index in range(len(loss) + 1)]
    return {"kind": "levels", "step": step, "edges": edges, "loss": loss, "count": [1] * len(loss)}


def texts(figure) -> str:
    axes = figure.axes
    legends = [axis.get_legend() for axis in axes]
    words = [text.get_text() for legend in legends if legend for text in legend.get_texts()]
    return " ".join([*words, *(axis.get_xlabel() + axis.get_ylabel() + axis.get_title() for axis in axes)])


def test_a_series_leaves_out_what_is_no_finite_number():
    records = [update(1, loss=2), update(2, loss=None), update(3), update(4, loss="x"), update(5, loss=math.inf)]
    steps, values = figures.series([*records, {"kind": "event", "step": 6, "loss": 1.0}], "loss")
    assert (steps.tolist(), values.tolist()) == ([1], [2])


@pytest.mark.parametrize("count", [1, 2, 3, 50, 1000])
def test_smoothing_keeps_a_constant_and_stays_within_the_curve(count):
    assert figures.smoothed(np.full(count, 3.0)) == pytest.approx(np.full(count, 3.0))
    noisy = np.random.default_rng(0).standard_normal(count)
    smooth = figures.smoothed(noisy)
    assert smooth.min() >= noisy.min() - 1e-9
    assert smooth.max() <= noisy.max() + 1e-9
    assert smooth[0] == pytest.approx(noisy[0])  # a steep start is not smeared
    assert count < 200 or smooth.std() < 0.7 * noisy.std()


@pytest.mark.parametrize(
    ("losses", "scale"),
    [([10.0, 1.0, 0.1], "log"), ([1.0, 0.9, 0.8], "linear"), ([10.0, 0.1, -1.0], "linear"), ([5.0, 0.0], "linear")],
)
def test_the_loss_axis_is_logarithmic_only_where_that_is_possible_and_helps(losses, scale):
    figure = figures.loss_figure([update(step, loss=loss) for step, loss in enumerate(losses)])
    assert figure.axes[0].get_yscale() == scale
    assert "step" in texts(figure)


def test_a_long_curve_is_thinned_but_keeps_its_ends_in_sight():
    figure = figures.loss_figure([update(step, loss=1.0 + step) for step in range(10_001)])
    for line in figure.axes[0].lines:
        assert 1000 < len(line.get_xdata()) <= figures.LONGEST_CURVE
        assert line.get_xdata()[0] == 0
        assert line.get_xdata()[-1] > 9990


def test_the_last_levels_stand_out_from_a_few_earlier_ones():
    records = [levels(step, [3.0, None, 1.0 / (step + 1)]) for step in range(10)]
    figure = figures.levels_figure(records)
    *earlier, last = figure.axes[0].patches
    assert len(earlier) == 3
    assert all(last.get_linewidth() > line.get_linewidth() for line in earlier)
    assert np.isnan(last.get_data().values).tolist() == [False, True, False]
    assert last.get_data().edges.tolist() == records[-1]["edges"]
    assert "update 9" in texts(figure)
    assert "0: data, 1: noise" in texts(figure)


def bars_of(record):
    """Labels and heights of what is drawn beside the losses."""
    patches = figures.levels_figure([levels(1, [9.0, 9.0, 9.0]), record]).axes[0].patches
    return {patch.get_label(): patch.get_data().values.tolist() for patch in patches if "best" in patch.get_label()}


def test_the_best_constant_and_linear_denoiser_are_bars_beside_the_losses():
    record = levels(2, [3.0, None, 1.0])
    assert bars_of(record) == {}
    bars = {"constant": [1, 2.0, 3.0], "linear": [0.5, 1.0, 1.5]}
    found = bars_of(record | bars)
    assert found == {"best constant": [1, 2, 3], "best linear denoiser": [0.5, 1, 1.5]}
    figure = figures.levels_figure([record | bars])
    for patch in figure.axes[0].patches:
        assert patch.get_data().edges.tolist() == record["edges"]
    assert "best constant" in texts(figure)
    earlier = figures.levels_figure([record | bars, levels(3, [3.0, 2.0, 1.0])])
    assert "best" not in texts(earlier)


@pytest.mark.parametrize(
    "bar", [[1.0, 2.0], [1.0, 2.0, 3.0, 4.0], [], None, "abc", 3, [1.0, None, 3.0], [1.0, math.nan, 3.0], ["a"] * 3]
)
def test_a_bar_that_does_not_fit_is_left_out_and_costs_only_itself(bar):
    found = bars_of(levels(2, [3.0, None, 1.0]) | {"constant": bar, "linear": [0.5, 1.0, 1.5]})
    assert found == {"best linear denoiser": [0.5, 1.0, 1.5]}


def test_a_bar_is_left_out_where_there_is_none():
    """A table's bin without a step, or data that are all the same, have 0 there."""
    found = bars_of(levels(2, [3.0, None, 1.0]) | {"constant": [1.0, 0.0, 3.0], "linear": [0.0, 0.0, 0.0]})
    assert list(found) == ["best constant"]
    assert np.isnan(found["best constant"]).tolist() == [False, True, False]


def test_the_axis_is_that_of_the_losses_and_bars_far_away_are_arrows():
    """As where 150 pictures are known by heart: the linear bar is next to nothing, the constant's is out of sight."""
    record = levels(2, [0.3, 0.1, 0.2]) | {"constant": [1e7, 0.5, 50.0], "linear": [1e-6, 0.05, 1e-4]}
    axes = figures.levels_figure([record]).axes[0]
    low, high = axes.get_ylim()
    assert 0.1 / 5 < low < 0.05
    assert 0.5 < high < 5 * 0.3
    arrows = {line.get_marker(): sorted(line.get_xdata()) for line in axes.lines}
    edges = record["edges"]
    assert set(arrows) == {"^", "v"}
    for at in arrows.values():
        assert [edges[0] < at[0] < edges[1], edges[2] < at[1] < edges[3]] == [True, True]
    without = figures.levels_figure([record | {"constant": [0.3, 0.4, 0.5], "linear": [0.1, 0.1, 0.1]}])
    assert len(without.axes[0].lines) == 0


def test_rate_and_speed_share_a_figure_and_either_may_be_missing():
    both = figures.rate_figure([update(1, rate=1e-3, images_per_second=100.0), update(2, rate=1e-4)])
    assert len(both.axes) == 2
    assert "learning rate" in texts(both)
    assert "images per second" in texts(both)
    assert len(figures.rate_figure([update(1, rate=0.0)]).axes) == 1


@pytest.mark.parametrize("draw", [figures.loss_figure, figures.levels_figure, figures.rate_figure])
@pytest.mark.parametrize(
    "records",
    [
        [],
        [update(1, loss=None)],
        [{"kind": "levels", "step": 1}],
        [levels(1, [None, None])],
        [levels(1, [1.0]) | {"edges": [0, 0.5, 1]}],
    ],
)
def test_nothing_to_draw_is_said_in_words(draw, records):
    with pytest.raises(EbbtideError, match="to draw"):
        draw(records)


def test_points_share_a_window_that_outliers_cannot_blow_up():
    data = torch.rand(50, 2)
    sampled = torch.cat([torch.rand(7, 2), torch.tensor([[1e6, 0.0], [math.nan, 0.5]])])
    figure = figures.points_figure(sampled, data)
    left, right = figure.axes
    assert left.get_xlim() == right.get_xlim()
    assert left.get_ylim() == right.get_ylim()
    assert left.get_aspect() == right.get_aspect() == 1
    assert left.get_xlim()[1] < 2
    assert "50 points" in left.get_title()
    assert "9 points, 2 beyond" in right.get_title()
    assert len(right.collections[0].get_offsets()) == 7


@pytest.mark.parametrize("shape", [(5,), (5, 3), (0, 2)])
def test_points_off_the_plane_are_refused(shape):
    with pytest.raises(EbbtideError, match="N x 2"):
        figures.points_figure(np.zeros(shape), np.zeros((4, 2)))
    with pytest.raises(EbbtideError, match="N x 2"):
        figures.points_figure(np.zeros((4, 2)), np.zeros(shape))


@pytest.mark.parametrize(
    "figure",
    [
        lambda: figures.loss_figure([update(1, loss=0.5)]),
        lambda: figures.levels_figure([levels(1, [100.0, 1e-3])]),
        lambda: figures.rate_figure([update(1, rate=0.0, images_per_second=0.0)]),
        lambda: figures.points_figure(np.zeros((1, 2)), np.zeros((1, 2))),
    ],
)
@pytest.mark.filterwarnings("error", "ignore::ResourceWarning")  # files that others left open
def test_even_the_least_records_give_a_whole_png(figure, monkeypatch):
    """Also where it takes long to find a place for the legend, of which matplotlib warns unless it is told where."""
    monkeypatch.setattr("matplotlib.legend.time", Clock(tick=2.0))
    with Image.open(io.BytesIO(figures.png_bytes(figure(), dpi=80))) as image:
        image.load()
        assert image.format == "PNG"
        assert len(set(image.convert("L").get_flattened_data())) > 3


@pytest.mark.parametrize(("length", "count"), [(0, 3), (2, 3), (10, 1), (10, 4), (100, 6)])
def test_evenly_keeps_order_and_the_last(length, count):
    chosen = figures.evenly(range(length), count)
    assert len(chosen) == min(length, count)
    assert chosen == sorted(set(chosen))
    assert not length or chosen[-1] == length - 1
    steps = np.diff(chosen)
    assert len(steps) < 1 or steps.max() - steps.min() <= 1


def test_importing_the_room_does_not_import_matplotlib():
    check = "import sys, ebbtide.evaluation.report; print('matplotlib' in sys.modules, 'torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert result.stdout.split()[0] == "False"
