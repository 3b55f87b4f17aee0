"""Labels become classes, however they count."""

import numpy as np
import pytest

from ebbtide.data.labels import MOST_CLASSES, as_classes
from ebbtide.errors import EbbtideError

KINDS = ["u1", "i4", "i8", "u8", ">i2"]


@pytest.mark.parametrize("kind", KINDS)
def test_small_labels_stay_as_they_are(kind):
    labels, classes = as_classes(np.array([3, 0, 3, 1]).astype(kind), "here")
    assert labels.dtype == np.int64
    assert labels.tolist() == [3, 0, 3, 1]
    assert classes == ("0", "1", "2", "3")


@pytest.mark.parametrize("largest", [MOST_CLASSES, 1_700_000_000, 2**63 - 1, 2**64 - 1])
def test_large_labels_are_the_classes_that_occur(largest):
    kind = np.uint64 if largest > 2**63 else np.int64
    labels, classes = as_classes(np.array([largest, 12, largest, 5], kind), "here")
    assert classes == ("5", "12", str(largest))
    assert [classes[k] for k in labels] == [str(largest), "12", str(largest), "5"]


def test_an_example_without_a_label_keeps_none():
    assert as_classes(np.array([-1, 10**9]), "here")[0].tolist() == [-1, 0]
    assert as_classes(np.array([-1, -1]), "here")[1] == ()
    assert as_classes(np.array([], np.int64), "here")[1] == ()


def test_part_of_a_set_counts_as_the_whole():
    labels, classes = as_classes(np.array([10**9]), "here", np.array([7, 10**9, 10**6]))
    assert classes == ("7", "1000000", "1000000000")
    assert labels.tolist() == [2]


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (np.array([-2, 5]), "from -2 to 5"),
        (np.array([0.0, 1.0]), "whole numbers"),
        (np.array([np.nan, 1.0]), "whole numbers"),
        (np.array([[0], [1]]), "whole numbers"),
        (np.array(["a"]), "whole numbers"),
        (np.arange(MOST_CLASSES + 1), f"{MOST_CLASSES + 1:,} different values"),
    ],
)
def test_other_labels_are_refused(labels, says):
    with pytest.raises(EbbtideError, match=f"here holds labels.*{says}"):
        as_classes(labels, "here")
