"""Pieces of photographs: where they come from, and that no pixel is on both sides."""

import numpy as np
from sklearn.datasets import load_sample_images

from ebbtide.data import load
from ebbtide.data.patches import SIDE, STRIDE


def corner(name):
    row, column = name.split("[")[1].rstrip("]").split(",")
    return int(row), int(column)


def test_every_piece_is_where_its_name_says():
    photographs = dict(zip(("china", "flower"), load_sample_images().images, strict=True))
    for split in ("train", "test"):
        data = load("patches", split=split)
        assert data.event_shape == (3, SIDE, SIDE)
        for index in range(0, len(data), 97):
            name = data.names[index]
            row, column = corner(name)
            whole = photographs[name.split("[")[0]]
            assert np.array_equal(data.values[index], whole[row : row + SIDE, column : column + SIDE])
            assert data.classes[data.labels[index]] == name.split("[")[0]


def test_training_never_sees_a_pixel_of_the_test_set():
    train, test = load("patches"), load("patches", split="test")
    last = max(corner(name)[1] for name in train.names) + SIDE
    first = min(corner(name)[1] for name in test.names)
    assert last <= first < last + STRIDE
    assert len(train) > 4 * len(test) > 1000
