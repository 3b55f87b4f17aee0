"""Batches repeat what the dataset holds, and what does not fit together is refused."""

import numpy as np
import pytest
import torch

from ebbtide.data import Dataset, ValueRange
from ebbtide.data.dataset import spread
from ebbtide.errors import EbbtideError
from ebbtide.randomness import SampleGenerators, generator_of

RANGES = [(-1.0, 1.0), (0.0, 1.0), (0.0, 255.0), (-0.5, 0.5), (-3.0, 7.0), (100.0, 101.0), (0.1, 0.3)]


def images(count: int = 6, **options) -> Dataset:
    values = np.random.default_rng(0).integers(0, 256, (count, 4, 5, 3), dtype=np.uint8)
    return Dataset(name="some", values=values, labels=np.arange(count) % 3, classes=("a", "b", "c"), **options)


def vectors(count: int = 6) -> Dataset:
    return Dataset(name="some", values=np.random.default_rng(0).normal(size=(count, 2)).astype(np.float32))


@pytest.mark.parametrize(("low", "high"), RANGES)
def test_every_byte_survives_encoding_and_decoding(low, high):
    values = torch.arange(256, dtype=torch.uint8)
    encoded = ValueRange(low=low, high=high).encode(values)
    assert encoded.dtype == torch.float32
    assert torch.equal(ValueRange(low=low, high=high).decode(encoded), values)
    expected = low + (high - low) * torch.arange(256, dtype=torch.float64) / 255
    torch.testing.assert_close(encoded.double(), expected, rtol=3e-7, atol=3e-7)


def test_the_ends_of_the_usual_range_are_met_exactly():
    ends = torch.tensor([0, 255], dtype=torch.uint8)
    assert ValueRange().encode(ends).tolist() == [-1.0, 1.0]
    assert ValueRange(low=0.0).encode(ends.numpy()).tolist() == [0.0, 1.0]


def test_decoding_rounds_and_clamps():
    step = 2 / 255
    values = torch.tensor([-9.0, -torch.inf, -1 + 0.4 * step, -1 + 0.6 * step, 9.0, torch.inf])
    assert ValueRange().decode(values).tolist() == [0, 0, 0, 1, 255, 255]


def test_decoding_refuses_nan_and_encoding_refuses_floats():
    with pytest.raises(EbbtideError, match="1 of 2 values are NaN"):
        ValueRange().decode(torch.tensor([0.0, torch.nan]))
    with pytest.raises(EbbtideError, match="uint8"):
        ValueRange().encode(torch.zeros(2))


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (1.0, -1.0), (float("nan"), 1.0), (0.0, float("inf"))])
def test_a_range_that_is_none_is_refused(low, high):
    with pytest.raises(EbbtideError, match="low < high"):
        ValueRange(low=low, high=high)


@pytest.mark.parametrize("dataset", [images(), images(flip=True), vectors()], ids=["images", "flip", "vectors"])
@pytest.mark.parametrize("seed", range(4))
def test_a_batch_of_two_is_two_batches_of_one(dataset, seed):
    both = dataset.batch([4, 1], generator_of(seed))
    one_by_one = generator_of(seed)
    parts = [dataset.batch([4], one_by_one), dataset.batch([1], one_by_one)]
    own = dataset.batch([4, 1], SampleGenerators.of(seed, [0, 1]))
    first = dataset.batch([4], SampleGenerators.of(seed, [0]))
    assert torch.equal(both.x0, torch.cat([part.x0 for part in parts]))
    assert torch.equal(own.x0[:1], first.x0)
    assert both.names == parts[0].names + parts[1].names == ("some[4]", "some[1]")
    if dataset.labels is None:
        assert both.condition.label is None
    else:
        assert both.condition.label.tolist() == [1, 1]


def test_a_batch_of_images_holds_the_pixels_channels_first():
    dataset = images()
    batch = dataset.batch(torch.tensor([2]))
    assert batch.x0.shape == (1, *dataset.event_shape) == (1, 3, 4, 5)
    for channel in range(3):
        assert np.array_equal(dataset.range.decode(batch.x0)[0, channel].numpy(), dataset.values[2, ..., channel])


def test_flips_mirror_half_of_the_images_and_leave_the_dataset_alone():
    dataset = images(flip=True)
    before = dataset.values.copy()
    count = 4000
    plain = dataset.batch([0] * count).x0
    drawn = dataset.batch([0] * count, generator_of(1)).x0
    flipped = (drawn == plain.flip(-1)).flatten(1).all(1)
    kept = (drawn == plain).flatten(1).all(1)
    assert (flipped ^ kept).all()
    # five standard errors of a fair coin
    assert abs(flipped.double().mean() - 0.5) < 5 * 0.5 / count**0.5
    assert np.array_equal(dataset.values, before)


def test_a_batch_can_be_moved():
    batch = images().batch([0, 1]).to("meta")
    assert batch.x0.is_meta
    assert batch.condition.label.is_meta
    assert len(batch) == 2


def test_a_subset_keeps_values_labels_and_names():
    dataset = images()
    part = dataset.subset([5, 2])
    assert np.array_equal(part.values, dataset.values[[5, 2]])
    assert part.labels.tolist() == dataset.labels[[5, 2]].tolist()
    assert part.subset([1]).batch([0]).names == dataset.batch([2]).names == ("some[2]",)


def test_values_that_are_not_contiguous_serve_as_well():
    dataset = images()
    turned = Dataset(
        name="some", values=np.ascontiguousarray(dataset.values.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)
    )
    assert torch.equal(turned.batch([3, 1]).x0, dataset.batch([3, 1]).x0)


GOOD = np.zeros((2, 4, 4, 1), np.uint8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"values": GOOD.astype(np.float32)}, "float32 .* expected uint8"),
        ({"values": GOOD[0]}, "expected uint8"),
        ({"values": np.zeros((2, 3))}, "float64"),
        ({"values": GOOD[:0]}, "empty"),
        ({"values": np.array([[np.nan]], np.float32)}, "NaN"),
        ({"values": np.zeros((2, 3), np.float32), "flip": True}, "flip"),
        ({"values": GOOD, "names": ("a",)}, "1 names"),
        ({"values": GOOD, "labels": np.array([0, 1], np.int32), "classes": ("a", "b")}, "int32"),
        ({"values": GOOD, "labels": np.array([0]), "classes": ("a", "b")}, r"int64 \(1,\)"),
        ({"values": GOOD, "labels": np.array([0, 2]), "classes": ("a", "b")}, "from 0 to 2 with 2 class names"),
        ({"values": GOOD, "labels": np.array([-2, 0]), "classes": ("a", "b")}, "from -2"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(EbbtideError, match=message):
        Dataset(name="some", **options)


def test_a_dataset_prints_itself_in_one_line():
    assert repr(images(skipped=("x: broken",))) == "Dataset(some: 6 images of 3 x 4 x 5, 3 classes, 1 skipped)"
    assert repr(vectors()) == "Dataset(some: 6 vectors of 2)"


@pytest.mark.parametrize(("total", "limit"), [(10, 10), (10, 20), (10, None), (1000, 7), (60_000, 256), (3, 1)])
def test_a_spread_takes_one_of_each_stretch(total, limit):
    index = spread(total, limit)
    wanted = min(total, limit or total)
    assert np.array_equal(index, spread(total, limit))
    assert len(index) == wanted
    edges = np.arange(wanted + 1) * total // wanted
    assert (edges[:-1] <= index).all()
    assert (index < edges[1:]).all()


def test_a_spread_does_not_fall_in_step_with_labels():
    labels = np.arange(1000) % 10
    assert len(set(labels[spread(1000, 100)])) == 10
