"""Items C1, C3, D8 and half of B4: the arithmetic between alpha, sigma, x0, eps and xt."""

import math

import mpmath
import pytest
import torch

from ebbtide.errors import EbbtideError
from ebbtide.gaussian import Gaussian, Spherical
from ebbtide.levels import (
    KINDS,
    STEP_KINDS,
    Level,
    Pair,
    along,
    bridge,
    convert,
    forward_step,
    posterior,
    share_of_noise_replaced,
    step_pair,
    weight_between,
)
from parts import noise

LOG_SNRS = torch.linspace(-14, 14, 29, dtype=torch.float64)
LEVEL = Level.of_log_snr(LOG_SNRS)
X0, EPS = noise(29, 2, 3, seed=1), noise(29, 2, 3, seed=2)
XT = LEVEL.mix(X0, EPS)
# a rectified flow's velocity, and numbers that no theory gives
PAIRS = {
    "velocity": Pair(-torch.ones(29, dtype=torch.float64), torch.ones(29, dtype=torch.float64)),
    "any": Pair(0.3 + LEVEL.sigma, -LEVEL.alpha - 0.1),
}
ALL = [*KINDS, *PAIRS.values()]
NAMES = [*KINDS, *PAIRS]


def target(kind):
    """What a perfect prediction of a kind is, written out."""
    alpha, sigma = LEVEL.alpha[:, None, None], LEVEL.sigma[:, None, None]
    match kind:
        case "x0":
            return X0
        case "eps":
            return EPS
        case "score":
            return -(XT - alpha * X0) / sigma**2
        case "v":
            return alpha * EPS - sigma * X0
        case Pair(a, b):
            return a[:, None, None] * X0 + b[:, None, None] * EPS
    raise AssertionError(kind)


@pytest.mark.parametrize("log_snr", [-700.0, -40.0, -36.0, -20.5, -14.0, -1e-9, 0.0, 0.3, 14.0, 20.5, 30.0, 700.0])
def test_levels_of_log_snr_keep_all_their_digits(log_snr):
    mpmath.mp.dps = 60
    level = Level.of_log_snr(torch.tensor(log_snr, dtype=torch.float64))
    odds = mpmath.exp(mpmath.mpf(log_snr))
    assert level.alpha.item() == pytest.approx(float(mpmath.sqrt(odds / (1 + odds))), rel=1e-13)
    assert level.sigma.item() == pytest.approx(float(mpmath.sqrt(1 / (1 + odds))), rel=1e-13)
    assert level.log_snr.item() == pytest.approx(log_snr, rel=1e-12, abs=1e-15)
    assert level.snr.item() == pytest.approx(float(odds), rel=1e-12)


def test_the_ends_of_log_snr_are_data_and_noise_exactly():
    ends = Level.of_log_snr(torch.tensor([torch.inf, -torch.inf], dtype=torch.float64))
    assert ends.alpha.tolist() == [1, 0]
    assert ends.sigma.tolist() == [0, 1]
    assert ends.log_snr.tolist() == [torch.inf, -torch.inf]


@pytest.mark.parametrize("destination", ALL, ids=NAMES)
@pytest.mark.parametrize("source", ALL, ids=NAMES)
def test_every_kind_becomes_every_other_and_comes_back(source, destination):
    there = convert(target(source), source, destination, XT, LEVEL)
    assert torch.allclose(there, target(destination), rtol=1e-10, atol=1e-10)
    back = convert(there, destination, source, XT, LEVEL)
    assert torch.allclose(back, target(source), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_converted_to_itself_is_the_same_tensor(kind):
    prediction = torch.full((29, 2, 3), torch.nan)
    assert convert(prediction, kind, kind, XT, LEVEL) is prediction
    assert (weight_between(LEVEL, kind, kind) == 1).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_named_kind_is_its_pair(kind):
    pair = LEVEL.pair(kind)
    for other in KINDS:
        assert torch.allclose(convert(target(kind), pair, other, XT, LEVEL), target(other), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("destination", ALL, ids=NAMES)
@pytest.mark.parametrize("source", ALL, ids=NAMES)
def test_the_weight_between_kinds_is_the_ratio_of_their_squared_errors(source, destination):
    wrong = target(source) + noise(29, 2, 3, seed=9)
    error = (wrong - target(source)).square().sum((1, 2))
    converted = convert(wrong, source, destination, XT, LEVEL) - target(destination)
    weighted = weight_between(LEVEL, source, destination) * error
    assert torch.allclose(weighted, converted.square().sum((1, 2)), rtol=1e-8)


def test_coefficients_take_the_shape_and_type_of_what_they_multiply():
    images = torch.ones(29, 1, 2, 2)
    assert along(LEVEL.alpha, images).shape == (29, 1, 1, 1)
    assert LEVEL.mix(images, images).dtype == torch.float32


NOISIER = Level.of_log_snr(LOG_SNRS - torch.linspace(0.001, 9, 29, dtype=torch.float64))


def test_noise_replaced_and_noise_kept_are_the_whole():
    kept = (NOISIER.alpha * LEVEL.sigma / (LEVEL.alpha * NOISIER.sigma)).square()
    assert torch.allclose(share_of_noise_replaced(LEVEL, NOISIER), 1 - kept, rtol=0, atol=1e-13)


def test_the_share_of_noise_replaced_keeps_its_digits_in_a_short_step():
    near = Level.of_log_snr(LOG_SNRS - 2.0**-20)
    exact = float(-mpmath.expm1(-(mpmath.mpf(2) ** -20)))
    shares = share_of_noise_replaced(LEVEL, near)
    assert torch.allclose(shares, torch.full_like(shares, exact), rtol=1e-7)


@pytest.mark.parametrize("eta", [0.0, 0.3, 0.7, 1.0])
def test_every_bridge_keeps_the_marginal(eta):
    """With the true x0 and eps, xs has mean alpha_s x0 and variance sigma_s²: eps and new noise share it out."""
    zeros = torch.zeros_like(X0)
    signal = bridge(torch.ones_like(X0), zeros, LEVEL, NOISIER, eta)
    kept = bridge(zeros, torch.ones_like(X0), LEVEL, NOISIER, eta)
    assert isinstance(kept.covariance, Spherical)
    assert torch.allclose(signal.mean, along(LEVEL.alpha, X0).expand_as(X0), rtol=1e-14)
    total = kept.mean[:, 0, 0].square() + kept.covariance.variance
    assert torch.allclose(total, LEVEL.sigma.square(), rtol=1e-12)
    assert (kept.covariance.variance > 0).all() == (eta > 0)


def test_the_bridge_at_eta_1_is_the_posterior_in_both_its_forms():
    xt = NOISIER.mix(X0, EPS)
    bridged, exact = bridge(X0, EPS, LEVEL, NOISIER, 1.0), posterior(xt, X0, LEVEL, NOISIER)
    assert torch.allclose(bridged.mean, exact.mean, rtol=1e-9, atol=1e-11)
    assert torch.allclose(bridged.variances, exact.variances, rtol=1e-13)


def test_bridges_grow_noisier_with_eta_and_ddim_adds_none():
    variances = [bridge(X0, EPS, LEVEL, NOISIER, eta).variances for eta in (0.0, 0.5, 1.0)]
    assert (variances[0] == 0).all()
    assert torch.allclose(variances[1], variances[2] / 4, rtol=1e-14)


@pytest.mark.parametrize("eta", [-0.1, 1.1])
def test_a_bridge_outside_its_family_is_refused(eta):
    with pytest.raises(EbbtideError, match="eta"):
        bridge(X0, EPS, LEVEL, NOISIER, eta)


@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_steps_to_more_signal_or_from_clean_data_to_clean_data_are_refused(eta):
    clean = Level(torch.ones(29, dtype=torch.float64), torch.zeros(29, dtype=torch.float64))
    for s, t in ((NOISIER, LEVEL), (clean, clean)):
        for step in (
            lambda s, t: forward_step(X0, s, t),
            lambda s, t: posterior(X0, X0, s, t),
            lambda s, t: bridge(X0, EPS, s, t, eta),
        ):
            with pytest.raises(EbbtideError, match="expected s < t"):
                step(s, t)


def test_a_step_that_takes_no_time_leaves_x_where_it_is():
    law = bridge(X0, EPS, LEVEL, LEVEL, 1.0)
    assert torch.allclose(law.mean, LEVEL.mix(X0, EPS), rtol=0, atol=1e-14)
    assert (law.variances == 0).all()


def test_a_step_to_clean_data_leaves_nothing_over():
    clean = Level(torch.ones(29, dtype=torch.float64), torch.zeros(29, dtype=torch.float64))
    for law in (posterior(XT, X0, clean, LEVEL), bridge(X0, EPS, clean, LEVEL, 1.0), bridge(X0, EPS, clean, LEVEL, 0)):
        assert torch.equal(law.mean, X0)
        assert (law.variances == 0).all()
    first = forward_step(X0, clean, LEVEL)
    assert torch.allclose(first.mean, along(LEVEL.alpha, X0) * X0)
    assert torch.allclose(first.variances.flatten(), LEVEL.sigma.square(), rtol=1e-13)


def test_the_previous_latent_is_expected_at_the_mean_of_the_posterior():
    """In both of its forms: from xt and x0, and from the noise (D1, D5)."""
    xt = NOISIER.mix(X0, EPS)
    a, b = step_pair("previous", LEVEL, NOISIER)
    expected = along(a, X0) * X0 + along(b, EPS) * EPS
    assert torch.allclose(expected, posterior(xt, X0, LEVEL, NOISIER).mean, rtol=1e-9, atol=1e-11)


def test_both_targets_of_a_step_are_found_by_conditioning_on_xt():
    """Given x0, (xs, eps_step, xt) is affine in two noises, so E[y | xt] = E y + Cov(y, xt) / Var xt (xt - E xt)."""
    for i in range(29):
        s, t = (Level(level.alpha[i], level.sigma[i]) for level in (LEVEL, NOISIER))
        ratio = t.alpha / s.alpha
        beta = t.sigma**2 - (ratio * s.sigma) ** 2
        zero, one = torch.zeros(()).double(), torch.ones(()).double()
        rows = [[s.sigma, zero], [zero, one], [ratio * s.sigma, beta.sqrt()]]
        matrix = torch.stack([torch.stack(row) for row in rows])
        x0, eps = X0[i, 0, :1], EPS[i, 0, :1]
        noises = Gaussian(torch.zeros(2, dtype=torch.float64), Spherical(one))
        joint = noises.affine(matrix, torch.stack([s.alpha, zero, t.alpha]) * x0)
        gain = joint.covariance.matrix[:2, 2] / joint.covariance.matrix[2, 2]
        expected = joint.mean[:2] + gain * (t.mix(x0, eps) - joint.mean[2])
        for kind, value in zip(("previous", "step_noise"), expected, strict=True):
            a, b = step_pair(kind, s, t)
            assert (a * x0 + b * eps).item() == pytest.approx(value.item(), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("kind", STEP_KINDS)
def test_the_step_from_clean_data_is_the_whole_way(kind):
    """The previous latent is x0 and the noise of the step is all noise."""
    clean = Level(torch.ones(29, dtype=torch.float64), torch.zeros(29, dtype=torch.float64))
    a, b = step_pair(kind, clean, LEVEL)
    whole = LEVEL.pair("x0" if kind == "previous" else "eps")
    assert torch.equal(a, whole.a)
    assert torch.equal(b, whole.b)


@pytest.mark.parametrize("kind", STEP_KINDS)
def test_one_level_alone_knows_no_step(kind):
    with pytest.raises(EbbtideError, match=f"{kind}.*corruption.pair"):
        LEVEL.pair(kind)


@pytest.mark.parametrize("sd", [0.5, 1.0, 2.0])
def test_v_of_standardised_data_is_the_scaling_of_edm(sd):
    """Karras et al. 2022 (arXiv:2206.00364), table 1, for data of standard deviation sd, noised as x = x0 + σ n:

        D = c_skip x + c_out F(c_in x),  c_skip = sd² / (σ² + sd²),  c_out = σ sd / √(σ² + sd²),  c_in = 1 / √(σ² + sd²)

    F's target is -v of x0 / sd at the level of log-SNR log sd² / σ², and c_in x is xt there.
    """
    sigma = torch.logspace(-3, 3, 25, dtype=torch.float64)
    x0, n = sd * noise(25, 4), noise(25, 4, seed=1)
    x = x0 + sigma[:, None] * n
    total = (sigma**2 + sd**2)[:, None]
    skip, out = sd**2 / total, sigma[:, None] * sd / total.sqrt()
    target = (x0 - skip * x) / out
    level = Level.of_log_snr(2 * (math.log(sd) - sigma.log()))
    a, b = level.pair("v")
    v = a[:, None] * x0 / sd + b[:, None] * n
    torch.testing.assert_close(v, -target, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(level.mix(x0 / sd, n), x / total.sqrt())
