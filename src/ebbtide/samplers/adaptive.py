"""The probability-flow ODE to a given error, in as many evaluations as that takes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ebbtide.conditions import Condition
from ebbtide.denoisers.continuous import continuous
from ebbtide.denoisers.estimate import GaussianDenoiser
from ebbtide.errors import EbbtideError, require
from ebbtide.randomness import Randomness
from ebbtide.samplers.known import History, Known, ask, place_of, remembered, time_at
from ebbtide.samplers.loop import Moved

LEAST = -40.0
"""Where a step from pure noise, whose l = log(alpha / sigma) is -inf, begins: float64 has lost the data by then."""


@dataclass(frozen=True)
class Adaptive:
    """Dormand & Prince's method of order 5 (1980, doi:10.1016/0771-050X(80)90013-3), torchdiffeq's, within each step.

    It chooses its own steps within the one it is asked for: so a grid says only where to stop and look, and
    [1, 0] is enough. With l = log(alpha / sigma) for time and z = x / sqrt(alpha² + sigma²), for levels that
    preserve the variance x itself,

        dz/dl = c (x0 - c z),   c = alpha / sqrt(alpha² + sigma²)

    which is bounded at both ends. A step's error is held below atol + rtol |z|, root mean square over an example, for
    the worst example of the batch: examples therefore depend on the batch, by less than that. To t = 0 the way goes to
    n = sigma / alpha = atol, and the estimate of x0 there is the end. For a denoiser in float32, tolerances below 1e-6
    ask for what is not there. `Counted` counts the evaluations.

    A table's levels are interpolated (`denoisers.continuous`). Raises EbbtideError for wrong numbers, for a batch whose
    examples have different times, for a denoiser that cannot be asked at every t, for numbers that are not finite, and
    where torchdiffeq is not installed.
    """

    rtol: float = 1e-4
    atol: float = 1e-4

    def __post_init__(self) -> None:
        fine = 0 <= self.rtol < 1 and 0 < self.atol < 1
        require(fine, f"rtol={self.rtol}, atol={self.atol} came, expected numbers between 0 and 1, such as 1e-4")

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
        odeint = solver()
        denoiser = continuous(denoiser)
        now, end = ask(denoiser, xt, t, condition), place_of(denoiser.corruption.level(s))
        to_data = end.sigma == 0
        start, last = max(now.place.log_ratio, LEAST), -math.log(self.atol) if to_data else end.log_ratio
        x = xt
        if last > start:
            drift = _Drift(denoiser, now, start, condition)
            clock = torch.tensor([start, last], dtype=torch.float64, device=xt.device)
            # a step must end at the last l, for at the end of a schedule there is no time beyond it
            options = {"norm": _worst, "step_t": clock[1:]}
            try:
                path = odeint(drift, drift.z, clock, rtol=self.rtol, atol=self.atol, method="dopri5", options=options)
            except AssertionError as error:
                raise EbbtideError(
                    "the solver's steps came to nothing: x and what the denoiser answers must be finite and smooth, "
                    f"and rtol={self.rtol:g}, atol={self.atol:g} no less than their precision allows"
                ) from error
            x, t = drift.state(torch.as_tensor(last), path[-1])
        if to_data:
            x = denoiser(x, t, condition).x0
        return Moved(x, now.estimate.x0, remembered(now, history))


class _Drift:
    """(clock l, z) -> dz/dl = c (x0 - c z), float64; the first slope is taken from the estimate that is known."""

    def __init__(self, denoiser: GaussianDenoiser, first: Known, start: float, condition: Condition | None) -> None:
        self.denoiser, self.first, self.start, self.condition = denoiser, first, start, condition
        self.z = first.x.double() / math.hypot(*first.place)

    def __call__(self, clock: Tensor, z: Tensor) -> Tensor:
        x, t = self.state(clock, z)
        here = place_of(self.denoiser.corruption.level(t))
        known = float(clock) == self.start
        estimate = self.first.estimate if known else self.denoiser(x, t, self.condition)
        c = here.alpha / math.hypot(*here)
        return c * (estimate.x0.double() - c * z)

    def state(self, clock: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """x in its own type, and its time."""
        t = time_at(self.denoiser, float(clock), len(z))
        return (z * math.hypot(*place_of(self.denoiser.corruption.level(t)))).to(self.first.x.dtype), t


def _worst(error: Tensor) -> Tensor:
    """The largest error of any example, root mean square over it."""
    return error.flatten(1).square().mean(1).sqrt().max()


def solver() -> Any:
    """torchdiffeq's odeint; an EbbtideError says how to install it."""
    try:
        from torchdiffeq import odeint
    except ImportError as error:
        raise EbbtideError('adaptive steps need torchdiffeq: pip install "ebbtide[ode]"') from error
    return odeint
