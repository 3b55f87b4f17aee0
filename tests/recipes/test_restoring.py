"""How well a run restores is the same whatever the batches, and the network is told what is known of each picture."""

import pytest
import torch

from ebbtide.recipes import draw, restoring
from ebbtide.recipes.evaluate import EvaluateSettings, sides
from ebbtide.recipes.features import Values
from ebbtide.recipes.restoring import likenesses
from ebbtide.recipes.run import Run, drawn_by, open_run
from parts import Listening
from trials import cold_run, table_run

COUNT = 52


def told(run: Run, denoiser, level: float):
    """The rows of the table."""
    both, grid = sides(run, EvaluateSettings()), draw.grid_back(run, denoiser, level)
    *_, rows = likenesses(run, denoiser, both, Values(64), count=COUNT, grid=grid)
    return rows


@pytest.mark.parametrize("preset", [None, "cold-inpaint"])
def test_the_table_is_the_same_whatever_the_batches(monkeypatch, preset):
    run = open_run(cold_run(preset)) if preset else drawn_by(open_run(table_run()), sampler="ancestral")
    rows = []
    for batch in (COUNT, 20):
        monkeypatch.setattr(restoring, "BATCH", batch)
        rows.append(told(run, run.denoiser(), 0.6))
    for one, other in zip(*rows, strict=True):
        assert one.name == other.name
        assert one.psnr.value == pytest.approx(other.psnr.value, rel=1e-4)
        assert one.frechet.value == pytest.approx(other.frechet.value, rel=1e-3, abs=1e-3)


def test_direct_and_step_by_step_are_told_the_same_level_and_the_pictures_own_labels():
    run = open_run(table_run())
    denoiser = Listening(run.denoiser())
    told(run, denoiser, 0.37)
    (direct, t, labels), (first, again, same), *_ = denoiser.asked
    assert torch.equal(direct, first)
    assert torch.equal(t, again)
    assert t.unique().tolist() == [7 / 20]
    assert torch.equal(labels, same)
    assert len(labels.unique()) == 10


def test_a_measured_grid_is_measured_once(monkeypatch):
    run = drawn_by(open_run(table_run()), grid="measured")
    calls, real = [], draw.error_density
    monkeypatch.setattr(draw, "error_density", lambda *parts, **options: calls.append(1) or real(*parts, **options))
    monkeypatch.setattr(restoring, "BATCH", 20)
    told(run, run.denoiser(), 0.6)
    assert len(calls) == 1
