"""What the checks say of data with one fault each, and that they have nothing against good data."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.fft

from ebbtide.data import Dataset, ValueRange, load
from ebbtide.doctor.data import FEW, LEAST, MOST_NUMBERS, SOME, check_data, quick_checks

DIGITS, TEST = (load("digits", split=split) for split in ("train", "test"))


def smooth(count=1200, channels=1, size=16, seed=0, warm=0.0):
    """Random pictures of a few slow waves, as photos are made of; red brighter than blue by `warm`."""
    random = np.random.default_rng(seed)
    waves = np.zeros((count, size, size, channels))
    waves[:, :5, :5] = (
        random.normal(size=(count, 5, 5, channels)) / (1 + np.add.outer(np.arange(5), np.arange(5)))[None, :, :, None]
    )
    images = 0.5 + scipy.fft.idctn(waves, norm="ortho", axes=(1, 2)) * size * 0.12
    images += warm * np.linspace(0.5, -0.5, channels)
    return Dataset(name="smooth", values=(255 * images.clip(0, 1)).round().astype(np.uint8))


def with_values(dataset, values):
    return replace(dataset, values=values)


def found(dataset, held_out=None):
    """The findings by name; each check speaks once."""
    findings = list(check_data(dataset, held_out))
    assert len({finding.check for finding in findings}) == len(findings)
    return {finding.check: finding for finding in findings}


def only(findings, check, verdict, cause=None):
    """This check says so, and no other finds anything wrong."""
    one = findings.pop(check)
    assert (one.verdict, one.cause) == (verdict, cause), one
    assert not [other for other in findings.values() if other.verdict == "wrong"]
    return one.text


GOOD = {
    "digits": (DIGITS, TEST),
    "digits alone": (DIGITS, None),
    "smooth": (smooth(), smooth(200, seed=1)),
    "smooth in colour": (smooth(channels=3, warm=0.2), smooth(200, channels=3, warm=0.2, seed=1)),
    **{name: (load(name), load(name, split="test")) for name in ("swiss-roll", "moons", "mixture", "dots")},
}


@pytest.mark.parametrize("name", GOOD)
def test_there_is_nothing_wrong_with_good_data(name):
    dataset, held_out = GOOD[name]
    if dataset.is_image:
        dataset = replace(dataset, range=ValueRange.standard(dataset.values))
    verdicts = {check: finding.verdict for check, finding in found(dataset, held_out).items()}
    assert set(verdicts.values()) == {"fine"}, verdicts
    quick = [finding.check for finding in quick_checks(dataset)]
    assert quick == [check for check in verdicts if check in quick]


@pytest.mark.parametrize(
    ("reason", "cause"),
    [("broken PNG", "broken files"), ("3 values are NaN", "values that are not numbers in a file")],
)
def test_files_that_cannot_be_read_are_counted_and_named(reason, cause):
    skipped = tuple(f"{index}.png: {reason}" for index in range(7))
    text = only(found(replace(DIGITS, skipped=skipped)), "data: files", "wrong", cause)
    assert "7 of 1,507" in text
    assert "0.png" in text
    assert "4 more" in text


@pytest.mark.parametrize(("count", "verdict"), [(FEW - 1, "note"), (FEW, "fine"), (2 * LEAST, "note")])
def test_few_examples_are_noted(count, verdict):
    assert only(found(DIGITS.subset(range(count))), "data: number", verdict).startswith(f"{count:,} examples")


def test_a_set_is_not_at_fault_for_being_small_only_for_repeating_itself():
    few = DIGITS.subset(range(60))
    assert "so few may be learned by heart" in only(found(few), "data: number", "note")
    again = few.subset([*range(60), *range(30)])
    findings = found(again)
    assert "about 60 of 90" in only(findings, "data: duplicates", "wrong", "examples that are nearly the same")
    points = load("moons")
    assert only(found(replace(points.subset(range(60)), labels=None)), "data: number", "fine")


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(0, 255, "wrong"), (-0.01, 0.01, "wrong"), (-1, 1, "fine"), (0, 1, "fine")]
)
def test_the_range_is_that_of_the_noise(low, high, verdict):
    dataset = replace(DIGITS, range=ValueRange(low=low, high=high))
    cause = "data that are not normalised" if verdict == "wrong" else None
    x0 = dataset.batch(range(len(dataset))).x0.double()
    text = only(found(dataset), "data: range", verdict, cause)
    assert f"mean {float(x0.mean()):.3g}, standard deviation {float(x0.std()):.3g}" in text


def test_points_on_another_scale_are_wrong_too():
    points = load("swiss-roll")
    far = replace(points, values=100 * points.values)
    assert "divide" in only(found(far), "data: range", "wrong", "data that are not normalised")


@pytest.mark.parametrize(("every", "verdict", "cause"), [(20, "wrong", "empty images"), (500, "note", None)])
def test_images_of_one_colour_are_counted_and_named(every, verdict, cause):
    dataset = smooth(1000, channels=3)
    values = dataset.values.copy()
    values[::every] = np.random.default_rng(0).integers(0, 256, (len(values[::every]), 1, 1, 3), dtype=np.uint8)
    text = only(found(with_values(dataset, values)), "data: constant images", verdict, cause)
    assert text.startswith(f"{1000 // every} of 1,000")
    assert "smooth[0]" in text


def test_exact_copies_are_noted():
    values = DIGITS.values.copy()
    values[-60:] = values[:60]
    labels = DIGITS.labels.copy()
    labels[-60:] = labels[:60]
    text = only(found(replace(DIGITS, values=values, labels=labels)), "data: duplicates", "note")
    assert text.startswith("4.0% are exact copies")


def test_the_same_set_twice_is_not_said_to_be_few():
    twice = DIGITS.subset([*range(len(DIGITS))] * 2)
    text = only(found(twice), "data: duplicates", "note")
    assert text.startswith("50.0% are exact copies")


def test_forty_pictures_with_a_little_noise_are_forty():
    random = np.random.default_rng(0)
    index = np.arange(1200) % 40
    values = DIGITS.values[index].astype(int) + random.integers(-2, 3, (1200, 8, 8, 1))
    dataset = Dataset(name="forty", values=values.clip(0, 255).astype(np.uint8))
    text = only(found(dataset), "data: duplicates", "wrong", "examples that are nearly the same")
    assert "about 40 of 1,200" in text


def test_swapped_channels_are_told_by_the_held_out_images():
    train, held_out = smooth(400, channels=3, warm=0.3), smooth(200, channels=3, warm=0.3, seed=1)
    assert only(found(train, held_out), "data: colours", "fine")
    swapped = with_values(train, np.ascontiguousarray(train.values[..., ::-1]))
    only(found(swapped, held_out), "data: colours", "wrong", "swapped colour channels")
    # of colours that are alike nothing can be said
    even = smooth(400, channels=3), smooth(200, channels=3, seed=1)
    assert only(found(*even), "data: colours", "fine")


@pytest.mark.parametrize(("warm", "verdict"), [(0.3, "fine"), (0.0, "fine"), (-0.3, "note")])
def test_without_held_out_images_more_blue_than_red_is_noted(warm, verdict):
    dataset = smooth(300, channels=3, warm=warm)
    red, blue = dataset.values[..., 0].mean() / 255, dataset.values[..., 2].mean() / 255
    assert only(found(dataset), "data: colours", verdict).startswith(f"red {red:.2f}, blue {blue:.2f}")


def test_grey_pictures_in_three_channels_are_noted():
    dataset = with_values(DIGITS, DIGITS.values.repeat(3, axis=3))
    assert "grey" in only(found(dataset), "data: colours", "note")
    assert "data: colours" not in found(DIGITS)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ["digits", "mixture"])
def test_shuffled_labels_are_wrong(name, seed):
    dataset = GOOD[name][0]
    shuffled = np.random.default_rng(seed).permutation(dataset.labels)
    only(found(replace(dataset, labels=shuffled)), "data: labels", "wrong", "shuffled labels")


def test_of_labels_half_of_which_are_right_half_are_believed():
    random = np.random.default_rng(0)
    labels = np.where(random.random(len(DIGITS)) < 0.5, DIGITS.labels, random.permutation(DIGITS.labels))
    only(found(replace(DIGITS, labels=labels)), "data: labels", "fine")


def test_labels_that_are_all_one_or_none_are_no_fault():
    assert found(replace(DIGITS, labels=np.zeros_like(DIGITS.labels)))["data: labels"].verdict == "fine"
    assert "data: labels" not in found(replace(DIGITS, labels=np.full_like(DIGITS.labels, -1)))
    assert "data: labels" not in found(replace(DIGITS, labels=None, classes=()))


def test_classes_with_few_examples_are_noted():
    kept = np.flatnonzero((DIGITS.labels != 7) | (np.arange(len(DIGITS)) < 50))
    text = only(found(DIGITS.subset(kept)), "data: classes", "note")
    assert text.startswith("1 classes")
    assert text.endswith(": 7")


@pytest.mark.parametrize(("count", "verdict"), [(0, "fine"), (2, "fine"), (10, "note")])
def test_held_out_examples_that_are_in_the_training_set_are_counted(count, verdict):
    held_out = with_values(TEST, np.concatenate([DIGITS.values[:count], TEST.values[count:]]))
    known = {image.tobytes() for image in DIGITS.values}
    leaked = sum(image.tobytes() in known for image in held_out.values)
    assert only(found(DIGITS, held_out), "data: held-out", verdict).startswith(f"{leaked:,} of 297")
    assert leaked >= count


def test_no_more_is_looked_at_than_fits_in_memory(monkeypatch):
    """Of larger examples fewer are looked at, and what is said of them stays the same."""
    seen = []
    whole = Dataset.subset
    monkeypatch.setattr(Dataset, "subset", lambda self, index: seen.append(len(index)) or whole(self, index))
    dataset = smooth(600, channels=3)
    monkeypatch.setattr("ebbtide.doctor.data.MOST_NUMBERS", 150 * dataset.values[0].size)
    assert {finding.verdict for finding in found(dataset).values()} == {"fine", "note"}
    assert set(seen) == {150}
    assert MOST_NUMBERS >= SOME * 64 * 64 * 3
