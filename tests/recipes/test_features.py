"""Features: which ones data are told in, what names them, and that the same data give the same ones."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ebbtide.conditions import NO_LABEL
from ebbtide.data import Dataset, ValueRange, load
from ebbtide.errors import EbbtideError
from ebbtide.networks.classifier import FEATURES
from ebbtide.recipes import features as module
from ebbtide.recipes.features import (
    Values,
    as_input,
    classifier_file,
    find_classifier,
    kind_for,
    mark,
    train_classifier,
    updates_for,
)
from trials import relabelled

KINDS = ("labels", "turns")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache of its own, and little training."""
    monkeypatch.setenv("EBBTIDE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "MOST_UPDATES", 2)
    return tmp_path / "cache" / "features"


def images(count=24, height=8, width=8, channels=1, classes=0, seed=0, **options):
    random = np.random.default_rng(seed)
    values = random.integers(0, 256, (count, height, width, channels), dtype=np.uint8)
    if classes:
        options |= {"labels": np.arange(count) % classes, "classes": tuple("abcdef"[:classes])}
    return Dataset(name="noise", values=values, **options)


def shades(count=40, seed=0):
    """Dark pictures of class 0 and bright ones of class 1, with a gradient that tells which way up they are."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    slope = np.linspace(0, 60, 8)[None, :, None, None]
    noisy = random.integers(0, 20, (count, 8, 8, 1)) + 150 * labels[:, None, None, None] + slope
    return Dataset(name="shades", values=noisy.astype(np.uint8), labels=labels, classes=("dark", "bright"))


def points(classes=0):
    labels = {"labels": np.arange(8) % classes, "classes": ("a", "b")} if classes else {}
    return Dataset(name="points", values=np.ones((8, 2), np.float32), **labels)


def trained(dataset, held_out, kind):
    for _ in train_classifier(dataset, held_out, kind):
        pass
    found = find_classifier(dataset, kind)
    assert found is not None
    return found


# --- which features ---------------------------------------------------------------------------------------------------

AUTO = {
    "labelled": (images(classes=2), "labels"),
    "labelled and not square": (images(width=9, classes=2), "labels"),
    "all of one class": (images(classes=1), "turns"),
    "unlabelled": (images(), "turns"),
    "unlabelled and not square": (images(width=9), "values"),
    "in colour, few pixels": (images(height=4, width=4, channels=3), "turns"),
    "labelled, hardly a pixel": (images(height=3, width=3, classes=2), "values"),
    "dots": (load("dots"), "values"),
    "points": (points(), "values"),
    "labelled points": (points(classes=2), "values"),
}


@pytest.mark.parametrize("case", AUTO)
def test_auto_is_the_best_that_the_data_allow(case):
    dataset, expected = AUTO[case]
    assert kind_for(dataset, "auto") == expected
    assert kind_for(dataset, expected) == expected


@pytest.mark.parametrize(
    ("dataset", "wanted"),
    [
        (images(classes=2), "turns"),
        (images(classes=2), "values"),
        (images(classes=2), "inception"),
        (images(width=9, channels=3), "inception"),
        (images(width=9), "values"),
        (load("dots"), "turns"),
    ],
)
def test_what_is_asked_for_is_given_where_it_can_be(dataset, wanted):
    assert kind_for(dataset, wanted) == wanted


@pytest.mark.parametrize(
    ("dataset", "wanted", "says"),
    [
        (images(), "labels", "no labelled images"),
        (images(classes=1), "labels", "no labelled images"),
        (points(classes=2), "labels", "no labelled images"),
        (images(width=9), "turns", "square images"),
        (points(), "turns", "square images"),
        (points(), "inception", "for images"),
    ],
)
def test_what_cannot_be_is_refused_with_the_data_by_name(dataset, wanted, says):
    with pytest.raises(EbbtideError, match=says) as raised:
        kind_for(dataset, wanted)
    assert dataset.name in str(raised.value)


def test_values_are_the_numbers_themselves():
    found, probabilities = Values(6)(np.arange(12, dtype=np.uint8).reshape(2, 2, 1, 3))
    assert found.tolist() == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]
    assert found.dtype == np.float32
    assert probabilities is None


def test_a_classifier_reads_channels_first_and_values_about_as_large_as_1():
    values = images(200, channels=3).values
    x = as_input(values, ValueRange.standard(values))
    assert x.shape == (200, 3, 8, 8)
    assert float(x.mean()) == pytest.approx(0, abs=0.01)
    assert float(x.std()) == pytest.approx(1, abs=0.01)
    order = np.argsort(values[0, :, :, 2], axis=None)
    assert np.array_equal(values[0, :, :, 2].flatten()[order], np.sort(values[0, :, :, 2], axis=None))
    assert (np.diff(x[0, 2].flatten().numpy()[order]) >= 0).all()


# --- what names them --------------------------------------------------------------------------------------------------


def changed(dataset, place, to):
    values = dataset.values.copy()
    values[place] = to
    return replace(dataset, values=values)


@pytest.mark.parametrize("kind", KINDS)
def test_the_fingerprint_is_of_the_examples_and_of_nothing_else(kind):
    whole = images(classes=2)
    same = replace(
        whole,
        name="other",
        names=tuple(f"{i}.png" for i in range(24)),
        range=ValueRange(low=0.0, high=255.0),
        flip=True,
        skipped=("a.png: broken",),
    )
    assert mark(same, kind) == mark(whole, kind)
    pixel = changed(whole, (23, 7, 7, 0), whole.values[23, 7, 7, 0] ^ 1)
    shape = replace(whole, values=whole.values.reshape(24, 4, 16, 1))
    fewer = whole.subset(range(23))
    found = [mark(dataset, kind) for dataset in (whole, pixel, shape, fewer)]
    assert len(set(found)) == len(found)
    assert mark(whole, "labels") != mark(whole, "turns")


def test_labels_count_where_they_are_learned():
    whole = images(classes=2)
    other = replace(whole, labels=whole.labels[::-1].copy())
    assert mark(other, "turns") == mark(whole, "turns")
    assert mark(replace(whole, labels=None, classes=()), "turns") == mark(whole, "turns")
    assert mark(other, "labels") != mark(whole, "labels")


def test_the_fingerprint_reads_to_the_last_example_however_they_lie_in_memory():
    many = images(4100, height=3, width=3)
    assert mark(changed(many, (4099, 2, 2, 0), many.values[4099, 2, 2, 0] ^ 1), "turns") != mark(many, "turns")
    strided = replace(many, values=np.asfortranarray(many.values))
    assert not strided.values.flags.c_contiguous
    assert mark(strided, "turns") == mark(many, "turns")


def test_classifiers_are_kept_where_the_environment_says(monkeypatch):
    dataset = images()
    assert classifier_file(dataset, "turns").is_relative_to(os.environ["EBBTIDE_CACHE"])
    assert not classifier_file(dataset, "turns").is_relative_to(Path.home() / ".cache")
    monkeypatch.setenv("XDG_CACHE_HOME", "/some/cache")
    assert not classifier_file(dataset, "turns").is_relative_to("/some")
    monkeypatch.delenv("EBBTIDE_CACHE")
    assert classifier_file(dataset, "turns").is_relative_to("/some/cache/ebbtide")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert classifier_file(dataset, "turns").is_relative_to(Path.home() / ".cache" / "ebbtide")


# --- trained once -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_before_it_is_trained_there_is_none_and_afterwards_it_is_found(cache, kind):
    dataset = shades()
    assert find_classifier(dataset, kind) is None
    assert not cache.exists()
    found = trained(dataset, None, kind)
    assert [path.name for path in cache.iterdir()] == [classifier_file(dataset, kind).name]
    assert mark(dataset, kind) in found.name
    assert found.dimensions == FEATURES == found(dataset.values)[0].shape[1]
    assert find_classifier(images(classes=2), kind) is None
    assert find_classifier(replace(dataset, name="elsewhere"), kind).name == found.name


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_data_give_the_same_features_again(cache, kind):
    """Whatever the global generator, the held-out set, the recipe's range or flips."""
    dataset, files = shades(), []
    variants = [
        (0, dataset, None),
        (1, replace(dataset, flip=True, range=ValueRange(low=0.0, high=9.0)), shades(10, seed=1)),
    ]
    for seed, variant, held_out in variants:
        torch.manual_seed(seed)
        trained(variant, held_out, kind)
        file = classifier_file(dataset, kind)
        files.append(load_file(file))
        file.unlink()
    assert files[0].keys() == files[1].keys()
    assert all(torch.equal(files[0][name], files[1][name]) for name in files[0])
    trained(shades(seed=3), None, kind)
    other = load_file(classifier_file(shades(seed=3), kind))
    assert any(not torch.equal(files[0][name], other[name]) for name in other)


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(b"no tensors at all"),
        lambda file: file.write_bytes(file.read_bytes()[:-100]),
        lambda file: save_file({"head.weight": torch.zeros(2, 3)}, file),
        lambda file: save_file({name: value.flatten()[:1] for name, value in load_file(file).items()}, file),
        lambda file: relabelled(file, "I32"),
    ],
    ids=["empty", "garbage", "cut", "another network", "other shapes", "other types"],
)
def test_a_damaged_file_is_none_and_is_made_anew(cache, damage):
    dataset = shades()
    before = trained(dataset, None, "labels")(dataset.values)[0]
    damage(classifier_file(dataset, "labels"))
    assert find_classifier(dataset, "labels") is None
    assert np.array_equal(trained(dataset, None, "labels")(dataset.values)[0], before)


@pytest.mark.parametrize("kind", KINDS)
def test_features_of_a_batch_are_those_of_its_examples(cache, kind):
    dataset = shades()
    found = trained(dataset, None, kind)
    rows, probabilities = found(dataset.values)
    alone = np.concatenate([found(dataset.values[i : i + 1])[0] for i in range(len(dataset))])
    assert np.allclose(rows, alone, atol=1e-5)
    assert rows.std(0).max() > 1e-3
    assert (probabilities is None) == (kind == "turns")


def test_probabilities_are_the_softmax_of_its_logits(cache):
    dataset = shades()
    found = trained(dataset, None, "labels")
    _, probabilities = found(dataset.values)
    with torch.inference_mode():
        logits = found.network(as_input(dataset.values, ValueRange.standard(dataset.values))).double().numpy()
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert probabilities == pytest.approx(expected, rel=1e-5)
    assert probabilities.shape == (40, 2)


def right(name):
    """The share that the name of a classifier states, and of what."""
    share, words = name.split(", ")[-1].rstrip(")").split("% right on ")
    return float(share) / 100, words


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_and_says_how_much_of_which_images_it_gets_right(cache, monkeypatch, kind):
    monkeypatch.setattr(module, "MOST_UPDATES", 20 if kind == "labels" else 40)
    dataset = shades()
    assert right(trained(dataset, shades(20, seed=1), kind).name) == (1.0, "held-out images")
    assert right(trained(dataset, None, kind).name) == (1.0, "training images")


def test_what_has_no_label_is_neither_right_nor_wrong(cache, monkeypatch):
    monkeypatch.setattr(module, "MOST_UPDATES", 20)
    dataset, some = shades(), shades(20, seed=1)
    partly = replace(some, labels=np.where(np.arange(20) < 10, some.labels, NO_LABEL))
    assert right(trained(dataset, partly, "labels").name) == (1.0, "held-out images")
    false = replace(partly, labels=np.where(partly.labels == 0, 1, partly.labels))
    assert right(trained(dataset, false, "labels").name) == (0.5, "held-out images")
    none = replace(some, labels=None, classes=())
    assert right(trained(dataset, none, "labels").name) == (1.0, "training images")


def test_training_takes_epochs_within_bounds():
    def updates(count):
        return updates_for(Dataset(name="flat", values=np.zeros((count, 1, 1, 1), np.uint8)))

    assert updates(10) == module.LEAST_UPDATES
    assert updates(10**6) == module.MOST_UPDATES
    middle = module.BATCH * (module.LEAST_UPDATES + module.MOST_UPDATES) // (2 * module.EPOCHS)
    assert updates(middle) == pytest.approx(module.EPOCHS * middle / module.BATCH, abs=1)
