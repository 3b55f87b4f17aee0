"""The bound on -log p(x0), every term on its own (items E9 and E10; I6's half that belongs to diffusion).

    -log p(x0) <= L_T + sum_{l=2..T} L_{l-1} + L_0
    L_T       KL(q(z_T | x0) ‖ prior), which is N(0, I) where variance is preserved
    L_{l-1}   KL(q(z_{l-1} | z_l, x0) ‖ p(z_{l-1} | z_l)), averaged over z_l
    L_0       -log p(x0 | z_1), averaged over z_1

Ho et al. 2020, arXiv:2006.11239, eq. 5. With many steps the middle sum becomes an integral over log-SNR that does not
depend on the schedule (Kingma et al. 2021, arXiv:2107.00630):

    L_inf = ½ ∫ E‖eps - eps_hat(z_λ)‖² dλ        from the last level to the first

A term is taken at one draw of the noise. Nats, one number an example, float64.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ebbtide.conditions import Condition
from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers.decoder import Variance, decode, decode_exactly
from ebbtide.denoisers.estimate import GaussianDenoiser, GaussianEstimate
from ebbtide.errors import EbbtideError
from ebbtide.gaussian import Gaussian, kl
from ebbtide.levels import forward_step, posterior
from ebbtide.likelihood.reconstruction import Reconstruction
from ebbtide.randomness import Randomness

DecoderVariance = Variance | Literal["exact"]


class Term(NamedTuple):
    """A term of the bound in nats, and ‖x0 - x0_hat‖² on the way to it; one number an example."""

    nats: Float64[Tensor, " batch"]
    error: Float64[Tensor, " batch"]


def prior_term(corruption: GaussianCorruption, x0: Float[Tensor, "batch *event"]) -> Float64[Tensor, " batch"]:
    """L_T: what the noise at t = 1 still says."""
    last = corruption.marginal(x0.double(), torch.ones(x0.shape[0], dtype=torch.float64))
    return kl(last, corruption.prior_law(last.mean))


def step_term(
    denoiser: GaussianDenoiser,
    x0: Float[Tensor, "batch *event"],
    eps: Float[Tensor, "batch *event"],
    s: Float64[Tensor, " batch"],
    t: Float64[Tensor, " batch"],
    variance: DecoderVariance = "posterior",
    condition: Condition | None = None,
) -> Term:
    """KL(q(xs | xt, x0) ‖ p(xs | xt)) at xt = alpha x0 + sigma eps, 0 < s < t.

    variance: of the decoder; "exact" asks the denoiser, an oracle, for its covariance.
    """
    level = denoiser.corruption.level
    estimate = _estimate(denoiser, x0, eps, t, condition)
    target = posterior(estimate.xt.double(), x0.double(), level(s), level(t))
    law = decoder_law(denoiser, estimate, s, t, variance)
    if law.event_dims != target.event_dims:
        target = Gaussian(target.mean.flatten(1), target.covariance)
    return Term(kl(target, law).double(), _squared_error(estimate, x0))


def limit_term(
    denoiser: GaussianDenoiser,
    x0: Float[Tensor, "batch *event"],
    eps: Float[Tensor, "batch *event"],
    t: Float64[Tensor, " batch"],
    condition: Condition | None = None,
) -> Term:
    """½ ‖eps - eps_hat‖²: the cost of a unit of log-SNR at t, in the limit of many steps."""
    estimate = _estimate(denoiser, x0, eps, t, condition)
    error = (estimate.eps.double() - eps.double()).square().flatten(1).sum(1)
    return Term(0.5 * error, _squared_error(estimate, x0))


def first_term(
    denoiser: GaussianDenoiser,
    x0: Float[Tensor, "batch *event"],
    eps: Float[Tensor, "batch *event"],
    t: Float64[Tensor, " batch"],
    reconstruction: Reconstruction,
    condition: Condition | None = None,
) -> Term:
    """-log p(x0 | z1), z1 being at t."""
    estimate = _estimate(denoiser, x0, eps, t, condition)
    return Term(reconstruction(estimate, x0).double(), _squared_error(estimate, x0))


def sampled_terms(
    denoiser: GaussianDenoiser,
    x0: Float[Tensor, "batch *event"],
    times: Float64[Tensor, " levels"],
    generator: Randomness,
    variance: DecoderVariance = "posterior",
    condition: Condition | None = None,
) -> Float64[Tensor, "batch rungs"]:
    """The same bound without any KL in closed form (E10): a chain z_1..z_T is drawn, and each step is

        log q(z_l | z_{l-1}) - log p(z_{l-1} | z_l)            nats, for l = 2..T

    Summed, with -log p(z_T) and -log p(x0 | z_1) - (-log q(z_1 | x0)), its mean is the bound's; its variance is larger,
    as the noise of both ends is in it. times: rising, those of z_1..z_T.
    """
    level = denoiser.corruption.level
    batch = x0.shape[0]
    s = times[:1].expand(batch)
    z = denoiser.corruption.marginal(x0.double(), s).sample(generator)
    columns = []
    for time in times[1:]:
        t = time.expand(batch)
        forward = forward_step(z, level(s), level(t))
        after = forward.sample(generator)
        estimate = denoiser(after.to(x0.dtype), t, condition)
        law = decoder_law(denoiser, estimate, s, t, variance)
        before = z if law.event_dims == forward.event_dims else z.flatten(1)
        columns.append(forward.log_prob(after) - law.log_prob(before))
        z, s = after, t
    return torch.stack(columns, dim=1)


def decoder_law(
    denoiser: GaussianDenoiser,
    estimate: GaussianEstimate,
    s: Float64[Tensor, " batch"],
    t: Float64[Tensor, " batch"],
    variance: DecoderVariance,
) -> Gaussian:
    """p(xs | xt), in float64 whatever the network's precision."""
    level = denoiser.corruption.level
    if variance == "exact":
        covariance = getattr(denoiser, "covariance", None)
        if covariance is None:
            raise EbbtideError("variance='exact' came for a denoiser that knows no covariance: only oracles do")
        return decode_exactly(estimate, covariance(estimate.xt, t), level(s), level(t))
    return decode(in_float64(estimate), level(s), level(t), variance)


def in_float64(estimate: GaussianEstimate) -> GaussianEstimate:
    """The estimate with float64 tensors: a bound sums many small numbers."""
    values = {f.name: getattr(estimate, f.name) for f in fields(estimate)}
    doubled: dict[str, Any] = {name: value.double() for name, value in values.items() if isinstance(value, Tensor)}
    return replace(estimate, **doubled)


def _estimate(
    denoiser: GaussianDenoiser, x0: Tensor, eps: Tensor, t: Tensor, condition: Condition | None
) -> GaussianEstimate:
    return denoiser(denoiser.corruption.level(t).mix(x0, eps), t, condition)


def _squared_error(estimate: GaussianEstimate, x0: Tensor) -> Tensor:
    return (estimate.x0.double() - x0.double()).square().flatten(1).sum(1)
