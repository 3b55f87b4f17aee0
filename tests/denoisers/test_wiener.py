"""The best linear denoiser against the Gaussian oracle, its own measured error, and every other linear map."""

import math

import pytest
import scipy.fft
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ebbtide.corruptions import GaussianCorruption
from ebbtide.data import load
from ebbtide.denoisers import GaussianDenoiser, GaussianOracle
from ebbtide.denoisers.wiener import CosineBasis, EigenBasis, LinearDenoiser, cosines, waves
from ebbtide.errors import EbbtideError
from ebbtide.schedules import FunctionSchedule
from parts import COSINE, SIGMAS, covariance, noise, seeded

CORRUPTION = GaussianCorruption(COSINE)
TO_THE_END = GaussianCorruption(FunctionSchedule(lambda t: torch.where(t < 1, 10 - 20 * t, -math.inf)))
TIMES = [1e-3, 0.1, 0.4, 0.7, 0.95, 1.0]
WAVES_ONLY = 1
"""Numbers of an example up to which the covariance is held: so few that waves are taken."""


def at(t, count):
    return torch.full((count,), t, dtype=torch.float64)


def level_at(t):
    return CORRUPTION.level(torch.tensor(t, dtype=torch.float64))


def of_gaussian(mean, matrix):
    """N independent examples of N(mean, matrix)."""
    values, vectors = torch.linalg.eigh(matrix)
    return mean + noise(300, len(mean), seed=21) * values.clamp(min=0).sqrt() @ vectors.mT


def scenes(count=200):
    """Colour images whose left half is smooth and whose right half is rough: nothing about them is stationary."""
    smooth, rough = noise(count, 3, 1, 1, seed=22).expand(-1, -1, 6, 2), noise(count, 3, 6, 3, seed=23)
    mixed = torch.einsum("bchw,kc->bkhw", torch.cat([smooth, 0.3 * rough], 3), noise(3, 3, seed=24))
    return mixed + noise(3, 6, 5, seed=25)


VECTORS = of_gaussian(noise(6, seed=1), covariance(6, seed=2))
SCENES = scenes()
DIGITS = load("digits").batch(range(300)).x0.double().repeat_interleave(2, 2).repeat_interleave(2, 3)
DENOISERS = {
    "vectors": (VECTORS, LinearDenoiser.of([VECTORS], CORRUPTION)),
    "scenes": (SCENES, LinearDenoiser.of([SCENES], CORRUPTION)),
    "scenes in waves": (SCENES, LinearDenoiser.of([SCENES], CORRUPTION, WAVES_ONLY)),
    "digits in waves": (DIGITS, LinearDenoiser.of([DIGITS], CORRUPTION, WAVES_ONLY)),
}


def oracle_of(data):
    """The Gaussian with the mean and the covariance of the examples themselves."""
    flat = data.flatten(1)
    return GaussianOracle(flat.mean(0), flat.mT.cov(correction=0), CORRUPTION)


@pytest.mark.parametrize("t", TIMES)
@pytest.mark.parametrize("name", ["vectors", "scenes"])
def test_it_is_the_oracle_of_the_gaussian_with_the_mean_and_the_covariance_of_the_data(name, t):
    data, linear = DENOISERS[name]
    oracle, xt = oracle_of(data), noise(20, *data.shape[1:], seed=3)
    assert isinstance(linear, GaussianDenoiser)
    assert linear.exact
    assert torch.allclose(linear(xt, at(t, 20)).x0, oracle(xt, at(t, 20)).x0, rtol=0, atol=1e-9)
    left = oracle.covariance(xt[:1].flatten(1), at(t, 1))[0].diagonal().mean()
    assert float(linear.error(level_at(t))) == pytest.approx(float(left), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("t", TIMES)
@pytest.mark.parametrize("name", DENOISERS)
def test_the_formula_is_the_error_that_is_measured_on_the_examples_it_was_made_of(name, t):
    data, linear = DENOISERS[name]
    x0 = data.repeat(-(-4000 // len(data)), *[1] * (data.ndim - 1))
    xt = CORRUPTION.corrupt(x0, at(t, len(x0)), seeded(4)).xt
    squares = (linear(xt, at(t, len(x0))).x0 - x0).square().flatten(1).mean(1)
    error = squares.std() / len(x0) ** 0.5
    assert abs(squares.mean() - linear.error(level_at(t))) < SIGMAS * error
    assert error < 0.05 * linear.error(level_at(t))


@pytest.mark.parametrize("t", TIMES)
def test_any_other_linear_map_has_a_larger_error_by_just_as_much_as_it_is_another(t):
    """E‖A xt + b - x0‖² = tr (αA - I) C (αA - I)ᵀ + σ² tr A Aᵀ + ‖(αA - I) m + b‖² is least at the denoiser's A, b."""
    data, linear = DENOISERS["vectors"]
    mean, matrix, level = data.mean(0), data.mT.cov(correction=0), level_at(t)
    eye = torch.eye(6, dtype=torch.float64)

    def error(gain, offset):
        rest = level.alpha * gain - eye
        bias = rest @ mean + offset
        return (rest @ matrix @ rest.mT).trace() + level.sigma**2 * gain.square().sum() + bias.square().sum()

    offset = linear(torch.zeros(1, 6, dtype=torch.float64), at(t, 1)).x0[0]
    gain = (linear(eye, at(t, 6)).x0 - offset).mT
    least = error(gain, offset)
    assert float(least) == pytest.approx(6 * float(linear.error(level)), rel=1e-9)
    for seed in range(5):
        other = 0.1 * noise(6, 6, seed=seed)
        spread = level.alpha**2 * matrix + level.sigma**2 * eye
        # the offset that keeps the mean right costs nothing; any other costs its square
        kept, moved = offset - level.alpha * other @ mean, 0.1 * noise(6, seed=seed + 10)
        more = (other @ spread @ other.mT).trace()
        assert float(error(gain + other, kept) - least) == pytest.approx(float(more), rel=1e-6)
        assert float(error(gain, offset + moved) - least) == pytest.approx(float(moved.square().sum()), rel=1e-6)


@pytest.mark.parametrize("most_exact", [1000, WAVES_ONLY], ids=["whole", "waves"])
@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(0, 40), max_size=6))
def test_batches_of_any_size_each_seen_once_make_the_same_denoiser(most_exact, cuts):
    data, asked = SCENES[:40], []

    def batches():
        for index, (start, end) in enumerate(zip([0, *sorted(cuts)], [*sorted(cuts), 40], strict=True)):
            asked.append(index)
            yield data[start:end]

    found = LinearDenoiser.of(batches(), CORRUPTION, most_exact)
    whole = LinearDenoiser.of([data], CORRUPTION, most_exact)
    assert asked == list(range(len(cuts) + 1))
    xt, t = noise(8, 3, 6, 5, seed=5), torch.linspace(0.05, 1, 8, dtype=torch.float64)
    assert torch.allclose(found(xt, t).x0, whole(xt, t).x0, rtol=0, atol=1e-9)
    assert torch.allclose(found.error(CORRUPTION.level(t)), whole.error(CORRUPTION.level(t)), rtol=1e-9)


def test_data_of_single_precision_far_from_zero_lose_no_digits():
    far = SCENES[:50].float() + 1024
    near = far.double() - 1024
    for most_exact in (1000, WAVES_ONLY):
        one, other = (LinearDenoiser.of([x], CORRUPTION, most_exact) for x in (near, far))
        assert torch.allclose(one.variances, other.variances, rtol=1e-7, atol=1e-10)


def test_the_whole_covariance_is_held_up_to_the_size_that_is_allowed_and_waves_hold_little():
    size = SCENES[0].numel()
    whole = LinearDenoiser.of([SCENES], CORRUPTION, size)
    assert whole.exact
    assert isinstance(whole.basis, EigenBasis)
    told = LinearDenoiser.of([SCENES], CORRUPTION, size - 1)
    assert not told.exact
    assert isinstance(told.basis, CosineBasis)
    assert told.basis.mixing.numel() == 3 * 3 * 6 * 5
    assert told.variances.numel() == told.mean.numel() == size


@pytest.mark.parametrize("size", [1, 2, 5, 8, 32])
def test_the_waves_are_the_orthonormal_cosine_transform(size):
    ours = cosines(size).numpy()
    assert ours == pytest.approx(scipy.fft.dct(torch.eye(size).double().numpy(), norm="ortho", axis=0), abs=1e-13)
    images = noise(3, 2, size, 5, seed=6)
    assert waves(images).numpy() == pytest.approx(scipy.fft.dctn(images.numpy(), norm="ortho", axes=(2, 3)), abs=1e-12)


BASES = {
    "eigenvectors": EigenBasis(torch.linalg.qr(noise(60, 60, seed=7)).Q),
    "waves": CosineBasis(torch.linalg.qr(noise(4, 5, 3, 3, seed=8)).Q),
}


@pytest.mark.parametrize("name", BASES)
def test_a_basis_is_orthonormal_and_tells_and_makes_again(name):
    basis, x = BASES[name], noise(6, 3, 4, 5, seed=9)
    told = basis.analyse(x)
    assert torch.allclose(told @ told.mT, x.flatten(1) @ x.flatten(1).mT, rtol=0, atol=1e-11)
    assert torch.allclose(basis.synthesise(told), x.flatten(1), rtol=0, atol=1e-12)
    assert torch.allclose(basis.analyse(basis.synthesise(told).reshape(x.shape)), told, rtol=0, atol=1e-12)


def of_independent_waves(count, channels, height, width, seed=10):
    """Images whose waves have exactly no covariance with one another, while channels are mixed at each wave."""
    size = channels * height * width
    raw = noise(count, size, seed=seed)
    white = torch.linalg.qr(raw - raw.mean(0)).Q * count**0.5
    mixing = noise(height, width, channels, channels, seed=seed + 1)
    told = torch.einsum("bkhw,hwck->bchw", white.unflatten(1, (channels, height, width)), mixing)
    images = scipy.fft.idctn(told.numpy(), norm="ortho", axes=(2, 3))
    return torch.from_numpy(images) + noise(channels, height, width, seed=seed + 2)


@pytest.mark.parametrize("t", [0.0, *TIMES])
@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 3, 4), (2, 1, 6)])
def test_where_waves_are_uncorrelated_nothing_is_lost_by_them(shape, t):
    data = of_independent_waves(60, *shape)
    whole, told = (LinearDenoiser.of([data], CORRUPTION, most) for most in (1000, WAVES_ONLY))
    xt = noise(9, *shape, seed=13)
    assert (whole.exact, told.exact) == (True, False)
    assert torch.allclose(told(xt, at(t, 9)).x0, whole(xt, at(t, 9)).x0, rtol=0, atol=1e-9)
    assert float(told.error(level_at(t))) == pytest.approx(float(whole.error(level_at(t))), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("data", [SCENES, DIGITS[:, :, ::2, ::2]], ids=["scenes", "digits"])
def test_waves_are_a_bar_that_lies_between_the_best_linear_denoiser_and_the_best_constant(data):
    whole, told = (LinearDenoiser.of([data], CORRUPTION, most) for most in (1000, WAVES_ONLY))
    levels = CORRUPTION.level(torch.linspace(0.05, 0.9, 30, dtype=torch.float64))
    assert told.constant_error == pytest.approx(whole.constant_error, rel=1e-9)
    assert (told.error(levels) > 1.001 * whole.error(levels)).all()
    assert (told.error(levels) < told.constant_error).all()


@pytest.mark.parametrize("name", DENOISERS)
def test_the_error_rises_with_the_noise_from_none_to_all_the_variance(name):
    data, linear = DENOISERS[name]
    t = torch.linspace(0, 1, 50, dtype=torch.float64)
    errors = linear.error(TO_THE_END.level(t))
    assert errors[0] == 0
    assert (errors.diff() > 0).all()
    variance = float(data.flatten(1).var(0, correction=0).mean())
    assert float(errors[-1]) == pytest.approx(variance, rel=1e-9)
    assert linear.constant_error == pytest.approx(variance, rel=1e-9)


@pytest.mark.parametrize("most_exact", [1000, WAVES_ONLY], ids=["whole", "waves"])
def test_all_noise_leaves_the_mean_and_no_noise_leaves_what_is_seen(most_exact):
    linear = LinearDenoiser.of([SCENES], TO_THE_END, most_exact)
    xt = noise(7, 3, 6, 5, seed=14)
    assert torch.allclose(linear(xt, at(1.0, 7)).x0, SCENES.mean(0).expand_as(xt), rtol=0, atol=1e-12)
    assert torch.allclose(linear(SCENES, at(0.0, len(SCENES))).x0, SCENES, rtol=0, atol=1e-9)


@pytest.mark.parametrize("t", [0.3, 1.0])
def test_pixels_that_never_change_are_known_whatever_is_seen(t):
    border = SCENES.clone()
    border[:, :, 0] = 0.5
    linear = LinearDenoiser.of([border], TO_THE_END)
    found = linear(noise(3, 3, 6, 5, seed=16), at(t, 3)).x0
    assert torch.allclose(found[:, :, 0], border[:3, :, 0], rtol=0, atol=1e-9)
    assert torch.allclose(linear(border, at(0.0, len(border))).x0, border, rtol=0, atol=1e-9)
    assert not linear.knows_all


@pytest.mark.parametrize("most_exact", [1000, WAVES_ONLY], ids=["whole", "waves"])
def test_of_examples_that_are_all_the_same_all_is_known(most_exact):
    one = noise(1, 2, 4, 4, seed=15)
    same = LinearDenoiser.of([one.expand(5, -1, -1, -1)], TO_THE_END, most_exact)
    assert same.knows_all
    assert (same.error(TO_THE_END.level(torch.linspace(0, 1, 9, dtype=torch.float64))) < 1e-25).all()
    assert torch.allclose(same(noise(3, 2, 4, 4), at(0.5, 3)).x0, one.expand(3, -1, -1, -1), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", DENOISERS)
def test_examples_of_a_batch_at_different_times_do_not_meet(name):
    data, linear = DENOISERS[name]
    x, t = noise(4, *data.shape[1:], seed=3), torch.tensor([0.9, 0.01, 0.3, 1.0], dtype=torch.float64)
    alone = torch.cat([linear(x[i : i + 1], t[i : i + 1]).x0 for i in range(4)])
    assert torch.allclose(linear(x, t).x0, alone, rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", DENOISERS)
def test_it_answers_in_the_type_it_is_asked_in(name):
    data, linear = DENOISERS[name]
    x, t = noise(6, *data.shape[1:], seed=3), at(0.5, 6)
    answer = linear(x.float(), t).x0
    assert answer.dtype == torch.float32
    assert torch.allclose(answer.double(), linear(x, t).x0, rtol=0, atol=1e-4)


def gaussian_images(count, seed):
    """Of a Gaussian law with waves of known variance, at each of the three channels."""
    told = noise(count, 3, 6, 6, seed=seed) * WAVES.sqrt()
    return torch.from_numpy(scipy.fft.idctn(told.numpy(), norm="ortho", axes=(2, 3))) + 0.3


WAVES = 4 / (1 + torch.arange(6.0).double()[:, None] + torch.arange(6.0).double()).square()
TURN = torch.linalg.qr(noise(40, 40, seed=30)).Q
FALLS = 40 / torch.arange(1, 41, dtype=torch.float64).square()
LAWS = {
    "vectors": (FALLS, lambda count, seed: noise(count, 40, seed=seed) @ (TURN * FALLS.sqrt()).mT + 1, 1000),
    "pictures": (WAVES.expand(3, 6, 6).flatten(), gaussian_images, WAVES_ONLY),
}


@pytest.mark.parametrize("law", LAWS)
def test_told_by_other_examples_the_error_is_a_bar_where_examples_are_fewer_than_numbers(law):
    """Not below the exact error of the law by more than its own error, at any level; of many examples equal to it."""
    variances, draw, most_exact = LAWS[law]
    levels = CORRUPTION.level(torch.linspace(0.05, 0.95, 7, dtype=torch.float64))
    noise_to_signal = (levels.sigma / levels.alpha).square()[:, None]
    exact = (variances * noise_to_signal / (variances + noise_to_signal)).mean(1)
    ratios, by_heart = [], []
    for seed in range(24):
        one, other = draw(15, 100 + 2 * seed), draw(15, 101 + 2 * seed)
        linear = LinearDenoiser.of([one], CORRUPTION, most_exact)
        by_heart.append(linear.error(levels) / exact)
        ratios.append(linear.told_by([other[:4], other[4:]]).error(levels) / exact)
    found = torch.stack(ratios)
    spread_of_v = 2 / (4 * 15)  # (kurtosis - 1) / 4 n
    assert (found.mean(0) > 1 - spread_of_v - SIGMAS * found.std(0) / len(found) ** 0.5).all()
    assert (found.mean(0) < 2).all()
    assert (torch.stack(by_heart).mean(0) < 0.95).any()
    many = LinearDenoiser.of([draw(3000, 1)], CORRUPTION, most_exact).told_by([draw(3000, 2)])
    assert torch.allclose(many.error(levels), exact, rtol=0.06)


def test_told_by_others_it_is_the_best_denoiser_of_its_axes_for_them():
    """Another mean counts as variance; of the examples themselves nothing changes."""
    linear = LinearDenoiser.of([VECTORS], CORRUPTION)
    assert torch.allclose(linear.told_by([VECTORS]).variances, linear.variances, rtol=1e-9, atol=1e-12)
    moved = linear.told_by([VECTORS + 2])
    assert moved.constant_error == pytest.approx(linear.constant_error + 4, rel=1e-9)
    assert torch.equal(moved.mean, linear.mean)
    with pytest.raises(EbbtideError, match="no data came"):
        linear.told_by([])


@pytest.mark.parametrize("most_exact", [1000, WAVES_ONLY], ids=["whole", "waves"])
def test_what_cannot_be_learned_from_is_refused(most_exact):
    for nothing in ([], [SCENES[:0]]):
        with pytest.raises(EbbtideError, match="no data came"):
            LinearDenoiser.of(nothing, CORRUPTION, most_exact)
    with pytest.raises(EbbtideError, match="expected at least"):
        LinearDenoiser.of([SCENES[:1]], CORRUPTION, most_exact)


def test_vectors_that_are_too_long_are_refused():
    assert LinearDenoiser.of([VECTORS], CORRUPTION, 6).exact
    with pytest.raises(EbbtideError, match=r"examples of 6 numbers came that are no images.* 5 at most"):
        LinearDenoiser.of([VECTORS], CORRUPTION, 5)
