"""Pictures of a run show what was drawn: whole rows of classes, few steps while training, the film's two ends."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from ebbtide.data import Dataset, load
from ebbtide.evaluation.pictures import picture_grid
from ebbtide.recipes import showing
from ebbtide.recipes.draw import draw_all, labels_for
from ebbtide.recipes.recipe import ScheduleRecipe
from ebbtide.recipes.run import open_run
from trials import colour_run, grey_run, network_of, point_run, small, trained

NO_DATA = Dataset(name="none", values=np.zeros((1, 8, 8, 3), dtype=np.uint8))


@pytest.fixture
def grey(tmp_path):
    """The run on digits, writing elsewhere."""
    return replace(open_run(grey_run()), path=tmp_path)


def calls_of(network):
    """The times at which the network is asked, as they come."""
    asked = []
    network.register_forward_pre_hook(lambda module, given: asked.append(float(given[1][0])))
    return asked


@pytest.mark.parametrize("steps", [None, 5, 200])
def test_a_picture_while_training_takes_few_steps(grey, steps):
    if steps is not None:
        grey = replace(grey, recipe=replace(grey.recipe, schedule=ScheduleRecipe(name="linear", steps=steps)))
    run = replace(open_run(grey_run()), recipe=grey.recipe)
    network = network_of(run)
    asked = calls_of(network)
    path = showing.progress_picture(grey, run.wrap(network), load("digits"), 7, "cpu")
    assert len(asked) == min(showing.QUICK_STEPS, steps or showing.QUICK_STEPS)
    assert path == grey.path / "samples" / "step-00000007.png"
    assert asked[0] > 0.99


def test_the_final_grid_is_what_the_recipes_own_sampler_draws(grey):
    denoiser = open_run(grey_run()).denoiser()
    paths = showing.final(grey, denoiser, load("digits"), "cpu")
    assert [path.name for path in paths] == ["final.png", "film.png"]
    expected = grey.to_bytes(draw_all(grey, denoiser, 100, labels=labels_for(grey, 100)))
    with Image.open(paths[0]) as image:
        assert image.tobytes() == picture_grid(expected, columns=10).tobytes()


@pytest.mark.parametrize("classes", [2, 3, 5, 7, 10, 20])
def test_each_column_is_one_class_and_rows_are_never_narrow(grey, classes):
    run = replace(grey, data=replace(grey.data, classes=tuple(map(str, range(classes)))))
    count, columns = showing._grid_shape(run, 40)
    labels = labels_for(run, count).reshape(-1, columns)
    assert (labels == labels[0]).all()
    assert set(labels[0].tolist()) == set(range(classes))
    assert 5 < columns <= 20
    assert count <= 40


@pytest.mark.parametrize("classes", [0, 1, 100])
def test_without_labels_or_with_very_many_the_grid_is_nearly_square(grey, classes):
    run = replace(grey, data=replace(grey.data, classes=tuple(map(str, range(classes)))))
    assert showing._grid_shape(run, 40) == (40, None)


def test_the_film_ends_with_the_picture_and_is_never_too_wide(grey):
    frames = [torch.full((2, 1, 8, 8), value) for value in torch.linspace(*grey.data.range, 37)]
    film = np.asarray(showing.film_of(grey, frames, torch.linspace(1, 0, 37).tolist()))
    moments = film[film.shape[0] // 2 :, :, 0]  # below the captions
    shades = set(np.unique(moments)) - {224}
    assert len(shades) == showing.FILM_COLUMNS
    assert {0, 255} <= shades


def test_pictures_in_colour_are_shown_in_colour(tmp_path):
    run = replace(open_run(colour_run()), path=tmp_path)
    path, film = showing.final(run, open_run(colour_run()).denoiser(), NO_DATA, "cpu")
    for shown in (path, film):
        red, green, blue = np.moveaxis(np.asarray(Image.open(shown)), -1, 0)
        assert (red != green).any()
        assert (green != blue).any()


def test_points_are_shown_beside_the_data(tmp_path):
    run = replace(open_run(point_run()), path=tmp_path)
    (path,) = showing.final(run, open_run(point_run()).denoiser(), load("swiss-roll"), "cpu")
    with Image.open(path) as image:
        assert image.size[0] > image.size[1], "two panels side by side"
        halves = np.asarray(image.convert("L"))
        middle = image.size[0] // 2
        assert (halves[:, :middle] < 128).any()
        assert (halves[:, middle:] < 128).any()


@pytest.mark.parametrize("size", [1, 2, 5])
def test_vectors_of_any_length_can_be_shown(size):
    x = torch.randn(20, size, generator=torch.Generator().manual_seed(0))
    assert showing.points(x, x + 1).startswith(b"\x89PNG")


def test_pictures_drawn_in_training_are_those_that_the_run_draws_after_it(tmp_path):
    """Dropout belongs to training alone."""
    trained(small(dropout=0.5, updates=2), tmp_path / "run")
    run = open_run(tmp_path / "run")
    in_training = (run.pictures / "final.png").read_bytes()
    showing.final(run, run.denoiser(), load("digits"), "cpu")
    assert (run.pictures / "final.png").read_bytes() == in_training
