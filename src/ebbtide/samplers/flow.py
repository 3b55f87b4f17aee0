"""The probability-flow ODE as a straight equation: y = x / alpha over n = sigma / alpha has the slope eps.

    dy/dn = eps(y, n)        (Karras et al. 2022, arXiv:2206.00364, eq. 1 with sigma(t) = t; their sigma is our n)

As y = x0 + n eps, a step from n_t to n_s with slopes eps_i that count w_i, summing to 1, is

    xs = alpha_s x0_1 + sigma_s eps_1 + alpha_s (n_s - n_t) sum_i w_i (eps_i - eps_1)

DDIM's step and how slopes further on, or before, differ from the first: so nothing large is subtracted from anything
large where n is in the thousands.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ebbtide.conditions import Condition
from ebbtide.denoisers.continuous import continuous
from ebbtide.denoisers.estimate import GaussianDenoiser
from ebbtide.errors import require
from ebbtide.randomness import Randomness
from ebbtide.samplers.known import History, Known, Place, ask, place_of, remembered, time_at
from ebbtide.samplers.lagrange import bounded, even_weights
from ebbtide.samplers.loop import Moved
from ebbtide.samplers.tableaus import EULER, OPEN, RK4, Tableau

MOST_AT_END = 0.5
"""What the slope at the end of a step may count for in xs, where eps and x are of size 1. Heun's steps from n to 2n at
most; of 1/4, 1/2, 1, 2 and 4 it gave the least errors for 2 to 10 steps on uniform and Karras' grids."""


def flowed(
    first: Known, place: Place, step: float, differences: Iterable[tuple[float, Tensor]]
) -> Float[Tensor, "batch *event"]:
    """x at the place: alpha x0_1 + sigma eps_1 + alpha step sum w (eps_i - eps_1), for pairs (w, eps_i - eps_1)."""
    x = torch.add(place.alpha * first.estimate.x0, first.estimate.eps, alpha=place.sigma)
    for weight, difference in differences:
        if weight != 0:
            x = torch.add(x, difference, alpha=place.alpha * step * weight)
    return x


def stepped(
    tableau: Tableau,
    denoiser: GaussianDenoiser,
    first: Known,
    s: Float[Tensor, " batch"],
    condition: Condition | None,
) -> Float[Tensor, "batch *event"]:
    """xs by the tableau, from the first slope, which is known. At s itself a table is asked as it is."""
    end, differences = place_of(denoiser.corruption.level(s)), list[Tensor]()
    # Euler's step may start at n = inf, where it has no length, and needs none
    step = end.n - first.place.n if tableau.inner else 0.0
    asked = {share: _inside(denoiser, s, -math.log(first.place.n + share * step)) for share in {*tableau.shares} - {1}}
    asked[1.0] = denoiser, s
    for row, share in zip(tableau.inner, tableau.shares, strict=True):
        inside, time = asked[share]
        x = flowed(first, place_of(inside.corruption.level(time)), step, zip(row[1:], differences, strict=True))
        differences.append(inside(x, time, condition).eps - first.estimate.eps)
    return flowed(first, end, step, zip(tableau.last[1:], differences, strict=True))


def _inside(
    denoiser: GaussianDenoiser, s: Float[Tensor, " batch"], log_ratio: float
) -> tuple[GaussianDenoiser, Float[Tensor, " batch"]]:
    """The denoiser as it can be asked within a step, and the time there."""
    smooth = continuous(denoiser)
    return smooth, time_at(smooth, log_ratio, len(s))


def fitting(tableau: Tableau, start: Place, end: Place) -> Tableau:
    """The tableau, or one that asks before the end only where the end is n = 0 or its slope would count too much.

    That slope is (y - x0) / n_s with y and x0 as a stage before has them: over a long step, to n_s far below n_t, their
    error counts about n_t / n_s times. Slopes before the end are taken at some share of n_t, so theirs never does.
    From n = inf, pure noise, the step is Euler's.
    """
    if math.isinf(start.n):
        return EULER
    at_end = math.fsum(w for w, share in zip(tableau.last[1:], tableau.shares, strict=True) if share == 1)
    # over the size of xs for data of size 1, which is 1 where variance is preserved
    long = at_end * (start.n - end.n) / math.hypot(1.0, end.n) > MOST_AT_END
    return OPEN[tableau.order] if at_end > 0 and (end.sigma == 0 or long) else tableau


@dataclass(frozen=True)
class RungeKutta:
    """An explicit Runge-Kutta method on dy/dn = eps, deterministic; the tableau says which (see `tableaus`).

    Euler's is DDIM. At n = 0 nothing is asked, as eps there is all rounding error and no denoiser was trained for it.
    Karras et al. take Euler's step to it; here it is the tableau of the highest order that asks before the end only:
    midpoint for order 2, Heun's third for 3 and 4 (`tableaus.OPEN`). The same stand in where a step is so long that the
    slope at its end would count too much (`fitting`): the first of few.

    Tables are asked between their times by interpolation (`denoisers.continuous`), where the tableau asks there.
    Raises EbbtideError for a batch whose examples have different times, and for a denoiser on a table that cannot be
    asked between.
    """

    tableau: Tableau = RK4

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
        now = ask(denoiser, xt, t, condition)
        end = place_of(denoiser.corruption.level(s))
        tableau = fitting(self.tableau, now.place, end)
        xs = stepped(tableau, denoiser, now, s, condition)
        return Moved(xs, now.estimate.x0, remembered(now, history))


@dataclass(frozen=True)
class Adams:
    """Adams-Bashforth on dy/dn = eps for steps of any lengths: the last `order` slopes, one evaluation a step.

    Order 1 is DDIM, 4 the linear multistep sampler of k-diffusion; the polynomial through the slopes is integrated
    exactly. The first steps know fewer slopes: the order is 2 at most as steps get many, and the full one with
    `Started(RungeKutta(), Adams(4), 3)`. Long steps after short ones use fewer slopes (`lagrange.bounded`). The step to
    n = 0 is x0: slopes of before the data were told apart, carried on to the data, would leave noise on them.

    Raises EbbtideError for an order beyond 1 to 4, and for a batch whose examples have different times.
    """

    order: int = 4

    def __post_init__(self) -> None:
        require(1 <= self.order <= 4, f"order={self.order} came, expected a whole number from 1 to 4")

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
        # a step from n = inf has no length, and needs none: nothing was known before it
        step = end.n - now.place.n if len(known) > 1 else 0.0
        used = known[: self.order] if end.sigma > 0 else known[:1]
        points = [0.0, *((one.place.n - now.place.n) / step for one in used[1:])]
        found = bounded(points, even_weights)
        older = zip(found[1:], known[1:], strict=False)
        differences = ((weight, one.estimate.eps - now.estimate.eps) for weight, one in older)
        return Moved(flowed(now, end, step, differences), now.estimate.x0, known)
