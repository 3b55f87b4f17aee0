"""Codes without a network: what they cost, counted a second way."""

import math

import numpy as np
import pytest
from PIL import Image

from ebbtide.errors import EbbtideError
from ebbtide.evaluation.codes import histogram_bits, png_bits
from parts import SIGMAS


def images(count, channels, values=256, seed=0, size=(4, 5)):
    return np.random.default_rng(seed).integers(0, values, (count, *size, channels), dtype=np.uint8)


def slow_histogram_bits(train, test):
    """Krichevsky and Trofimov's estimate, place by place and image by image."""
    total, places = 0.0, list(np.ndindex(train.shape[1:]))
    for image in test:
        for place in places:
            seen = sum(1 for other in train if other[place] == image[place])
            total -= math.log2((seen + 0.5) / (len(train) + 256 / 2))
    return total / len(test) / len(places)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("values", [2, 256])
def test_the_histogram_code_is_that_of_plain_counting(channels, values):
    train, test = images(30, channels, values, seed=1), images(7, channels, values, seed=2)
    assert histogram_bits(train, test) == pytest.approx(slow_histogram_bits(train, test), rel=1e-12)


LAWS = {(0, 0): [1.0], (0, 1): [0.5, 0.5], (1, 0): [0.7, 0.1, 0.1, 0.1], (1, 1): [1 / 8] * 8}
"""Probabilities of the values 3, 10, 17, .. of four pixels, each on its own."""


def drawn(count, seed):
    random = np.random.default_rng(seed)
    out = np.zeros((count, 2, 2, 1), dtype=np.uint8)
    for place, law in LAWS.items():
        out[:, place[0], place[1], 0] = 3 + 7 * random.choice(len(law), size=count, p=law)
    return out


def test_it_tends_to_the_entropy_of_independent_pixels():
    """n real counts beside 256 half ones cost log2(1 + 128/n) too much at first, and nothing in the end."""
    surprise = [[-math.log2(p) for p in law] for law in LAWS.values()]
    entropy = [np.dot(law, bits) for law, bits in zip(LAWS.values(), surprise, strict=True)]
    squares = [np.dot(law, np.square(bits)) for law, bits in zip(LAWS.values(), surprise, strict=True)]
    error = (sum(squares) - sum(np.square(entropy))) ** 0.5 / 4 / 100
    test, excess = drawn(10_000, 2), []
    for count in (50, 500, 5000, 20_000):
        excess.append(histogram_bits(drawn(count, 1), test) - sum(entropy) / 4)
        assert abs(excess[-1] - math.log2(1 + 128 / count)) < SIGMAS * error + 8 / count
    assert excess[0] > excess[1] > excess[2] > excess[3]


def test_what_was_never_seen_is_dear_but_not_impossible():
    never = histogram_bits(np.zeros((1000, 2, 2, 1), np.uint8), np.full((1, 2, 2, 1), 9, np.uint8))
    assert never == pytest.approx(math.log2(1128 / 0.5))


@pytest.mark.parametrize("channels", [1, 3])
def test_pngs_are_counted_as_they_lie_on_disk(tmp_path, channels):
    """As PIL writes them when it takes its time; nothing is lost."""
    smooth = (images(1, channels, size=(60, 70)).cumsum(2) // 200).astype(np.uint8)
    some = np.concatenate([images(2, channels, size=(60, 70)), smooth, np.zeros_like(smooth)])
    sizes = {True: [], False: []}
    for number, values in enumerate(some):
        picture = Image.fromarray(values.squeeze(-1) if channels == 1 else values)
        for optimize, found in sizes.items():
            path = tmp_path / f"{number}.png"
            picture.save(path, optimize=optimize)
            found.append(path.stat().st_size)
        assert np.array_equal(np.asarray(Image.open(path)).reshape(values.shape), values)
    assert png_bits(some) == 8 * sum(sizes[True]) / some.size
    assert sizes[True] != sizes[False]
    assert png_bits(some[3:]) < png_bits(some[2:3]) < 8 < png_bits(some[:2])


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((2, 4, 5, 1), np.float32), np.zeros((2, 4, 5), np.uint8), np.zeros((0, 4, 5, 1), np.uint8)],
    ids=["floats", "no channels", "nothing"],
)
def test_what_are_no_images_is_refused(wrong):
    fine = images(2, 1)
    for call in (lambda: png_bits(wrong), lambda: histogram_bits(wrong, fine), lambda: histogram_bits(fine, wrong)):
        with pytest.raises(EbbtideError, match="expected uint8 images"):
            call()
