"""The decoder p(xs | xt): an estimate becomes the law of an earlier, cleaner latent (items D1-D7, G1).

The mean is the posterior's at what is believed of x0. The variance is one of

    posterior  btilde = sigma_s² (1 - exp(λ_t - λ_s)): exact for data that is one point
    step       beta = sigma_t² (1 - exp(λ_t - λ_s)): exact for standard normal data, and at s = 0 not zero; times
               (alpha_s² + sigma_s²) / (alpha_t² + sigma_t²), which is 1 where variance is preserved
    learned    exp(v log beta + (1 - v) log btilde), v from the network (Nichol & Dhariwal 2021, arXiv:2102.09672)
    exact      btilde + (alpha_s (1 - exp(λ_t - λ_s)))² Cov[x0 | xt], of an oracle: the mixture of posteriors' own
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from ebbtide.denoisers.estimate import GaussianEstimate, VarianceEstimate
from ebbtide.errors import EbbtideError, require
from ebbtide.gaussian import Covariance, Diagonal, Full, Gaussian, Spherical
from ebbtide.levels import Level, along, bridge, forward_step, share_of_noise_replaced

Variance = Literal["posterior", "step", "learned"]
VARIANCES: tuple[Variance, ...] = get_args(Variance)


def decode(estimate: GaussianEstimate, s: Level, t: Level, variance: Variance) -> Gaussian:
    """p(xs | xt) for s < t."""
    law = bridge(estimate.x0, estimate.eps, s, t, eta=1.0)
    return law if variance == "posterior" else Gaussian(law.mean, _covariance(estimate, s, t, variance), law.event_dims)


def decode_exactly(estimate: GaussianEstimate, covariance: Float[Tensor, "batch d d"], s: Level, t: Level) -> Gaussian:
    """p(xs | xt) over flattened events with the mean and covariance that q(xs | xt) has, given Cov[x0 | xt]."""
    law = bridge(estimate.x0, estimate.eps, s, t, eta=1.0)
    assert isinstance(law.covariance, Spherical)
    share = along(s.alpha * share_of_noise_replaced(s, t), covariance)
    own = torch.diag_embed(law.covariance.variance.unsqueeze(1).expand(-1, covariance.shape[-1]))
    return Gaussian(law.mean.flatten(1), Full(own.to(covariance.dtype) + share.square() * covariance))


def _covariance(estimate: GaussianEstimate, s: Level, t: Level, variance: Variance) -> Covariance:
    step = _step(estimate, s, t)
    match variance:
        case "step":
            return step
        case "learned":
            require(isinstance(estimate, VarianceEstimate), "the variance 'learned' came for a network without one")
            assert isinstance(estimate, VarianceEstimate)
            # btilde / beta = sigma_s² / sigma_t² at the same power; at s = 0, where btilde is zero, beta alone is left
            ratio = 2 * (s.sigma.log() - t.sigma.log()) - (s.power / t.power).log()
            ratio = torch.where(s.sigma > 0, ratio, 0.0)
            log_ratio = along(ratio, estimate.share) * (1 - estimate.share)
            return Diagonal(along(step.variance, log_ratio) * log_ratio.exp())
        case _:
            raise EbbtideError(f"variance={variance!r} came, expected one of {', '.join(VARIANCES)}")


def _step(estimate: GaussianEstimate, s: Level, t: Level) -> Spherical:
    """beta, in the scale of xs."""
    step = forward_step(estimate.xt, s, t).covariance  # does not depend on where the step begins
    assert isinstance(step, Spherical)
    return Spherical(step.variance * (s.power / t.power).to(step.variance))
