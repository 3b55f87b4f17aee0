import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ebbtide.errors import EbbtideError
from ebbtide.evaluation.page import duration, page, picture, table
from ebbtide.evaluation.pictures import film_strip, picture_grid, save_png, side_by_side
from ebbtide.evaluation.records import Records
from ebbtide.evaluation.report import write_report

HOSTILE = "</td><script>alert('1')</script><img src=\"https://evil.example/x.png\" onerror=alert(2)>"
VOID = {"meta", "img", "link", "br", "hr", "input"}


class Page(HTMLParser):
    """What a browser would see: tags with their attributes, words, and whether the tags are balanced."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words = ""
        self.style = ""
        self.open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "style":
            self.style += data
        else:
            self.words += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def headings(self) -> list[str]:
        return [heading for heading in SECTIONS if f"\n{heading}\n" in self.words]


SECTIONS = [
    "Final samples",
    "Film of sampling",
    "Restored",
    "Points",
    "Samples over training",
    "Loss",
    "Loss against noise level",
    "Rate and speed",
    "Events",
    "Recipe",
    "Data, machine and versions",
]


def digits(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 8, 8, 1), dtype=np.uint8)


def write_recipe(run: Path, **recipe: object) -> Path:
    run.mkdir(parents=True, exist_ok=True)
    about = {
        "format": 1,
        "ebbtide": "0.1.0",
        "recipe": {"name": "digits", "network": {"widths": [1, 2], "attention": True, "cap": None}, **recipe},
        "data": {"name": "digits", "event_shape": [1, 8, 8], "classes": ["0", "1"], "examples": 1500},
        "machine": {"cpu": "a processor", "cores": 2, "torch": "2.9", "device": "cpu", "precision": "float32"},
    }
    (run / "recipe.json").write_text(json.dumps(about))
    return run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run with everything a run can leave behind."""
    run = write_recipe(tmp_path / "my run")
    records = Records(run / "metrics.jsonl")
    for step in range(10, 210, 10):
        seconds = {"seconds": step * 0.5, "images": step * 128, "images_per_second": 256.0 + step}
        records.append("update", step, loss=5.0 / step, rate=1e-3, grad_norm=1.0, skipped=int(step > 50), **seconds)
        if step % 20 == 0:
            file = f"samples/step-{step:08d}.png"
            save_png(picture_grid(digits(4)), run / file)
            records.append("levels", step, edges=[0, 0.5, 1], loss=[1.0, None], count=[7, 0])
            records.append("sampled", step, file=file)
    records.append("event", 50, message="file 3.png was skipped")
    records.append("done", 200, seconds=110.2)
    save_png(picture_grid(digits(9)), run / "pictures" / "final.png")
    save_png(film_strip([digits(2)] * 3), run / "pictures" / "film.png")
    save_png(side_by_side({"original": digits(2), "restored": digits(2)}), run / "pictures" / "restored.png")
    save_png(Image.new("RGB", (900, 500), "white"), run / "pictures" / "points.png")
    return run


def assert_self_contained(found: Page, path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not found.all("script")
    assert not found.all("link")
    for name, attributes in found.tags:
        for key, value in attributes.items():
            assert not key.startswith("on")
            if key in ("src", "href", "srcset", "action", "data", "poster", "background"):
                assert (name, key) == ("img", "src")
                assert value.startswith("data:image/")
    assert not re.search(r"url\(|@import|https?://", found.style)
    assert "https://" not in re.sub(r"&quot;https://evil.example", "", text)
    assert "http://" not in text


def test_a_whole_run_gives_every_section_in_one_file_that_needs_nothing_else(run):
    path = write_report(run)
    assert path == run / "report.html"
    found = Page(path)
    assert_self_contained(found, path)
    assert found.headings() == SECTIONS
    assert len(found.all("img")) == 4 + 6 + 3
    assert all(image["alt"] and int(image["width"]) > 0 for image in found.all("img"))
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in found.all("meta")
    assert "prefers-color-scheme: dark" in found.style
    for words in ("my run", "recipe digits", "1 × 8 × 8", "1,500", "25,600", "1 min 50 s", "Finished at update 200"):
        assert words in found.words
    for words in ("file 3.png was skipped", "update 20", "update 200", "widths", "1, 2", "a processor", "0.1.0"):
        assert words in found.words


def test_small_pictures_keep_their_pixels_and_charts_do_not(run):
    found = Page(write_report(run))
    for image in found.all("img"):
        small = int(image["width"]) <= 800 and not image["alt"].startswith("samples at update")
        assert (image.get("class") == "small") == small
    assert re.search(r"img\.small *{[^}]*image-rendering: pixelated", found.style)


def test_writing_again_replaces_the_report_and_leaves_nothing_beside(run):
    before = write_report(run).read_bytes()
    assert write_report(run).read_bytes() == before
    assert not [path for path in run.iterdir() if path.suffix == ".part"]


def test_whatever_files_say_stays_text(run):
    write_recipe(run, name=HOSTILE, **{HOSTILE: {HOSTILE: HOSTILE}})
    Records(run / "metrics.jsonl").append("event", 60, message=HOSTILE)
    save_png(Image.new("L", (8, 8)), run / "pictures" / "a<script>b.png")
    path = write_report(run)
    found = Page(path)
    assert_self_contained(found, path)
    assert found.words.count(HOSTILE) == 6
    assert "<script" not in path.read_text()


def test_a_run_that_has_only_begun_is_told_in_sentences(tmp_path):
    run = write_recipe(tmp_path / "new")
    found = Page(write_report(run))
    assert not found.all("img")
    assert "no records yet" in found.words
    assert "no samples yet" in found.words
    (run / "metrics.jsonl").write_text("")
    assert "not made its first update" in Page(write_report(run)).words


def test_a_recipe_without_its_parts_still_gives_a_page(tmp_path):
    (tmp_path / "recipe.json").write_text("{}")
    assert "The recipe is empty" in Page(write_report(tmp_path)).words


def test_an_unfinished_run_shows_its_newest_sample(run):
    (run / "pictures" / "final.png").unlink()
    lines = (run / "metrics.jsonl").read_text().splitlines()
    (run / "metrics.jsonl").write_text("\n".join(lines[:-1]) + '\n{"kind": "upd')
    found = Page(write_report(run))
    assert "Not finished; the last record is from update 200." in found.words
    assert found.all("img")[0]["alt"] == "samples at update 200"


def test_samples_are_found_without_records_but_never_outside_the_run(run, tmp_path):
    save_png(Image.new("L", (8, 8)), tmp_path / "private.png")
    (run / "metrics.jsonl").unlink()
    assert len([image for image in Page(write_report(run)).all("img") if "at update" in image["alt"]]) == 6
    records = Records(run / "metrics.jsonl")
    for step, file in enumerate(("../private.png", str(tmp_path / "private.png"), "a\0b", None, 3, "", "gone.png")):
        records.append("sampled", step, file=file)
    assert len([image for image in Page(write_report(run)).all("img") if "at update" in image["alt"]]) == 6
    records.append("sampled", 20, file="samples/step-00000020.png")
    assert not [image for image in Page(write_report(run)).all("img") if "at update" in image["alt"]]


def test_a_broken_picture_or_broken_records_cost_only_themselves(run):
    film = run / "pictures" / "film.png"
    film.write_bytes(film.read_bytes()[:-30])
    (run / "pictures" / "restored.png").write_bytes(b"")
    records = (run / "metrics.jsonl").read_text()
    (run / "metrics.jsonl").write_text("{broken\n" + records)
    found = Page(write_report(run))
    assert "line 1" in found.words
    missing = {"Film of sampling", "Restored"}
    assert found.headings() == [heading for heading in SECTIONS if heading not in missing]


def test_strange_values_on_record_do_not_stop_the_report(run):
    records = Records(run / "metrics.jsonl")
    records.append("update", 300, loss="high", images=10**400, seconds=None, rate={"a": 1}, skipped="no")
    records.append("levels", 300, edges="x", loss=None)
    records.append("event", 300)
    assert "Not finished; the last record is from update 300." in Page(write_report(run)).words


@pytest.mark.parametrize(
    ("content", "words"), [(None, "no recipe.json"), ("{oops", "no JSON"), ("[]", "expected an object")]
)
def test_a_folder_that_is_no_run_is_refused(tmp_path, content, words):
    if content is not None:
        (tmp_path / "recipe.json").write_text(content)
    with pytest.raises(EbbtideError, match=words):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_a_nested_table_has_one_row_for_each_name():
    html = table({"a": 1, "b": {"c": True, "d": {"e": [1, 2]}, "f": {}}, "g": [{"h": None}], "i": []})
    assert html.count("<tr") == 10
    assert [int(depth) for depth in re.findall(r"--depth: (\d)", html)] == [0, 0, 1, 1, 2, 1, 0, 1, 2, 0]
    assert re.findall(r"<td>(.*?)</td>", html) == ["1", "true", "1, 2", "none", "none", "none"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0.0 s"), (12.34, "12.3 s"), (59.99, "1 min 0 s"), (110.2, "1 min 50 s"), (3600, "1 h 0 min")],
)
def test_durations_in_words(seconds, words):
    assert duration(seconds) == words


def test_a_page_survives_text_that_is_no_unicode():
    assert b"\xed" not in page("a\udcff", [])


def test_a_picture_of_another_format_is_none(tmp_path):
    assert picture(b"<svg onload='alert(1)'/>", "x") is None
    assert picture(tmp_path / "none.png", "x") is None
    assert picture(tmp_path, "x") is None
