"""The digits are scikit-learn's, divided once and for all."""

import numpy as np
from sklearn.datasets import load_digits as originals

from ebbtide.data.digits import load_digits


def test_the_splits_share_nothing_and_hold_everything():
    train, test = load_digits("train"), load_digits("test")
    assert (len(train), len(test)) == (1500, 297)
    assert len({*train.names, *test.names}) == 1797
    assert train.event_shape == (1, 8, 8)


def test_the_splits_are_stratified():
    train, test = load_digits("train"), load_digits("test")
    assert train.classes == test.classes == tuple("0123456789")
    counts = np.bincount(originals().target)
    for split in (train, test):
        share = counts * len(split) / counts.sum()
        assert (abs(np.bincount(split.labels, minlength=10) - share) <= 1).all()


def test_names_lead_back_to_the_original():
    source = originals()
    for split in (load_digits("train"), load_digits("test")):
        index = [int(name[len("digits[") : -1]) for name in split.names]
        assert np.array_equal(split.labels, source.target[index])
        # 17 grey values on 256 bytes: none can be mistaken for its neighbour
        assert np.array_equal(np.rint(split.values[..., 0] / 255 * 16), source.images[index])
        assert split.values.max() == 255
