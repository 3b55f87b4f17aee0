"""What an evaluation and a diagnosis say: digits that the error allows, and a report that survives any file."""

import io
import itertools
import json
import math
import re

import numpy as np
import pytest
from PIL import Image

from ebbtide.evaluation.diagnosis import diagnosis_section, errors_figure
from ebbtide.evaluation.figures import png_bytes
from ebbtide.evaluation.quality import (
    CLOUD,
    METRICS,
    SCALE,
    copies_in_words,
    heads_of,
    quality_figure,
    quality_section,
    rows_of,
    words_of,
)
from ebbtide.evaluation.report import write_report
from ebbtide.evaluation.restoration import restoration_section
from trials import Clock

HOSTILE = "</td><script>alert('1')</script><img src=x onerror=alert(2)>"


def measured(value=1.0, error=0.1):
    return {"value": value, "error": error}


def metrics(count, *more):
    names = ("frechet", "kernel", "precision", "recall", *more)
    return {"count": count, **{name: measured(index + 0.5, 0.01) for index, name in enumerate(names)}}


def evaluation():
    return {
        "features": "a classifier of labels",
        "data": "digits",
        "split": "test",
        "reference": 1500,
        "sets": {
            "samples": metrics(5000, "inception_score"),
            "as_many": metrics(297),
            "unseen": metrics(297, "inception_score"),
        },
        "copying": {
            "nearer": measured(0.47, 0.02),
            "z": -1.0,
            "copies": 1,
            "copies_unseen": 2,
            "samples": 1000,
            "unseen": 297,
            "distance": 0.101,
            "distance_unseen": 0.0987,
        },
    }


def diagnosis():
    verdicts = ("wrong", "note", "fine", "fine")
    findings = [
        {"check": f"data: {index}", "verdict": verdict, "text": f"text {index}", "cause": None}
        for index, verdict in enumerate(verdicts)
    ]
    return {"findings": findings, "levels": curves()}


def curves(**changes):
    log_snr = np.linspace(6, -6, 10)
    linear = 1 / (1 + np.exp(log_snr))
    names = {"linear": linear, "average": 1.3 * linear, "network": 0.9 * linear, "train": 0.5 * linear}
    return {"log_snr": log_snr.tolist(), "constant": 1.0} | {k: v.tolist() for k, v in names.items()} | changes


# --- words ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [0.00123, 0.0099, 0.01, 0.099999, 0.1, 0.5, 0.95, 1.0, 9.99, 10.0, 12.3, 456.0])
@pytest.mark.parametrize("value", [0.0, -3.21987654, 0.123456789, 7654.321987])
def test_a_number_has_as_many_digits_as_its_error_has_two_of(value, error):
    said = words_of("frechet", measured(value, error))
    told, _, told_error = said.partition(" ± ")
    digits = [len(text.partition(".")[2]) for text in (told, told_error)]
    assert digits[0] == digits[1]
    assert float(told) == pytest.approx(value, abs=0.501 * 10 ** -digits[0])
    assert float(told_error) == pytest.approx(error, abs=0.501 * 10 ** -digits[0])
    # two digits of the error, or all that stand before the point
    assert float(told_error) == pytest.approx(error, rel=0.05)
    assert digits[0] <= max(0, 1 - math.floor(math.log10(error)))


def test_a_number_without_an_error_and_a_tiny_error_end_somewhere():
    assert words_of("frechet", measured(1.23456, 0.0)) == "1.235 ± 0.000"
    assert len(words_of("frechet", measured(1.23456, 1e-12)).split()[0]) <= 6


def test_a_kernel_distance_is_told_in_thousandths():
    assert words_of("kernel", measured(0.00512, 0.00031)) == words_of("frechet", measured(5.12, 0.31)) == "5.12 ± 0.31"


def test_rows_hold_the_number_of_each_set_in_the_order_of_the_metrics():
    found = evaluation()
    rows = rows_of(found)
    assert [row[0] for row in rows] == list(METRICS.values())
    for row, name in zip(rows, METRICS, strict=True):
        expected = [words_of(name, one[name]) if name in one else "" for one in found["sets"].values()]
        assert list(row[1:]) == expected
    assert rows[-1][2] == ""
    for one in found["sets"].values():
        one.pop("inception_score", None)
    assert len(rows_of(found)) == len(rows) - 1


@pytest.mark.parametrize(("split", "words"), [("test", "297 held-out"), ("half of train", "297 real, other half")])
def test_heads_say_how_many_of_what(split, words):
    found = evaluation() | {"split": split}
    assert heads_of(found) == ("5,000 samples", "297 samples", words)
    del found["sets"]["as_many"]
    assert heads_of(found) == ("5,000 samples", words)


def test_copies_are_said_with_what_no_copies_would_give():
    words = copies_in_words(evaluation())
    for part in ("47% ± 2%", "50 %: nothing is copied", "0.101 and 0.0987", "1 of 1,000 samples", "2 of 297 unseen"):
        assert part in words
    found = evaluation()
    found["copying"]["copies_unseen"] = 0
    assert "unseen examples)" not in copies_in_words(found)


# --- pictures ---------------------------------------------------------------------------------------------------------


def clouds(d=5, count=300):
    random = np.random.default_rng(0)
    real = random.standard_normal((count, d)) * np.arange(1, d + 1) + 7
    return random.standard_normal((80, d)), real, random.uniform(0, 1, 80), random.uniform(0.2, 2, 50)


def test_both_clouds_lie_along_the_real_ones_principal_components():
    samples, real, near, unseen = clouds()
    figure = quality_figure(samples, real, near, unseen)
    shown_real, shown = (np.asarray(cloud.get_offsets()) for cloud in figure.axes[0].collections)
    assert shown_real.shape == (300, 2)
    assert shown_real.mean(0) == pytest.approx([0, 0], abs=1e-9)
    spread = np.linalg.eigvalsh(np.cov(real.T))[::-1]
    assert np.cov(shown_real.T) == pytest.approx(np.diag(spread[:2]), abs=1e-6)
    # both are moved and turned in the same way
    both = np.concatenate([real, samples]) - real.mean(0)
    turn = np.linalg.lstsq(both, np.concatenate([shown_real, shown]), rcond=None)[0]
    assert both @ turn == pytest.approx(np.concatenate([shown_real, shown]), abs=1e-6)


def test_bars_show_where_the_distances_lie():
    samples, real, near, unseen = clouds()
    axis = quality_figure(samples, real, near, unseen).axes[1]
    widths = {round(bar.get_width(), 9) for bar in axis.patches}
    assert len(widths) == 1
    for bars, values in zip(axis.containers, (unseen, near), strict=True):
        assert sum(bar.get_width() * bar.get_height() for bar in bars) == pytest.approx(1)
        middle = sum(bar.get_width() * bar.get_height() * (bar.get_x() + bar.get_width() / 2) for bar in bars)
        assert middle == pytest.approx(values.mean(), abs=next(iter(widths)))
        assert bars[0].get_label() == ("unseen examples" if values is unseen else "samples")


@pytest.mark.filterwarnings("error", "ignore::ResourceWarning")  # files that others left open
@pytest.mark.parametrize(
    "sets",
    [
        clouds(d=1),
        clouds(d=2),
        (np.ones((50, 3)), np.ones((50, 3)), np.zeros(50), np.zeros(50)),
        tuple(values.astype(np.float32) for values in clouds(count=CLOUD + 5)),
    ],
    ids=["numbers", "points", "all the same", "many"],
)
def test_any_sets_give_a_whole_picture(sets, monkeypatch):
    """Also where it takes long to find a place for the legend, of which matplotlib warns unless it is told where."""
    monkeypatch.setattr("matplotlib.legend.time", Clock(tick=2.0))
    figure = quality_figure(*sets)
    assert all(len(cloud.get_offsets()) <= CLOUD for cloud in figure.axes[0].collections)
    with Image.open(io.BytesIO(png_bytes(figure, dpi=50))) as image:
        image.load()
        assert len(set(image.convert("L").get_flattened_data())) > 3


def test_errors_are_drawn_by_level_and_as_shares_of_the_linear_ones():
    found = curves()
    above, below = errors_figure(found).axes
    lines = {line.get_label(): line for line in above.lines}
    for name, label in (
        ("linear", "best linear denoiser"),
        ("network", "network, last weights"),
        ("train", "network, training examples"),
        ("average", "network"),
    ):
        assert lines[label].get_xdata().tolist() == found["log_snr"]
        assert lines[label].get_ydata().tolist() == found[name]
    assert set(lines["best constant"].get_ydata()) == {1.0}
    shares = sorted(line.get_ydata()[0] for line in below.lines)
    assert shares == pytest.approx([0.5, 0.9, 1, 1.3])
    assert below.get_ylim()[1] > 1.3


@pytest.mark.filterwarnings("error", "ignore::ResourceWarning")  # files that others left open
@pytest.mark.parametrize("holes", [[None] * 10, [0.5] * 9 + [None], [1e30] * 10])
def test_errors_that_are_missing_or_huge_do_not_stop_the_picture(holes):
    figure = errors_figure(curves(average=holes, network=holes))
    assert 1 < figure.axes[1].get_ylim()[1] <= 3
    with Image.open(io.BytesIO(png_bytes(figure, dpi=50))) as image:
        image.load()


def restoration():
    rows = [
        {"name": name, "psnr": {"value": 9.5 + k, "error": 0.1}, "ssim": None, "frechet": {"value": 30.0, "error": 1.0}}
        for k, name in enumerate(("degraded", "direct", "sampled"))
    ]
    about = {
        "level": 1.0,
        "steps": 20,
        "sampler": "cold",
        "features": "a classifier",
        "count": 200,
        "of": "the test split",
    }
    return about | {"rows": rows}


# --- the report -------------------------------------------------------------------------------------------------------

SECTIONS = {
    "evaluation.json": (quality_section, evaluation),
    "restoration.json": (restoration_section, restoration),
    "doctor.json": (diagnosis_section, diagnosis),
}


@pytest.fixture(params=SECTIONS)
def kept(request):
    """Name of the file, what draws it, and what it holds."""
    return request.param, *SECTIONS[request.param]


def shown(folder, name, draw, content):
    (folder / name).write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return draw(folder)


def test_an_evaluation_is_a_table_with_its_words(tmp_path):
    html = shown(tmp_path, "evaluation.json", quality_section, evaluation())
    assert "<h2>Evaluation</h2>" in html
    assert "Against 1,500 training examples, in the features of a classifier of labels." in html
    assert html.count('class="group"') == len(METRICS)
    for name, one in evaluation()["sets"]["samples"].items():
        assert name == "count" or words_of(name, one) in html
    for words in (*heads_of(evaluation()), "47% ± 2%", "Precision: the share of samples that look real"):
        assert words in html
    assert "<figure" not in html
    (tmp_path / "pictures").mkdir()
    for picture in ("evaluation", "neighbours"):
        Image.new("L", (9, 9)).save(tmp_path / "pictures" / f"{picture}.png")
    assert quality_section(tmp_path).count("<figure") == 2
    (tmp_path / "pictures" / "neighbours.png").write_bytes(b"broken")
    assert quality_section(tmp_path).count("<figure") == 1


def test_a_restoration_is_a_table_without_what_could_not_be_measured(tmp_path):
    html = shown(tmp_path, "restoration.json", restoration_section, restoration())
    assert "200 pictures of the test split, worn to t = 1 and restored by cold in 20 steps" in html
    assert html.count('class="group"') == 3
    assert html.count("9.50 ± 0.10") == html.count("11.50 ± 0.10") == 1


def test_a_diagnosis_lists_what_is_not_fine_and_counts_faults_and_notes_apart(tmp_path):
    html = shown(tmp_path, "doctor.json", diagnosis_section, diagnosis())
    assert "1 of 4 checks found something wrong, 1 worth a note." in html
    assert re.findall(r"<b>(.*?)</b><span>(.*?)</span>", html) == [
        ("wrong", "data: 0: text 0"),
        ("note", "data: 1: text 1"),
    ]
    well = {"findings": diagnosis()["findings"][2:]}
    html = shown(tmp_path, "doctor.json", diagnosis_section, well)
    assert "nothing is wrong: 2 checks." in html
    assert "<li>" not in html


def test_where_nothing_was_asked_there_is_no_section(tmp_path, kept):
    _, draw, _ = kept
    assert draw(tmp_path) == ""
    assert draw(tmp_path / "nowhere") == ""


def test_words_of_the_file_stay_words(tmp_path, kept):
    name, draw, make = kept
    content = make()
    if name in ("evaluation.json", "restoration.json"):
        content["features"] = HOSTILE
    else:
        content["findings"][0] |= {"check": HOSTILE, "verdict": HOSTILE, "text": HOSTILE}
    html = shown(tmp_path, name, draw, content)
    assert "&lt;script&gt;" in html
    assert "<script" not in html
    assert "onerror" not in re.sub(r"&lt;img src=x onerror=alert\(2\)&gt;", "", html)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"null", b"3", b'"text"', b"[]", b"{}", b"\xff\xfe", b"[" * 100_000, b'{"sets": [], "findings": 3}'],
    ids=["empty", "cut", "null", "number", "text", "list", "object", "no unicode", "deep", "of other types"],
)
def test_a_damaged_file_is_named_in_a_sentence(tmp_path, kept, content):
    name, draw, _ = kept
    html = shown(tmp_path, name, draw, content)
    assert name in html
    assert "damaged" in html
    assert html.count("<p") == 1


def places(value, path=()):
    """The way to every value within."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


STRANGE = [None, True, HOSTILE, [1], {}, -1, 1e308, math.inf, math.nan, 10**400]


def test_any_value_anywhere_in_the_file_leaves_a_page_that_is_whole(tmp_path, kept):
    name, draw, make = kept
    gone = object()
    for path, strange in itertools.product(places(make()), [*STRANGE, gone]):
        content = make()
        inner = content
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = strange
        if strange is gone:
            del inner[path[-1]]
        html = shown(tmp_path, name, draw, content)
        assert "<script" not in html, path
        tags = "section|h2|table|tr|td|th|p|ol|li|span|b"
        assert len(re.findall(rf"<({tags})[ >]", html)) == len(re.findall(rf"</({tags})>", html)), (path, strange)


def test_the_report_shows_both_and_survives_both_being_damaged(tmp_path):
    (tmp_path / "recipe.json").write_text("{}")
    for name, (_, make) in SECTIONS.items():
        (tmp_path / name).write_text(json.dumps(make()))
    page = write_report(tmp_path).read_text()
    assert page.index("<h2>Evaluation</h2>") < page.index("<h2>Doctor</h2>")
    for name in (*SECTIONS, "bits.json"):
        (tmp_path / name).write_bytes(b"[" * 100_000)
    page = write_report(tmp_path).read_text()
    for name in (*SECTIONS, "bits.json"):
        assert re.search(rf"{name} [^<]*damaged", page), name


def test_only_kernel_distances_are_scaled():
    assert SCALE == {"kernel": 1000.0}
    assert "x 1000" in METRICS["kernel"]
