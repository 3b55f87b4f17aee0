"""The dots are what the lectures' smallest example says: all alike, one white pixel in the middle of nine."""

import numpy as np
import pytest

from ebbtide.data import load
from ebbtide.data.dots import load_dots


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_picture_is_one_dot_in_the_middle(split):
    dots = load_dots(split)
    assert (len(dots), dots.event_shape, dots.values.dtype) == (512, (1, 3, 3), np.uint8)
    drawn = np.array([[0, 0, 0], [0, 255, 0], [0, 0, 0]])
    assert (dots.values[..., 0] == drawn).all()


def test_they_have_no_labels_and_the_splits_other_names():
    train, test = load_dots("train"), load_dots("test")
    assert train.labels is test.labels is None
    names = [name for dots in (train, test) for name in dots.batch(range(512)).names]
    assert len(set(names)) == 1024


def test_the_word_leads_to_them_and_they_are_bright_on_dark():
    x0 = load("dots", split="test").batch(range(4)).x0
    assert x0.shape == (4, 1, 3, 3)
    assert (x0[:, :, 1, 1] == 1).all()
    assert (x0.sum((1, 2, 3)) == 1 - 8).all()
