import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ebbtide.errors import EbbtideError
from ebbtide.evaluation import pictures

RANDOM = np.random.default_rng(0)
BACKGROUND = (1, 2, 3)


def some(count: int = 5, height: int = 4, width: int = 6, channels: int | None = 3) -> np.ndarray:
    shape = (count, height, width) + (() if channels is None else (channels,))
    return RANDOM.integers(10, 256, shape, dtype=np.uint8)


def colour(images: np.ndarray) -> np.ndarray:
    images = images if images.ndim == 4 else images[..., None]
    return np.broadcast_to(images, (*images.shape[:3], 3))


@pytest.mark.parametrize(
    ("count", "columns", "gap", "enlarge", "channels"),
    [(1, None, 2, 1, 3), (5, None, 2, 3, None), (6, 2, 0, 2, 1), (7, 20, 5, 1, 3), (9, None, 1, 4, 1)],
)
def test_each_pixel_lies_enlarged_at_its_place_and_the_rest_is_background(count, columns, gap, enlarge, channels):
    images = some(count, channels=channels)
    sheet = np.asarray(pictures.picture_grid(images, columns, gap, BACKGROUND, enlarge))
    wide = min(count, columns or math.ceil(math.sqrt(count)))
    rows = math.ceil(count / wide)
    height, width = 4 * enlarge, 6 * enlarge
    assert sheet.shape == (rows * (height + gap) - gap, wide * (width + gap) - gap, 3)
    covered = np.zeros(sheet.shape[:2], dtype=bool)
    for index, image in enumerate(colour(images)):
        top, left = (index // wide) * (height + gap), (index % wide) * (width + gap)
        place = np.s_[top : top + height, left : left + width]
        assert (sheet[place] == np.kron(image, np.ones((enlarge, enlarge, 1), dtype=np.uint8))).all()
        covered[place] = True
    assert (sheet[~covered] == BACKGROUND).all()


@pytest.mark.parametrize(
    ("count", "side"), [(1, 8), (64, 8), (16, 28), (9, 64), (4, 300), (400, 28), (1000, 8), (1, 1)]
)
def test_small_pictures_grow_to_about_64_pixels_while_the_whole_stays_small(count, side):
    sheet = pictures.picture_grid(some(count, side, side, 1), gap=2)
    columns = math.ceil(math.sqrt(count))
    factor = ((sheet.width + 2) / columns - 2) / side
    assert factor == int(factor) >= 1
    assert sheet.width <= 1600 or factor == 1
    assert factor == 1 or factor * side <= 96
    assert factor * side >= 43 or (factor + 1) * side * columns + 2 * (columns - 1) > 1600


def test_tensors_and_arrays_and_grey_and_colour_give_the_same_sheet():
    grey = some(channels=None)
    sheets = [grey, torch.from_numpy(grey), grey[..., None], colour(grey)]
    assert len({pictures.picture_grid(sheet).tobytes() for sheet in sheets}) == 1


def test_a_film_strip_has_samples_down_and_time_across():
    frames = [torch.from_numpy(some(3, 5, 5)) for _ in range(4)]
    sheet = pictures.film_strip(frames, gap=2, enlarge=2)
    across = np.concatenate([frame.numpy() for frame in zip(*frames, strict=True) for frame in frame])
    assert across.shape == (60, 5, 3)
    expected = torch.stack(frames, dim=1).flatten(0, 1)
    assert sheet.tobytes() == pictures.picture_grid(expected, columns=4, gap=2, enlarge=2).tobytes()


@pytest.mark.parametrize("background", [224, 0, (255, 255, 255)])
def test_captions_stand_above_and_leave_the_pictures_whole(background):
    frames = [some(2, 8, 8, 1) for _ in range(3)]
    captions = ["t = 1", "a caption much wider than its picture", "t = 0"]
    sheet = np.asarray(pictures.film_strip(frames, captions, gap=2, background=background, enlarge=2))
    plain = np.asarray(pictures.film_strip(frames, gap=2, background=background, enlarge=2))
    top = len(sheet) - len(plain)
    assert top > 8
    paper = np.broadcast_to(np.array(background), (3,))
    assert (sheet[:top] != paper).any()
    assert (sheet[0] == paper).all()
    column = (sheet.shape[1] - 2 * 2) // 3
    assert column > 16
    for time, row in itertools.product(range(3), range(2)):
        left = time * (column + 2) + (column - 16) // 2
        found = sheet[top + row * 18 :, left:][:16, :16]
        assert (found == colour(frames[time])[row].repeat(2, 0).repeat(2, 1)).all()


def test_side_by_side_is_a_film_strip_with_titles():
    before, after = some(), some()
    sheet = pictures.side_by_side({"original": before, "restored": after})
    assert sheet.tobytes() == pictures.film_strip([before, after], ["original", "restored"]).tobytes()


def test_many_rows_side_by_side_stand_in_blocks_and_none_is_lost():
    """29 pictures in three columns make no ribbon; read block by block they are those that came."""
    before = np.arange(29, dtype=np.uint8).reshape(29, 1, 1) + np.zeros((29, 32, 32), dtype=np.uint8)
    columns = {"a": before, "b": before + 100, "c": before + 50}
    sheet = np.asarray(pictures.side_by_side(columns, enlarge=1, background=255).convert("L"))
    assert max(sheet.shape) < 2 * min(sheet.shape)
    whole = [sheet[r, c] for c in range(sheet.shape[1]) for r in range(20, sheet.shape[0]) if sheet[r, c] < 200]
    assert sorted(set(whole)) == sorted({int(value[0, 0]) for batch in columns.values() for value in batch})


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (np.zeros((2, 4, 4), dtype=np.float32), "float32"),
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), "channels last"),
        (np.zeros((4, 4), dtype=np.uint8), r"\(4, 4\)"),
        (np.zeros((0, 4, 4), dtype=np.uint8), r"\(0, 4, 4\)"),
        (np.zeros((2, 4, 4, 2), dtype=np.uint8), r"\(2, 4, 4, 2\)"),
        ([[1, 2]], "list"),
    ],
)
def test_wrong_pictures_are_refused_in_words(images, words, tmp_path):
    for draw in (pictures.picture_grid, lambda x: pictures.film_strip([x]), lambda x: pictures.side_by_side({"a": x})):
        with pytest.raises(EbbtideError, match=f"{words}.*expected|expected.*{words}"):
            draw(images)
    with pytest.raises(EbbtideError, match="expected"):
        pictures.save_numbered(images, tmp_path)


@pytest.mark.parametrize("wrong", [{"columns": 0}, {"gap": -1}, {"enlarge": 0}])
def test_numbers_out_of_range_are_refused(wrong):
    with pytest.raises(EbbtideError, match=next(iter(wrong))):
        pictures.picture_grid(some(), **wrong)


def test_uneven_films_are_refused(tmp_path):
    with pytest.raises(EbbtideError, match="one shape"):
        pictures.film_strip([some(2), some(3)])
    with pytest.raises(EbbtideError, match="captions"):
        pictures.film_strip([some(2)], ["a", "b"])
    with pytest.raises(EbbtideError, match="at least one"):
        pictures.side_by_side({})
    with pytest.raises(EbbtideError, match="one size"):
        pictures.save_gif([Image.new("L", (2, 2)), Image.new("L", (3, 2))], tmp_path / "x.gif")
    with pytest.raises(EbbtideError, match="at least one"):
        pictures.save_gif([], tmp_path / "x.gif")


@pytest.mark.parametrize("channels", [None, 1, 3])
def test_numbered_files_hold_the_pictures_exactly(tmp_path, channels):
    images = some(channels=channels)
    paths = pictures.save_numbered(torch.from_numpy(images), tmp_path / "new", start=98)
    assert [path.name for path in paths] == ["00098.png", "00099.png", "00100.png", "00101.png", "00102.png"]
    for path, image in zip(paths, images, strict=True):
        with Image.open(path) as found:
            assert found.mode == ("RGB" if channels == 3 else "L")
            assert (np.asarray(found) == image.squeeze()).all()


def test_a_png_replaces_the_old_one_and_leaves_nothing_beside(tmp_path):
    path = tmp_path / "a" / "b.png"
    for grey in (0, 200):
        assert pictures.save_png(Image.new("L", (3, 3), grey), path) == path
    with Image.open(path) as found:
        assert found.getpixel((1, 1)) == 200
    assert [file.name for file in path.parent.iterdir()] == ["b.png"]


def test_a_failed_write_keeps_the_old_picture(tmp_path, monkeypatch):
    path = pictures.save_png(Image.new("L", (3, 3), 7), tmp_path / "a.png")
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        pictures.save_png(Image.new("L", (3, 3), 9), path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


def test_a_gif_plays_for_the_time_asked_and_holds_its_last_frame(tmp_path):
    greys = [some(1, 9, 9, None) for _ in range(5)]
    frames = [pictures.picture_grid(grey, enlarge=1) for grey in greys]
    path: Path = pictures.save_gif(frames, tmp_path / "film.gif", seconds=1.0, hold=2.0)
    durations = []
    with Image.open(path) as film:
        assert film.n_frames == 5
        assert film.info["loop"] == 0
        for index, grey in enumerate(greys):
            film.seek(index)
            durations.append(film.info["duration"])
            assert (np.asarray(film.convert("L")) == grey[0]).all()  # grey survives exactly
    assert durations == [200, 200, 200, 200, 2200]
    with Image.open(pictures.save_gif(frames, path, loop=False)) as once:
        assert "loop" not in once.info
