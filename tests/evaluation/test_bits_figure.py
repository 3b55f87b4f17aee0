"""The picture of bits holds the curves that it names."""

import io
import math

import numpy as np
import pytest
from PIL import Image

from ebbtide.errors import EbbtideError
from ebbtide.evaluation.bits import bits_figure
from ebbtide.evaluation.figures import png_bytes

COUNT = 12


def result(**changes):
    random = np.random.default_rng(0)
    found = {
        "images": True,
        "bits": 3.2,
        "parts": {"prior": 0.3, "steps": 2.0, "reconstruction": 0.9},
        "log_snr": np.linspace(-9, 6, COUNT).tolist(),
        "t": np.sort(random.uniform(0, 1, COUNT))[::-1].tolist(),
        "rate": random.uniform(0, 1, COUNT).tolist(),
        "width": random.uniform(1, 2, COUNT).tolist(),
        "distortion": np.sort(random.uniform(1, 90, COUNT))[::-1].tolist(),
    }
    return found | changes


def curves(figure):
    """x and y of the first line in each panel."""
    return [(axis.lines[0].get_xdata().tolist(), axis.lines[0].get_ydata().tolist()) for axis in figure.axes]


def summed(found, kept):
    """The bits that are known at each level, added up from the noisy end."""
    total, known = found["parts"]["prior"], []
    for i in kept:
        total += found["rate"][i] * found["width"][i]
        known.append(total)
    return known


def test_the_curves_are_rate_what_is_known_and_what_is_left_of_the_error():
    found = result()
    rate, known, over_t, progress = curves(bits_figure(found))
    expected = pytest.approx(summed(found, range(COUNT)))
    assert rate == (found["log_snr"], found["rate"])
    assert known == (found["log_snr"], expected)
    assert over_t == (found["t"], expected)
    assert progress == (expected, found["distortion"])


def bars(figure):
    return [(bar.get_x(), bar.get_width(), bar.get_height()) for bar in figure.axes[2].patches]


@pytest.mark.parametrize("power", [1, 2])
def test_bars_are_what_the_schedule_spends_in_each_tenth_of_t(power):
    """Where 2 (1 - t)^p is known at t, straight lines between points that lie on the edges of the tenths."""
    t = np.linspace(1, 0, 41)
    known = 2 * (1 - t) ** power
    steps = {"rate": np.diff(known, prepend=0), "width": np.ones(41), "log_snr": np.arange(41), "distortion": t, "t": t}
    found = result(parts={"prior": 0.0}, **{name: values.tolist() for name, values in steps.items()})
    expected = [2 * (1 - k / 10) ** power - 2 * (1 - (k + 1) / 10) ** power for k in range(10)]
    for k, bar in enumerate(bars(bits_figure(found))):
        assert bar == pytest.approx((k / 10, 0.1, expected[k]))


def test_bars_add_up_to_all_that_is_spent():
    found = result()
    known = summed(found, range(COUNT))
    assert len(bars(bits_figure(found))) == 10
    assert sum(height for _, _, height in bars(bits_figure(found))) == pytest.approx(known[-1] - known[0])


def test_the_whole_bound_is_a_line_with_its_number():
    axis = bits_figure(result(bits=4.125)).axes[1]
    assert set(axis.lines[1].get_ydata()) == {4.125}
    assert any("4.12" in text.get_text() for text in axis.texts)


@pytest.mark.parametrize("missing", [math.nan, None])
@pytest.mark.parametrize("field", ["rate", "distortion"])
def test_bins_that_nobody_has_visited_are_left_out(field, missing):
    found = result()
    found[field][0] = found[field][5] = missing
    kept = [i for i in range(COUNT) if i not in (0, 5)]
    rate, known, over_t, progress = curves(bits_figure(found))
    assert rate[0] == known[0] == [found["log_snr"][i] for i in kept]
    assert rate[1] == [found["rate"][i] for i in kept]
    assert over_t[0] == [found["t"][i] for i in kept]
    assert known[1] == over_t[1] == progress[0] == pytest.approx(summed(found, kept))
    assert progress[1] == [found["distortion"][i] for i in kept]


@pytest.mark.parametrize("rate", [[], [None] * COUNT, [math.nan] * COUNT])
def test_a_result_without_a_curve_is_refused(rate):
    columns = {name: result()[name][: len(rate)] for name in ("log_snr", "t", "width", "distortion")}
    with pytest.raises(EbbtideError, match="no curve to draw"):
        bits_figure(result(rate=rate, **columns))


@pytest.mark.parametrize(("images", "unit"), [(True, "bytes"), (False, "units of the data")])
def test_errors_are_in_the_datas_own_unit(images, unit):
    figure = bits_figure(result(images=images))
    assert unit in figure.axes[3].get_ylabel()
    assert all(axis.get_xlabel() and axis.get_ylabel() for axis in figure.axes)


@pytest.mark.filterwarnings("error", "ignore::ResourceWarning")  # files that others left open
@pytest.mark.parametrize("count", [1, COUNT])
def test_it_is_a_whole_picture(count):
    columns = {name: result()[name][:count] for name in ("log_snr", "t", "rate", "width", "distortion")}
    with Image.open(io.BytesIO(png_bytes(bits_figure(result(**columns)), dpi=60))) as image:
        image.load()
        assert len(set(image.convert("L").get_flattened_data())) > 3
