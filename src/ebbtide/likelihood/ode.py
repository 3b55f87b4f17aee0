"""The exact likelihood of what a deterministic sampler makes, by the change of variables along its path.

Song et al. 2021 (arXiv:2011.13456, section 4.3 and appendix D.2): the probability-flow ODE carries p_t to p_s without
noise. With u = -log-SNR/2 = log(sigma/alpha) for time and variance-preserving levels, d alpha/du = -alpha sigma² and
d sigma/du = sigma alpha², so xt = alpha x0 + sigma eps moves as

    dx/du = alpha² sigma eps - sigma² alpha x0 = sigma eps(x, t(u)) - sigma² x
    d log p / du = -tr(d(dx/du) / dx)

and from u(first) to u(1) log p(x) = log N(x(1); 0, I) + ∫ tr du. In u the equation is the same whatever the schedule:
where variance is not preserved, x / sqrt(alpha² + sigma²) is what moves so, and has the variance-preserving levels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ebbtide.conditions import Condition
from ebbtide.denoisers import GaussianDenoiser
from ebbtide.denoisers.continuous import continuous
from ebbtide.errors import EbbtideError, require
from ebbtide.gaussian import standard_normal
from ebbtide.randomness import Randomness, uniform
from ebbtide.times import time_of
from ebbtide.waist import check_some

State = tuple[Tensor, Tensor]
"""x (batch, *event) and the integral of the trace so far (batch,), both float64."""


@dataclass(frozen=True)
class OdeLikelihood:
    """log p of each example in nats, and how often the denoiser was called."""

    nats: Float64[Tensor, " batch"]
    evaluations: int


def log_prob_by_ode(
    denoiser: GaussianDenoiser,
    x: Float[Tensor, "batch *event"],
    *,
    first: float,
    trace: Literal["exact", "hutchinson"] = "exact",
    generator: Randomness | None = None,
    probes: int = 1,
    tolerance: float = 1e-5,
    condition: Condition | None = None,
) -> OdeLikelihood:
    """log p_first(x) in nats, for x at time `first` in (0, 1) and the density that the denoiser's ODE makes of N(0, I).

    trace exact: one backward pass for each of the d numbers of x. hutchinson: vᵀ J v, averaged over `probes` vectors v
    of ±1, drawn once and kept along the path; unbiased (Hutchinson 1990, doi:10.1080/03610919008812866; Grathwohl et
    al. 2019, arXiv:1810.01367).

    A table's levels are interpolated (`denoisers.continuous`). The solver is Dormand & Prince's of order 5; tolerance
    is its relative and absolute error of each step, in x (root mean square) and in log p alike, of the worst example in
    the batch. The denoiser (its network in eval mode) is asked in the type of x, all sums are float64: for float32 the
    tolerance should be 1e-6 or more. N(0, I) is only nearly p_1: schedules end at log-SNR -15 unless told otherwise.

    Raises EbbtideError for wrong numbers, a denoiser that cannot be asked at every t, numbers that are not finite, and
    where torchdiffeq is not installed.
    """
    odeint = solver()
    check_some(x)
    require(0 < first < 1, f"first={first} came, expected a time between 0 and 1 (exclusive)")
    require(0 < tolerance < 1, f"tolerance={tolerance} came, expected a number between 0 and 1, such as 1e-5")
    denoiser = continuous(denoiser)
    with torch.inference_mode(False), torch.no_grad():
        drift = _Drift(denoiser, x.dtype, _directions(x, trace, generator, probes), condition)
        times = torch.tensor([first, 1.0], dtype=torch.float64)
        # at log-SNR -80 float64 has lost the data, and u must be finite
        u = -0.5 * denoiser.corruption.level(times).log_snr.clamp(min=-80).to(x.device)
        scale = denoiser.corruption.scale(first)
        start = x.double() / scale, torch.zeros(x.shape[0], dtype=torch.float64, device=x.device)
        # a step must end at the last u: beyond it there is no time
        options = {"norm": _worst, "step_t": u[1:]}
        try:
            path = odeint(drift, start, u, rtol=tolerance, atol=tolerance, method="dopri5", options=options)
        except AssertionError as error:
            raise EbbtideError(
                "the solver's steps came to nothing: x and what the denoiser answers must be finite and smooth, and "
                f"tolerance={tolerance:g} no less than their precision allows"
            ) from error
        end, integral = path[0][-1], path[1][-1]
        nats = (
            standard_normal(end, event_dims=end.ndim - 1).log_prob(end)
            + integral
            - math.prod(x.shape[1:]) * math.log(scale)
        )
    return OdeLikelihood(nats, drift.evaluations)


class _Drift:
    """u, (x, integral) -> their slopes; counts its calls."""

    def __init__(
        self, denoiser: GaussianDenoiser, dtype: torch.dtype, directions: Tensor, condition: Condition | None
    ) -> None:
        self.denoiser, self.dtype, self.directions, self.condition = denoiser, dtype, directions, condition
        self.evaluations = 0

    def __call__(self, u: Tensor, state: State) -> State:
        self.evaluations += 1
        x, batch = state[0], state[0].shape[0]
        corruption = self.denoiser.corruption
        t = time_of(corruption.schedule, -2 * u)
        scale = corruption.scale(float(t))
        sigma = float(corruption.level(t).sigma) / scale
        with torch.enable_grad():
            z = x.to(self.dtype).detach().clone().requires_grad_()
            # repeated, not expanded: levels that were remembered in inference mode would refuse to be differentiated
            eps = self.denoiser(scale * z, t.repeat(batch), self.condition).eps
            slope = sigma * eps - sigma**2 * z
        trace = torch.zeros(batch, dtype=torch.float64, device=x.device)
        for k, v in enumerate(self.directions):
            more = k + 1 < len(self.directions)
            (row,) = torch.autograd.grad(slope, z, v.expand_as(slope), retain_graph=more)
            trace += (row * v).double().flatten(1).sum(1)
        return slope.detach().double(), trace


def _directions(x: Tensor, trace: str, generator: Randomness | None, probes: int) -> Float[Tensor, "n b *event"]:
    """Vectors v with sum v vᵀ = I, at least on average: the trace of J is sum vᵀ J v."""
    event = x.shape[1:]
    if trace == "exact":
        return torch.eye(event.numel(), dtype=x.dtype, device=x.device).reshape(-1, 1, *event)
    require(trace == "hutchinson", f"trace={trace!r} came, expected 'exact' or 'hutchinson'")
    require(probes >= 1, f"probes={probes} came, expected at least 1")
    if generator is None:
        raise EbbtideError("trace='hutchinson' came without a generator: its probes are random, give generator=...")
    drawn = uniform((x.shape[0], probes, *event), generator, device=x.device).movedim(1, 0)
    return torch.where(drawn < 0.5, -1.0, 1.0).to(x.dtype) / probes**0.5


def _worst(state: State) -> Tensor:
    """The largest error of any example: root mean square over x, or that of the integral."""
    x, integral = state
    return torch.maximum(x.flatten(1).square().mean(1).sqrt().max(), integral.abs().max())


def solver() -> Any:
    """torchdiffeq's odeint; an EbbtideError says how to install it."""
    try:
        from torchdiffeq import odeint
    except ImportError as error:
        raise EbbtideError('the likelihood by ODE needs torchdiffeq: pip install "ebbtide[ode]"') from error
    return odeint
