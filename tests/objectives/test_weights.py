"""Items E2, E3, E7 and the bound's own weights, in Ho's numbers; min-SNR; the limit in continuous time."""

from dataclasses import replace

import pytest
import torch

from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers import GaussianEstimate, decode
from ebbtide.errors import EbbtideError
from ebbtide.gaussian import kl
from ebbtide.levels import convert, posterior
from ebbtide.objectives import BoundWeight, DenoisingObjective, MinSnr, Weight
from ebbtide.schedules import InterpolatedSchedule, discretised, linear_schedule, table
from parts import COSINE, SCHEDULES, corruption_of, noise, slopes

TABLES = {"linear": linear_schedule(200), "list": SCHEDULES["list"], "one step": table([0.4])}


class Ho:
    """A table in Ho et al.'s notation, l = 1..T, each number as a column: beta, abar, abar of the step before."""

    def __init__(self, schedule):
        self.steps = len(schedule.betas)
        self.beta = schedule.betas.unsqueeze(1)
        self.abar = (1 - self.beta).cumprod(0)
        self.before = self.abar / (1 - self.beta)
        self.before[0] = 1
        self.t = torch.arange(1, self.steps + 1, dtype=torch.float64) / self.steps
        self.x0, self.eps, self.guess = (noise(self.steps, 5, seed=seed) for seed in (1, 2, 3))
        self.xt = self.abar.sqrt() * self.x0 + (1 - self.abar).sqrt() * self.eps

    def variance(self, name):
        return self.beta if name == "step" else (1 - self.before) / (1 - self.abar) * self.beta

    def mean(self, eps):
        """mu of eq. 11."""
        return (self.xt - self.beta / (1 - self.abar).sqrt() * eps) / (1 - self.beta).sqrt()

    def mean_of_posterior(self):
        """mu tilde of eq. 7."""
        on_x0 = self.before.sqrt() * self.beta / (1 - self.abar)
        return on_x0 * self.x0 + (1 - self.beta).sqrt() * (1 - self.before) / (1 - self.abar) * self.xt


@pytest.mark.parametrize("variance", ["step", "posterior"])
@pytest.mark.parametrize("name", TABLES)
def test_the_weighted_losses_of_mean_noise_score_and_data_are_one_number_by_number(name, variance):
    """E2, E3, E7 and E5 with their weights; with btilde from the second step on, the first being infinite."""
    ho, corruption = Ho(TABLES[name]), GaussianCorruption(TABLES[name])
    var = ho.variance(variance)
    noise_error = (ho.eps - ho.guess).square()
    score_error = noise_error / (1 - ho.abar)
    means = (ho.mean_of_posterior() - ho.mean(ho.guess)).square() / (2 * var)
    noises = ho.beta**2 / (2 * var * (1 - ho.beta) * (1 - ho.abar)) * noise_error
    scores = ho.beta**2 / (2 * var * (1 - ho.beta)) * score_error
    bound = DenoisingObjective(corruption=corruption, measured="x0", weight=BoundWeight(variance))
    ours = bound.error(ho.guess, ho.x0, ho.eps, ho.t)
    later = slice(0 if variance == "step" else 1, None)
    for terms in (means, noises, scores):
        assert torch.allclose(ours[later], ho.steps * terms.mean(1)[later], rtol=1e-8)
    assert variance == "step" or ours[0] == torch.inf

    def weighted(measured, weight):
        objective = DenoisingObjective(
            corruption=corruption, measured=measured, weight=lambda corruption, t: ho.steps * weight.squeeze(1)
        )
        return objective.error(ho.guess, ho.x0, ho.eps, ho.t)

    weights = {
        "previous": 1 / (2 * var),
        "eps": ho.beta**2 / (2 * var * (1 - ho.beta) * (1 - ho.abar)),
        "score": ho.beta**2 / (2 * var * (1 - ho.beta)),
        "step_noise": ho.beta / (2 * var * (1 - ho.beta)),
        "x0": ho.before * ho.beta**2 / (2 * var * (1 - ho.abar) ** 2),
    }
    for kind, weight in weights.items():
        assert torch.allclose(weighted(kind, weight)[later], ours[later], rtol=1e-8), kind


@pytest.mark.parametrize("predicts", ["x0", "v", "previous", "step_noise"])
def test_the_weighted_loss_does_not_depend_on_what_the_network_predicts(predicts):
    ho, corruption = Ho(TABLES["linear"]), GaussianCorruption(TABLES["linear"])
    level = corruption.level(ho.t)
    said = convert(ho.guess, "eps", corruption.pair(predicts, ho.t), ho.xt, level)
    one = DenoisingObjective(corruption=corruption, measured="x0", weight=BoundWeight())
    other = replace(one, predicts=predicts)
    expected = one.error(ho.guess, ho.x0, ho.eps, ho.t)
    assert torch.allclose(other.error(said, ho.x0, ho.eps, ho.t), expected, rtol=1e-7)


@pytest.mark.parametrize("name", TABLES)
def test_the_mean_over_t_is_the_sum_of_divergences_per_dimension_for_a_decoder_of_the_steps_variance(name):
    """Between Gaussians of one variance, beta: what is left of the terms of the bound that the network can change."""
    ho, corruption = Ho(TABLES[name]), GaussianCorruption(TABLES[name])
    s, t = corruption.level(corruption.before(ho.t)), corruption.level(ho.t)
    law = decode(GaussianEstimate(ho.xt, t, "eps", ho.guess), s, t, "step")
    target = replace(posterior(ho.xt, ho.x0, s, t), covariance=law.covariance)
    objective = DenoisingObjective(corruption=corruption, measured="x0", weight=BoundWeight())
    losses = objective.error(ho.guess, ho.x0, ho.eps, ho.t)
    assert losses.mean().item() == pytest.approx(kl(target, law).sum().item() / 5, rel=1e-9)


def test_with_the_posteriors_variance_they_are_the_terms_of_the_bound_themselves():
    ho, corruption = Ho(TABLES["linear"]), GaussianCorruption(TABLES["linear"])
    s, t = corruption.level(corruption.before(ho.t)), corruption.level(ho.t)
    law = decode(GaussianEstimate(ho.xt, t, "eps", ho.guess), s, t, "posterior")
    terms = kl(posterior(ho.xt, ho.x0, s, t), law)[1:]
    objective = DenoisingObjective(corruption=corruption, measured="x0", weight=BoundWeight("posterior"))
    losses = objective.error(ho.guess, ho.x0, ho.eps, ho.t)[1:]
    assert torch.allclose(losses, ho.steps * terms / 5, rtol=1e-8)


CONTINUOUS = {
    **{name: schedule for name, schedule in SCHEDULES.items() if schedule.steps is None},
    "interpolated": InterpolatedSchedule(linear_schedule(10)),
}


@pytest.mark.parametrize("name", CONTINUOUS)
def test_in_continuous_time_the_weight_is_half_the_rate_at_which_snr_falls(name):
    corruption, h = GaussianCorruption(CONTINUOUS[name]), 1e-5
    t = torch.tensor([0.02, 0.13, 0.33, 0.52, 0.77, 0.99], dtype=torch.float64)
    differences = (corruption.level(t - h).snr - corruption.level(t + h).snr) / (4 * h)
    assert torch.allclose(BoundWeight()(corruption, t), differences, rtol=1e-4)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_in_continuous_time_the_weight_holds_up_to_the_end(name):
    corruption, h, end = GaussianCorruption(CONTINUOUS[name]), 1e-7, torch.ones(1, dtype=torch.float64)
    weight = BoundWeight()(corruption, end)
    if name == "normal":  # its log-SNR falls too fast there for a difference: by std Φ(z) / φ(z) in t, z the end
        z = torch.tensor([16 / 2.4], dtype=torch.float64)
        rate = 2.4 * torch.special.ndtr(z) * (2 * torch.pi) ** 0.5 * (z**2 / 2).exp()
        assert torch.allclose(weight, 0.5 * corruption.level(end).snr * rate, rtol=1e-6)
    else:
        late = (corruption.level(end - h).snr - corruption.level(end).snr) / (2 * h)
        assert torch.allclose(weight, late, rtol=1e-3)


@pytest.mark.parametrize("variance", ["step", "posterior"])
def test_the_weight_in_continuous_time_is_the_limit_of_tables_with_more_steps(variance):
    """At first order, as s tends to t."""
    t = torch.tensor([0.125, 0.5, 0.75], dtype=torch.float64)
    limit = BoundWeight(variance)(GaussianCorruption(COSINE), t)
    errors = []
    for steps in (128, 256, 512, 1024):
        found = BoundWeight(variance)(GaussianCorruption(discretised(COSINE, steps, "cosine")), t)
        errors.append((found / limit - 1).abs().max().item())
    assert errors[-1] < 0.02
    assert all(abs(slope - 1) < 0.1 for slope in slopes(errors))


def test_the_weight_of_the_bound_leaves_no_trace_in_the_graph():
    t = torch.full((3,), 0.5, dtype=torch.float64)
    with torch.no_grad():
        quiet = BoundWeight()(GaussianCorruption(COSINE), t)
    assert not BoundWeight()(GaussianCorruption(COSINE), t).requires_grad
    assert not t.requires_grad
    assert torch.equal(quiet, BoundWeight()(GaussianCorruption(COSINE), t))


@pytest.mark.parametrize("gamma", [0.5, 5.0])
@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_min_snr_is_hang_et_als_weight_in_each_kind(name, gamma):
    """Table 1 of arXiv:2303.09556: min(SNR, γ) on x0, min(SNR, γ) / SNR on eps, min(SNR, γ) / (SNR + 1) on v."""
    corruption = corruption_of(name)
    t = torch.linspace(0.1, 1, 10, dtype=torch.float64)
    level = corruption.level(t)
    x0, eps, guess = (noise(10, 3, seed=seed) for seed in (1, 2, 3))
    snr = (level.alpha / level.sigma) ** 2
    capped = torch.where(snr > gamma, gamma, snr)
    truths = {"x0": x0, "eps": eps, "v": level.alpha[:, None] * eps - level.sigma[:, None] * x0}
    for kind, weight in {"x0": capped, "eps": capped / snr, "v": capped / (snr + 1)}.items():
        objective = DenoisingObjective(corruption=corruption, predicts=kind, measured="x0", weight=MinSnr(gamma))
        expected = weight * (guess - truths[kind]).square().mean(1)
        assert torch.allclose(objective.error(guess, x0, eps, t), expected, rtol=1e-9), kind
    assert (capped < snr).any()
    assert (capped == snr).any()


def test_weights_are_weights_and_refuse_what_they_do_not_know():
    assert isinstance(MinSnr(), Weight)
    assert isinstance(BoundWeight(), Weight)
    for gamma in (0.0, -1.0):
        with pytest.raises(EbbtideError, match=f"gamma={gamma}"):
            MinSnr(gamma)
