"""The lecture's picture is made, and is not trained again."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

EXAMPLES = Path(__file__).parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))

import three_ways  # noqa: E402


def test_three_ways_forward_and_back(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["three_ways.py", "--updates", "2", "--out", str(tmp_path)])
    three_ways.main()
    sheet = np.asarray(Image.open(tmp_path / "three-ways.png"))
    assert sheet.std() > 30
    before = (tmp_path / "naive" / "recipe.json").stat().st_mtime_ns
    three_ways.main()
    assert (tmp_path / "naive" / "recipe.json").stat().st_mtime_ns == before


def test_data_that_are_not_there_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["three_ways.py", "--data", "digitz", "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match="digitz"):
        three_ways.main()
