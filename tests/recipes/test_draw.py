"""A seed names a sample whatever its batch; restoring goes as far back as it came."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ebbtide.data import load
from ebbtide.errors import EbbtideError
from ebbtide.randomness import SampleGenerators
from ebbtide.recipes.build import build_data
from ebbtide.recipes.draw import draw, draw_all, grid_back, labels_for, own_labels, restore_examples
from ebbtide.recipes.recipe import ScheduleRecipe
from ebbtide.recipes.run import Run, drawn_by, open_run, with_sampling
from parts import Listening
from trials import cold_run, grey_run, network_of, point_run, table_run


def grey(steps: int = 3, schedule: ScheduleRecipe | None = None, **sampling) -> Run:
    run = open_run(grey_run())
    run = with_sampling(run, replace(run.recipe.sampling, steps=steps, **sampling))
    return run if schedule is None else replace(run, recipe=replace(run.recipe, schedule=schedule))


@pytest.mark.parametrize("sampling", [{}, {"sampler": "ddim", "eta": 1.0}, {"sampler": "ancestral"}])
def test_a_seed_names_a_sample_in_any_batch(sampling):
    run = grey(**sampling)
    denoiser, labels = run.denoiser(), labels_for(run, 12)
    together = draw_all(run, denoiser, 12, seed=4, labels=labels)
    for batch in (1, 5, 100):
        assert torch.allclose(draw_all(run, denoiser, 12, seed=4, labels=labels, batch=batch), together, atol=1e-4)
    assert torch.allclose(draw_all(run, denoiser, 7, seed=4, labels=labels[:7]), together[:7], atol=1e-4)
    assert not torch.allclose(draw_all(run, denoiser, 12, seed=5, labels=labels), together, atol=1e-2)


def test_every_batch_goes_all_the_way_to_t_0():
    run = grey(steps=4, grid="uniform")
    drawings = list(draw(run, run.denoiser(), 7, batch=3))
    assert [drawing.first for drawing in drawings] == [0] * 4 + [3] * 4 + [6] * 4
    assert [drawing.step.t for drawing in drawings] == [0.75, 0.5, 0.25, 0.0] * 3
    assert [len(drawing.step.x) for drawing in drawings] == [3] * 8 + [1] * 4


def test_labels_change_what_is_drawn():
    run = grey()
    network = network_of(run)
    with torch.no_grad():  # a run so short has hardly learned its labels: make them plain
        network.embedding.label.weight.mul_(50)
    drawn = [draw_all(run, run.wrap(network), 2, labels=labels_for(run, 2, label)) for label in ("0", "7", "none")]
    assert not any(torch.allclose(a, b) for a, b in [drawn[:2], drawn[1:], drawn[::2]])


def test_labels_are_all_classes_in_turn_or_the_one_that_is_named():
    run = grey()
    assert labels_for(run, 23).tolist() == [*range(10), *range(10), 0, 1, 2]
    assert labels_for(run, 3, "7").tolist() == [7, 7, 7]
    assert labels_for(run, 3, "none").tolist() == [-1, -1, -1]


def test_an_unknown_label_is_answered_with_the_known_ones():
    run = grey()
    named = replace(run, data=replace(run.data, classes=("shirt", "boot", "bag")))
    with pytest.raises(EbbtideError, match=r"Did you mean shirt\?.*shirt, boot, bag, or none"):
        labels_for(named, 1, "shrit")


def test_a_run_without_labels_takes_none():
    run = open_run(point_run())
    assert labels_for(run, 5) is None
    with pytest.raises(EbbtideError, match="trained without labels"):
        labels_for(run, 5, "1")


@pytest.mark.parametrize(("count", "batch"), [(0, 1), (-1, 1), (1, 0)])
def test_no_samples_and_empty_batches_are_refused(count, batch):
    run = grey()
    with pytest.raises(EbbtideError, match="expected at least 1"):
        next(draw(run, run.denoiser(), count, batch=batch))


def restored(run, denoiser, x, level, **options):
    return restore_examples(run, denoiser, x, grid_back(run, denoiser, level), **options)


RESTORED = {
    "noise": lambda: grey(4),
    "a table": lambda: drawn_by(open_run(table_run()), sampler="ancestral", steps=4),
    "holes": lambda: open_run(cold_run("cold-inpaint")),
    "coins": lambda: open_run(cold_run("naive-pixelwise")),
}


@pytest.mark.parametrize("name", RESTORED)
def test_an_example_is_worn_and_restored_the_same_in_any_batch(name):
    run = RESTORED[name]()
    denoiser, x0 = run.denoiser(), build_data(run.recipe.data).batch(range(3)).x0
    xt, steps = restored(run, denoiser, x0, 0.55)
    *_, end = steps
    for index in range(3):
        own, way = restored(run, denoiser, x0[index : index + 1], 0.55, offset=index)
        *_, last = way
        torch.testing.assert_close(own, xt[index : index + 1])
        torch.testing.assert_close(last.x, end.x[index : index + 1], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("level", [0.03, 0.48, 1.0])
@pytest.mark.parametrize("name", ["noise", "a table", "coins"])
def test_the_network_is_told_the_level_that_the_pictures_have(name, level):
    """One that the corruption knows, whatever was asked for."""
    run = RESTORED[name]()
    denoiser, x0 = Listening(run.denoiser()), build_data(run.recipe.data).batch(range(2)).x0
    xt, steps = restored(run, denoiser, x0, level)
    next(steps)
    told = denoiser.asked[0][1]
    again = denoiser.corruption.corrupt(x0, told, SampleGenerators.of(0, range(2))).xt
    assert torch.equal(again, xt)
    assert torch.equal(denoiser.asked[0][0], xt)
    at = grid_back(run, denoiser, level)[0]
    assert torch.equal(told, at.expand(2))
    assert abs(at - level) < 0.06


def test_the_network_is_told_the_labels_that_examples_have():
    run = grey()
    data = load("digits")
    named = replace(data.subset([3, 1, 5]), labels=np.array([0, 2, -1]), classes=("7", "none such", "1"))
    labels = own_labels(run, named, torch.arange(3))
    assert labels.tolist() == [7, 1, -1]
    assert own_labels(run, data, torch.arange(40)).tolist() == data.labels[:40].tolist()
    assert own_labels(run, replace(named, labels=None, classes=()), torch.arange(2)).tolist() == [-1, -1]
    assert own_labels(open_run(point_run()), data, torch.arange(1)) is None
    denoiser = Listening(run.denoiser())
    for step in restored(run, denoiser, named.batch([0, 1, 2]).x0, 0.5, labels=labels)[1]:
        assert denoiser.asked[step.index][2].tolist() == [7, 1, -1]


@pytest.mark.parametrize("schedule", [None, ScheduleRecipe(name="linear", steps=40)])
@pytest.mark.parametrize("level", [0.05, 0.3, 0.55, 1.0])
def test_restoring_takes_as_much_of_the_steps_as_of_the_way(level, schedule):
    run = grey(20, schedule)
    _, steps = restored(run, run.denoiser(), load("digits").batch(range(3)).x0, level)
    times = [step.t for step in steps]
    assert len(times) == max(1, round(20 * level))
    assert times[-1] == 0.0
    assert times == sorted(times, reverse=True)
    assert all(t < level for t in times)


@pytest.mark.parametrize("level", [0.02, 0.3, 1.0])
def test_an_example_is_noised_to_the_level_that_is_asked_for(level):
    run = grey(10)
    x0 = load("digits").batch(range(200)).x0
    noised, _ = restored(run, run.denoiser(), x0, level)
    at = run.denoiser().corruption.level(torch.tensor(level, dtype=torch.float64))
    left = (noised - float(at.alpha) * x0).std()
    assert float(left) == pytest.approx(float(at.sigma), rel=0.03)


def test_hardly_noised_is_hardly_changed():
    run = grey(10)
    x0 = build_data(run.recipe.data).batch(range(20)).x0
    *_, step = restored(run, run.denoiser(), x0, 1e-5)[1]
    assert (step.x - x0).abs().max() < 0.05


@pytest.mark.parametrize("level", [0.0, -0.5, 1.5, float("nan")])
def test_a_level_out_of_range_is_refused(level):
    run = grey()
    with pytest.raises(EbbtideError, match="level"):
        grid_back(run, run.denoiser(), level)
