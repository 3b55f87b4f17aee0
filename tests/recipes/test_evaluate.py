"""Evaluating: what is kept of a set, which sets are compared, samples that are the run's own, copies that are seen."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from draws import moments_of
from ebbtide.data import Dataset
from ebbtide.errors import EbbtideError
from ebbtide.evaluation.metrics import (
    ClassShares,
    frechet,
    frechet_error,
    kernel_distance,
    nearest,
    precision_recall,
)
from ebbtide.recipes import draw
from ebbtide.recipes import evaluate as module
from ebbtide.recipes.draw import draw_all, labels_for
from ebbtide.recipes.evaluate import (
    LEAST,
    METRICS,
    Drawn,
    EvaluateSettings,
    Sides,
    Sketch,
    compared,
    comparing,
    draw_samples,
    look_for_copies,
    sides,
)
from ebbtide.recipes.features import Values
from ebbtide.recipes.run import drawn_by, open_run
from ebbtide.recipes.run_data import data_of
from trials import colour_run, grey_run, pictures, point_run


@dataclass(frozen=True)
class Halves:
    """Features of points that come with the probabilities of three classes."""

    name: str = "half of each number"
    dimensions: int = 4

    def __call__(self, values):
        found = values.reshape(len(values), -1).astype(np.float32) / 2
        weights = np.exp(found[:, :3])
        return found, weights / weights.sum(1, keepdims=True)


def rows(count, d=4, seed=0, shift=0.0):
    return (np.random.default_rng(seed).standard_normal((count, d)) + shift).astype(np.float32)


def sketch_of(values, features=None, chunk=1000):
    sketch = Sketch(Values(values[0].size) if features is None else features)
    for first in range(0, len(values), chunk):
        sketch.add(values[first : first + chunk])
    return sketch


def images(count, seed=0, size=8):
    values = np.random.default_rng(seed).integers(0, 256, (count, size, size, 1), dtype=np.uint8)
    return Dataset(name="noise", values=values)


def drawn(run, **settings):
    *progress, last = draw_samples(run, EvaluateSettings(**settings), Values(int(np.prod(run.data.event_shape))))
    assert isinstance(last, Drawn)
    return progress, last


# --- what is kept of a set --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_a_sketch_is_what_the_whole_set_at_once_would_give(chunk):
    values = rows(60)
    sketch = sketch_of(values, Halves(), chunk)
    found, probabilities = Halves()(values)
    assert sketch.count == sketch.moments.count == 60
    assert np.array_equal(sketch.rows, found)
    assert sketch.moments.mean == pytest.approx(found.mean(0), abs=1e-6)
    assert sketch.moments.covariance == pytest.approx(np.cov(found.T), abs=1e-6)
    shares = ClassShares(3)
    shares.add(probabilities)
    assert sketch.score.value == pytest.approx(shares.score().value)
    assert sketch.score.error == pytest.approx(shares.score().error)
    assert sketch_of(values).score is None


@pytest.mark.parametrize("chunk", [3, 4, 1000])
def test_no_more_rows_are_kept_than_there_is_room_for_but_all_count(monkeypatch, chunk):
    monkeypatch.setattr(module, "MOST_ROWS", 7)
    values = rows(40)
    sketch = sketch_of(values, chunk=chunk)
    assert np.array_equal(sketch.rows, values[:7])
    assert sketch.count == 40
    assert sketch.moments.covariance == pytest.approx(np.cov(values.T), abs=1e-6)


def test_of_a_dataset_some_are_taken_all_over_it_out_of_order_and_the_same_each_time():
    values = np.arange(5000, dtype=np.float32)[:, None]
    dataset, features = Dataset(name="numbers", values=values), Values(1)
    found = [Sketch.of(dataset, features, 2000).rows[:, 0] for _ in range(2)]
    assert np.array_equal(*found)
    assert len(set(found[0].tolist())) == 2000
    assert np.histogram(found[0], 10, (0, 5000))[0] == pytest.approx(np.full(10, 200), abs=2)
    # what is kept first is a fair part of the whole
    assert abs(found[0][:500].mean() - 2500) < 5 * 5000 / np.sqrt(12 * 500)
    whole = Sketch.of(dataset, features).rows[:, 0]
    assert np.array_equal(np.sort(whole), values[:, 0])
    assert not np.array_equal(whole, values[:, 0])


# --- which sets are compared ------------------------------------------------------------------------------------------


def test_long_work_is_told_piece_by_piece():
    """A thousand examples at a time, and each metric as it comes."""
    features, dataset = (
        Values(2),
        Dataset(name="points", values=np.random.default_rng(0).normal(size=(2500, 2)).astype(np.float32)),
    )
    assert [sketch.count for sketch in Sketch.growing(dataset, features)] == [1000, 2000, 2500]
    sketch = Sketch.of(dataset, features)
    names = [set(found) for found in (dict(one) for one in comparing(sketch, sketch, 60))]
    assert len(names) == METRICS
    assert all(before < after for before, after in zip(names, names[1:], strict=False))


def test_where_there_is_a_test_split_it_is_the_unseen_side():
    both = sides(open_run(grey_run()), EvaluateSettings())
    assert both.split == "test"
    assert (len(both.train), len(both.unseen)) == (1500, 297)
    assert both.reference is both.train
    assert not set(both.unseen.names) & set(both.train.names)


def test_labels_limits_and_flips_of_the_recipe_do_not_reach_the_comparison():
    run = open_run(grey_run())
    changed = replace(run.recipe.data, labels=False, limit=100, flip=True)
    both = sides(replace(run, recipe=replace(run.recipe, data=changed)), EvaluateSettings(source="digits"))
    assert len(both.train) == 1500
    assert both.train.labels is not None
    assert not both.train.flip
    assert (both.train.range.low, both.train.range.high) == run.data.range


@pytest.mark.parametrize("count", [2 * LEAST, 2 * LEAST + 1])
def test_without_one_the_halves_of_the_data_share_nothing_and_leave_nothing_out(tmp_path, count):
    source = pictures(tmp_path / "pictures", count, colour=True)
    both = sides(open_run(colour_run()), EvaluateSettings(source=str(source)))
    assert both.split == "half of train"
    reference, unseen = set(both.reference.names), set(both.unseen.names)
    assert not reference & unseen
    assert reference | unseen == set(both.train.names)
    assert len(both.train) == count
    assert len(reference) + len(unseen) == count
    assert min(len(reference), len(unseen)) >= LEAST


def test_too_few_examples_are_refused(tmp_path):
    source = pictures(tmp_path / "few", 2 * LEAST - 1, colour=True)
    with pytest.raises(EbbtideError, match="99 examples came and no test split"):
        sides(open_run(colour_run()), EvaluateSettings(source=str(source)))
    pictures(tmp_path / "split" / "train", 5, colour=True)
    pictures(tmp_path / "split" / "test", LEAST - 1, colour=True)
    with pytest.raises(EbbtideError, match="a test split of 49 examples"):
        sides(open_run(colour_run()), EvaluateSettings(source=str(tmp_path / "split")))


def test_data_of_another_shape_are_refused_by_both_shapes(tmp_path):
    with pytest.raises(EbbtideError, match=r"shape 2, .*1x8x8.*--data"):
        sides(open_run(grey_run()), EvaluateSettings(source="moons"))


def test_splits_of_two_shapes_are_refused(tmp_path):
    pictures(tmp_path / "split" / "train", LEAST, colour=True)
    pictures(tmp_path / "split" / "test", LEAST, colour=False)
    with pytest.raises(EbbtideError, match=r"\(3, 8, 8\) to train on, and of \(1, 8, 8\) to test with"):
        sides(open_run(colour_run()), EvaluateSettings(source=str(tmp_path / "split")))


# --- samples ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 6, 100])
def test_samples_are_the_runs_own_for_any_batch(monkeypatch, batch):
    monkeypatch.setattr(module, "BATCH", batch)
    run = open_run(grey_run())
    progress, found = drawn(run, samples=13, seed=4)
    own = run.to_bytes(draw_all(run, run.denoiser(), 13, seed=4, labels=labels_for(run, 13))).numpy()
    assert found.first.dtype == np.uint8
    assert found.first.shape == (13, 8, 8, 1)
    # another batch rounds otherwise: a byte may fall to its neighbour
    assert np.abs(found.first.astype(int) - own).max() <= 1
    assert np.array_equal(found.sketch.rows, found.first.reshape(13, -1))
    assert found.sketch.count == 13
    assert progress == [min(start + batch, 13) for start in range(0, 13, batch)]
    assert found.seconds > 0
    _, other = drawn(run, samples=13, seed=5)
    assert np.abs(other.first.astype(int) - own).max() > 20


def test_a_measured_grid_is_measured_once_for_all_batches(monkeypatch):
    calls, real = [], draw.error_density
    monkeypatch.setattr(draw, "error_density", lambda *parts, **options: calls.append(1) or real(*parts, **options))
    monkeypatch.setattr(module, "BATCH", 4)
    run = drawn_by(open_run(point_run()), grid="measured")
    _, found = drawn(run, samples=9)
    assert len(calls) == 1
    assert np.allclose(found.first, draw_all(run, run.denoiser(), 9).numpy(), atol=1e-4)


def test_points_are_the_runs_own_too(monkeypatch):
    monkeypatch.setattr(module, "BATCH", 4)
    run = open_run(point_run())
    own = draw_all(run, run.denoiser(), 9).numpy()
    _, found = drawn(run, samples=9)
    assert np.allclose(found.first, own, atol=1e-4)
    assert np.allclose(found.sketch.rows, own, atol=1e-4)


def test_the_last_weights_are_drawn_with_where_they_are_asked_for():
    run = open_run(grey_run())
    own = run.to_bytes(draw_all(run, run.denoiser(weights="network"), 3, labels=labels_for(run, 3))).numpy()
    _, found = drawn(run, samples=3, weights="network")
    assert np.abs(found.first.astype(int) - own).max() <= 1
    assert not np.array_equal(found.first, drawn(run, samples=3)[1].first)


def test_only_the_first_samples_are_kept_for_their_neighbours(monkeypatch):
    run = open_run(point_run())
    _, whole = drawn(run, samples=9)
    monkeypatch.setattr(module, "MOST_NEAR", 5)
    monkeypatch.setattr(module, "BATCH", 2)
    _, found = drawn(run, samples=9)
    assert found.sketch.count == 9
    assert found.first.shape == (5, 2)
    assert np.allclose(found.first, whole.first[:5], atol=1e-4)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_samples_that_are_no_numbers_are_refused_with_where_to_ask(monkeypatch, bad):
    def broken(run, denoiser, count, **options):
        x = torch.zeros(count, *run.data.event_shape)
        x[1, 0] = bad
        return x

    monkeypatch.setattr(module, "draw_all", broken)
    for path in (grey_run(), point_run()):
        with pytest.raises(EbbtideError, match=r"1 of 4 samples hold NaN.*ebbtide doctor"):
            drawn(open_run(path), samples=4)


# --- metrics ----------------------------------------------------------------------------------------------------------


def test_a_set_against_itself_is_perfect():
    sketch = sketch_of(rows(80))
    found = compared(sketch, sketch)
    assert found["count"] == 80
    assert found["frechet"]["value"] == pytest.approx(0, abs=1e-9)
    assert found["precision"]["value"] == found["recall"]["value"] == 1
    assert "inception_score" not in found


def test_the_numbers_are_those_of_the_metrics_themselves():
    ours, real = rows(60, shift=0.5), rows(90, seed=1)
    found = compared(sketch_of(ours, Halves()), sketch_of(real, Halves()))
    a, b = ours / 2, real / 2
    one, other = moments_of(a), moments_of(b)
    assert found["frechet"]["value"] == pytest.approx(frechet(one, other))
    assert found["frechet"]["error"] == pytest.approx(frechet_error(one, other, a, b))
    kernel = kernel_distance(a, b)
    assert found["kernel"] == pytest.approx({"value": kernel.value, "error": kernel.error})
    near = precision_recall(b[:60], a)
    assert found["precision"]["value"] == near.precision.value
    assert found["recall"]["value"] == near.recall.value
    assert found["precision"]["value"] != found["recall"]["value"]
    assert found["inception_score"]["value"] == pytest.approx(sketch_of(ours, Halves()).score.value)
    assert found["frechet"]["value"] > compared(sketch_of(rows(60, seed=2)), sketch_of(real))["frechet"]["value"]


def test_as_many_are_the_first_rows_and_nothing_else():
    ours, real = rows(60, shift=0.5), sketch_of(rows(90, seed=1), Halves())
    found = compared(sketch_of(ours, Halves()), real, 20)
    alone = compared(sketch_of(ours[:20], Halves()), real)
    assert found["count"] == 20
    assert "inception_score" not in found
    assert alone.keys() - found.keys() == {"inception_score"}
    for name in ("frechet", "kernel", "precision", "recall"):
        assert found[name] == pytest.approx(alone[name]), name


# --- copies -----------------------------------------------------------------------------------------------------------


def of(dataset):
    """A side of each half, as where there is no test split."""
    even, odd = (dataset.subset(np.arange(first, len(dataset), 2)) for first in (0, 1))
    return Sides(train=dataset, reference=even, unseen=odd, split="half of train", data=data_of(open_run(grey_run())))


def test_training_images_as_samples_are_found_to_be_copies():
    both = of(images(300))
    copies = look_for_copies(both.reference.values[10:70], both)
    assert copies.found["nearer"]["value"] == 1
    assert copies.found["z"] > 8
    assert (copies.found["copies"], copies.found["samples"], copies.found["unseen"]) == (60, 60, 150)
    assert copies.found["copies_unseen"] == 0
    assert copies.found["distance"] == 0 < copies.found["distance_unseen"]
    assert copies.samples.index.tolist() == list(range(10, 70))


def test_images_that_nobody_has_seen_are_not():
    both = of(images(300))
    found = look_for_copies(images(150, seed=1).values, both).found
    assert abs(found["nearer"]["value"] - 0.5) < 5 * found["nearer"]["error"]
    assert 0 < found["nearer"]["error"] < 0.1
    assert abs(found["z"]) < 5
    assert found["copies"] == found["copies_unseen"] == 0


def test_a_training_image_among_unseen_ones_is_counted():
    both = of(images(300))
    values = np.concatenate([both.unseen.values, both.reference.values[:2]])
    twice = replace(both.unseen, values=values, names=None)
    assert look_for_copies(images(60, seed=1).values, replace(both, unseen=twice)).found["copies_unseen"] == 2


def test_distances_of_images_are_shares_of_the_whole_range_and_of_points_their_own():
    dark = replace(images(100), values=images(100).values // 2)
    copies = look_for_copies(dark.values[::2] + 1, of(dark))
    assert copies.samples.distance == pytest.approx(np.full(50, 1 / 255))
    assert copies.found["distance"] == pytest.approx(1 / 255)
    cloud = Dataset(name="cloud", values=rows(100, d=2))
    assert look_for_copies(cloud.values[::2] + 0.001, of(cloud)).samples.distance == pytest.approx(
        np.full(50, 0.001), rel=1e-2
    )


def test_of_many_unseen_examples_some_are_looked_at(monkeypatch):
    monkeypatch.setattr(module, "MOST_NEAR", 30)
    both = of(images(300))
    copies = look_for_copies(both.reference.values[:20], both)
    assert copies.found["unseen"] == len(copies.unseen.distance) == 30
    all_of_them = nearest(both.unseen.values.reshape(150, -1), both.reference.values.reshape(150, -1)).distance
    assert np.isin((copies.unseen.distance * 255 * 8).round(6), all_of_them.round(6)).all()
