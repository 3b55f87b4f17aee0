"""Many pictures, in order, on a terminal and off it."""

import io

import numpy as np
import pytest
from PIL import Image

from ebbtide.data import gather as module
from ebbtide.data import memory
from ebbtide.data.gather import gather
from ebbtide.errors import EbbtideError


def png(value: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (4, 4), (value, value, 255 - value)).save(out, "PNG")
    return out.getvalue()


def test_the_order_holds_over_chunks_and_gaps(monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 4)
    broken = {3, 7}
    sources = ((f"p{i}", None if i == 3 else b"" if i == 7 else png(i)) for i in range(11))
    gathered = gather(sources, 11, size=2, colour="auto", origin="here")
    assert gathered.kept.tolist() == [i for i in range(11) if i not in broken]
    assert gathered.values[:, 0, 0, 0].tolist() == gathered.kept.tolist()
    assert [note.split(":")[0] for note in gathered.skipped] == ["p3", "p7"]


def test_what_outgrows_memory_is_the_same(monkeypatch):
    sources = [("a", png(1)), ("b", png(2)), ("c", b"")]
    within = gather(sources, 3, size=2, colour="grey", origin="here").values
    monkeypatch.setattr(memory, "MEMORY_LIMIT", 0)
    beyond = gather(sources, 3, size=2, colour="grey", origin="here").values
    assert isinstance(beyond, np.memmap)
    assert np.array_equal(within, beyond)


def test_the_bar_appears_only_when_it_takes_long(monkeypatch, capsys):
    monkeypatch.setattr(module.sys.stderr, "isatty", lambda: True, raising=False)
    for quiet, shown in ((60.0, False), (-1.0, True)):
        monkeypatch.setattr(module, "QUIET_SECONDS", quiet)
        gather([("a", png(1)), ("b", png(2))], 2, size=2, colour="rgb", origin="here")
        assert ("reading here" in capsys.readouterr().err) is shown


def test_none_readable_is_an_error_that_names_the_first():
    with pytest.raises(EbbtideError, match="none of 2 images could be read; the first is a: not a readable"):
        gather([("a", b"x"), ("b", b"y")], 2, size=2, colour="auto", origin="here")


@pytest.mark.parametrize(("colour", "channels"), [("auto", 3), ("rgb", 3), ("grey", 1)])
def test_colour(colour, channels):
    assert gather([("a", png(1))], 1, size=2, colour=colour, origin="here").values.shape == (1, 2, 2, channels)


def test_auto_is_grey_if_all_are():
    grey = [("a", png(0)[:0]), ("b", grey_png(9)), ("c", grey_png(200))]
    gathered = gather(grey, 3, size=2, colour="auto", origin="here")
    assert np.array_equal(gathered.values[:, 0, 0], [[9], [200]])


def grey_png(value: int) -> bytes:
    out = io.BytesIO()
    Image.new("L", (4, 4), value).save(out, "PNG")
    return out.getvalue()
