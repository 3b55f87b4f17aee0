"""Samples that are drawn a few at a time are those that are drawn in one go."""

from dataclasses import replace

import pytest
import torch

from ebbtide.recipes.draw import draw, draw_all, labels_for
from ebbtide.recipes.run import open_run, with_sampling
from trials import grey_run


@pytest.mark.parametrize("sampling", [{"sampler": "ddim", "eta": 0.0}, {"sampler": "ancestral"}])
def test_an_offset_goes_on_where_the_samples_before_ended(sampling):
    run = open_run(grey_run())
    run = with_sampling(run, replace(run.recipe.sampling, steps=3, **sampling))
    denoiser, labels = run.denoiser(), labels_for(run, 10)
    together = draw_all(run, denoiser, 10, seed=4, labels=labels)
    parts = [
        draw_all(run, denoiser, count, seed=4, labels=labels[first : first + count], offset=first, batch=batch)
        for first, count, batch in ((0, 5, 100), (5, 5, 2))
    ]
    assert torch.allclose(torch.cat(parts), together, atol=1e-4)
    assert not torch.allclose(parts[0], parts[1], atol=1e-2)


def test_a_drawing_is_numbered_among_those_that_are_asked_for():
    run = open_run(grey_run())
    drawings = draw(run, run.denoiser(), 5, batch=2, offset=40)
    assert sorted({drawing.first for drawing in drawings}) == [0, 2, 4]
