"""Exponential integrators of the probability-flow ODE: its linear part exactly, x0 on the way as a polynomial.

With l = log(alpha / sigma) for time, the ODE is linear but for the estimate x0(l), so that exactly

    xs = sigma_s / sigma_t xt + sigma_s ∫_{l_t}^{l_s} e^l x0(l) dl

(Lu et al. 2022, arXiv:2211.01095, proposition 4.1; Zhang & Chen 2023, arXiv:2204.13902). In units of the step, with
h = l_s - l_t and v = (l - l_t) / h, and sigma_s e^l_s = alpha_s,

    xs = sigma_s / sigma_t xt + alpha_s ∫_0^1 h e^(h (v - 1)) x0(v) dv

and the polynomial through known estimates of x0 in its place gives every solver here:

    one estimate     DDIM, order 1
    the last k       exponential Adams-Bashforth of order k, one evaluation a step: `Multistep(k)`
    some within      single-step solvers of order 2 and 3: `SingleStep(order)`

To t = 0, where l is infinite, all of them arrive at x0 as it is last estimated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from ebbtide.conditions import Condition
from ebbtide.denoisers.continuous import continuous
from ebbtide.denoisers.estimate import GaussianDenoiser
from ebbtide.errors import require
from ebbtide.randomness import Randomness
from ebbtide.samplers.known import MOST, History, Known, Place, ask, place_of, remembered, time_at
from ebbtide.samplers.lagrange import bounded, exponential_moments, weights
from ebbtide.samplers.loop import Moved


def integrated(h: float, points: Sequence[float]) -> list[float]:
    """Weights of estimates of x0 at these points in ∫_0^1 h e^(h (v - 1)) x0(v) dv, exactly for their polynomial."""
    return weights(points, exponential_moments(h, len(points)))


def travel(
    x: Float[Tensor, "batch *event"],
    start: Place,
    end: Place,
    known: Sequence[Known],
    rule: Callable[[float, Sequence[float]], list[float]] = integrated,
) -> Float[Tensor, "batch *event"]:
    """From x at start to end by the estimates of x0, the most trusted first: sigma_s / sigma_t xt + alpha_s sum w x0.

    Where the step is infinitely long in l, from pure noise or to the data, only the first estimate counts, fully.
    """
    h = end.log_ratio - start.log_ratio
    if math.isinf(h):
        found = [1.0]
    else:
        found = bounded([(one.place.log_ratio - start.log_ratio) / h for one in known], partial(rule, h))
    xs = (end.sigma / start.sigma) * x
    for weight, one in zip(found, known, strict=False):
        xs = torch.add(xs, one.estimate.x0, alpha=end.alpha * weight)
    return xs


@dataclass(frozen=True)
class Multistep:
    """Exponential Adams-Bashforth: the last `order` estimates of x0, one evaluation a step, deterministic.

    Order 1 is DDIM; 2 and 3 are DPM-Solver++ 2M and 3M (Lu et al. 2022, arXiv:2211.01095) with their integrals exact,
    diffusers' solver_type "heun"; 4 to 6 are the same formula. The first steps know fewer estimates, and the error of
    the first of all, h² times the slope of x0 there, stays: from pure noise that is little, but as steps get many the
    order is 2 whatever was asked for. `Started(RungeKutta(), Multistep(4), 3)` keeps the full order.

    Long steps after short ones use fewer estimates (`lagrange.bounded`). Raises EbbtideError for an order beyond 1 to
    6 and for a batch whose examples have different times.
    """

    order: int = 3

    def __post_init__(self) -> None:
        require(1 <= self.order <= MOST, f"order={self.order} came, expected a whole number from 1 to {MOST}")

    def __call__(
        self,
        denoiser: GaussianDenoiser,
        xt: Float[Tensor, "batch *event"],
        t: Float[Tensor, " batch"],
        s: Float[Tensor, " batch"],
        condition: Condition | None,
        generator: Randomness,
        history: History | None,
    ) -> Moved:
        known = remembered(ask(denoiser, xt, t, condition), history)
        now, end = known[0], place_of(denoiser.corruption.level(s))
        return Moved(travel(xt, now.place, end, known[: self.order]), now.estimate.x0, known)


@dataclass(frozen=True)
class SingleStep:
    """DPM-Solver++ 2S and 3S: further estimates within the step, no memory, `order` evaluations a step, deterministic.

    The points within lie at even shares of l, each reached by the solver of the order below from those before it; the
    last goes through all (Lu et al. 2022, arXiv:2211.01095, section 4 and algorithm 1; integrals exact, diffusers'
    solver_type "heun"). A table is asked between its times by interpolation (`denoisers.continuous`). A step to t = 0
    or from pure noise, infinitely long in l, is DDIM's.

    Raises EbbtideError for another order, for a batch whose examples have different times, and for a denoiser that
    cannot be asked at every t.
    """

    order: int = 2

    def __post_init__(self) -> None:
        require(self.order in (2, 3), f"order={self.order} came, expected 2 or 3")

    def __call__(
        self,
        denoiser: GaussianDenoiser,
        xt: Float[Tensor, "batch *event"],
        t: Float[Tensor, " batch"],
        s: Float[Tensor, " batch"],
        condition: Condition | None,
        generator: Randomness,
        history: History | None,
    ) -> Moved:
        now, end = ask(denoiser, xt, t, condition), place_of(denoiser.corruption.level(s))
        known, h = [now], end.log_ratio - now.place.log_ratio
        if math.isfinite(h):
            smooth = continuous(denoiser)
            for part in range(1, self.order):
                inner = time_at(smooth, now.place.log_ratio + h * part / self.order, len(xt))
                x = travel(xt, now.place, place_of(smooth.corruption.level(inner)), known)
                known.append(ask(smooth, x, inner, condition))
        return Moved(travel(xt, now.place, end, known), now.estimate.x0, remembered(now, history))
