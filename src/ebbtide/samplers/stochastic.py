"""Solvers of the reverse SDE with any amount of noise: the ODE at eta = 0, Anderson's reverse at 1, and beyond (G6).

With l = log(alpha/sigma), which rises along the way, the equation of sde.py is, in x / sigma,

    d(x/sigma) = [-eta² x/sigma + (1 + eta²) alpha/sigma x0(x, l)] dl + sqrt(2) eta dw

Its linear part is solved exactly, so that any step is stable, however long and however little noise is left; all that a
step approximates is x0 along it. With h = l_s - l_t and H = ∫ eta² dl over the step, and some D for x0:

    xs = sigma_s/sigma_t exp(-H) xt + alpha_s (1 - exp(-h - H)) D + sigma_s sqrt(1 - exp(-2H)) z

At s = 0, where h is infinite, xs = D: nothing is left over. With D = E[x0 | xt], eta = 0 is DDIM and eta = 1 is
ancestral sampling, as the SDE of a constant x0 leads to the posterior.

In the clock snr^(eta²) the noise is Brownian motion itself: exp(H) x/sigma = ... + W(snr^(eta²)), for eta = 1 the
process of stochastic localization (Montanari 2023, arXiv:2305.10690). So a BrownianPath can drive it, with the same
path for any steps; and noise that only adds is why simple steps have strong order 1, and those of two estimates weak
order 2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ebbtide.brownian import BrownianPath, noise_between
from ebbtide.conditions import Condition
from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers.estimate import GaussianDenoiser
from ebbtide.errors import EbbtideError, require
from ebbtide.levels import Level, along
from ebbtide.randomness import Randomness
from ebbtide.samplers.loop import Moved
from ebbtide.samplers.multistep import Before

Eta = float | Callable[[Tensor], Tensor]
"""The amount of noise: a number, or a function of t (float64 in and out); 0 and more."""


@dataclass(frozen=True)
class Stretch:
    """A step's numbers: xs = keep xt + gain D + spread z.

    length: h. decay: h + H. clock: the step's ends in snr^(eta²), if it has one.
    """

    keep: Float64[Tensor, "*batch"]
    gain: Float64[Tensor, "*batch"]
    spread: Float64[Tensor, "*batch"]
    length: Float64[Tensor, "*batch"]
    decay: Float64[Tensor, "*batch"]
    clock: tuple[float, float] | None

    @classmethod
    def of(cls, eta: Eta, corruption: GaussianCorruption, t: Tensor, s: Tensor) -> Stretch:
        """From t down to s. For a function eta, H = h (eta_t² + eta_s²) / 2, which is exact to second order in h."""
        now, after = corruption.level(t).thin, corruption.level(s).thin
        h = 0.5 * (after.log_snr - now.log_snr)
        share = 0.5 * (_square(eta, t, now) + _square(eta, s, after))
        # where the step is infinitely long, no noise is still none
        relaxed = torch.where(share > 0, share * h, 0.0)
        if not bool((relaxed >= 0).all()):
            raise EbbtideError(
                f"a step from t={float(t[0]):g} to s={float(s[0]):g} came, expected s < t: noise is added going down"
            )
        return cls(
            keep=after.sigma / now.sigma * torch.exp(-relaxed),
            gain=-after.alpha * torch.expm1(-h - relaxed),
            spread=after.sigma * torch.sqrt(-torch.expm1(-2 * relaxed)),
            length=h,
            decay=h + relaxed,
            clock=None if callable(eta) else (_clock(now, eta), _clock(after, eta)),
        )

    def to(self, xt: Tensor, ahead: Tensor, z: Tensor | None) -> Tensor:
        """keep xt + gain D + spread z."""
        xs = torch.addcmul(along(self.keep, xt) * xt, along(self.gain, xt), ahead)
        return xs if z is None else torch.addcmul(xs, along(self.spread, xt), z)

    def noise(self, xt: Tensor, generator: Randomness) -> Tensor | None:
        """z, from a path's own stretch of the clock if a path came; None, and nothing drawn, where it counts for 0."""
        if not bool((self.spread > 0).any()):
            return None
        require(
            self.clock is not None or not isinstance(generator, BrownianPath),
            "a Brownian path came with an eta that is a function of t, expected a number: it gives the path its clock",
        )
        return noise_between(xt, generator, *(self.clock or (0.0, 1.0)))


def check_eta(eta: Eta) -> None:
    """Raise EbbtideError for a number below 0 or not finite."""
    require(
        callable(eta) or 0 <= eta < math.inf,
        f"eta={eta} came, expected a number from 0 (the ODE) on, 1 being the reverse SDE, or a function of t",
    )


@dataclass(frozen=True)
class EulerMaruyama:
    """The reverse SDE with x0 held still over each step: D = E[x0 | xt]. Weak and strong order 1.

    Exponential Euler in x, and Euler-Maruyama itself in the coordinate and clock where the noise is Brownian motion.
    """

    eta: Eta = 1.0

    def __post_init__(self) -> None:
        check_eta(self.eta)

    def __call__(
        self,
        denoiser: GaussianDenoiser,
        xt: Float[Tensor, "batch *event"],
        t: Float[Tensor, " batch"],
        s: Float[Tensor, " batch"],
        condition: Condition | None,
        generator: Randomness,
        history: None,
    ) -> Moved:
        x0 = denoiser(xt, t, condition).x0
        step = Stretch.of(self.eta, denoiser.corruption, t, s)
        return Moved(step.to(xt, x0, step.noise(xt, generator)), x0)


@dataclass(frozen=True)
class SdeDpmSolver2M:
    """SDE-DPM-Solver++(2M) (Lu et al. 2022, arXiv:2211.01095), for any eta (k-diffusion's eta is the square of this).

        D = x0 + (x0 - x0_before) h / (2 h_before)

    One evaluation a step; weak order 2 and strong order 1. The first step, and the one to t = 0 where h is infinite,
    take D = x0. eta = 0 is DpmSolver2M.
    """

    eta: Eta = 1.0

    def __post_init__(self) -> None:
        check_eta(self.eta)

    def __call__(
        self,
        denoiser: GaussianDenoiser,
        xt: Float[Tensor, "batch *event"],
        t: Float[Tensor, " batch"],
        s: Float[Tensor, " batch"],
        condition: Condition | None,
        generator: Randomness,
        history: Before | None,
    ) -> Moved:
        x0 = denoiser(xt, t, condition).x0
        step = Stretch.of(self.eta, denoiser.corruption, t, s)
        ahead = x0
        if history is not None and not bool(torch.isinf(step.length).any()):
            ahead = torch.addcmul(x0, along(step.length / (2 * history.length), x0), x0 - history.x0)
        return Moved(step.to(xt, ahead, step.noise(xt, generator)), x0, Before(x0, step.length))


@dataclass(frozen=True)
class StochasticHeun:
    """Heun's step for additive noise: a step of EulerMaruyama, and then the same again, noise included, with

        D = (1 - w) E[x0 | xt] + w E[x0 | xs],      w = 1 / (1 - exp(-c)) - 1/c,  c = h + H

    xs being where the first one led. With these weights x0 may be any straight line in l; w is 1/2 for short steps. Two
    evaluations a step, one for the step to t = 0; weak order 2 and strong order 1.
    """

    eta: Eta = 1.0

    def __post_init__(self) -> None:
        check_eta(self.eta)

    def __call__(
        self,
        denoiser: GaussianDenoiser,
        xt: Float[Tensor, "batch *event"],
        t: Float[Tensor, " batch"],
        s: Float[Tensor, " batch"],
        condition: Condition | None,
        generator: Randomness,
        history: None,
    ) -> Moved:
        x0 = denoiser(xt, t, condition).x0
        step = Stretch.of(self.eta, denoiser.corruption, t, s)
        z = step.noise(xt, generator)
        first = step.to(xt, x0, z)
        if bool((s == 0).all()):
            return Moved(first, x0)
        share = -1 / torch.expm1(-step.decay) - 1 / step.decay
        ahead = torch.lerp(x0, denoiser(first, s, condition).x0, along(share, x0))
        return Moved(step.to(xt, ahead, z), ahead)


def _square(eta: Eta, t: Tensor, like: Level) -> Tensor:
    """eta² at t, in the shape of the level's numbers."""
    value = eta(t.double().cpu()[: like.alpha.numel()]) if callable(eta) else torch.full_like(like.alpha, eta)
    require(bool((value >= 0).all()), f"eta={float(value.min()):g} came at t={float(t.min()):g}, expected 0 or more")
    return value.square()


def _clock(level: Level, eta: float) -> float:
    """snr^(eta²): time for the Brownian motion that drives the equation."""
    return float((eta**2 * level.log_snr[0]).exp()) if eta > 0 else 0.0
