"""Gaussian noise: items C1-C3 and B5 of docs/lectures.md. It knows its levels, its steps and its posterior."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ebbtide.corruptions.corruption import Corrupted
from ebbtide.errors import EbbtideError
from ebbtide.gaussian import Gaussian, Spherical, kl, standard_normal
from ebbtide.levels import STEP_KINDS, Kind, Level, Pair, along, forward_step, posterior, step_pair
from ebbtide.randomness import Randomness, normal
from ebbtide.schedules import Schedule
from ebbtide.waist import check_batch

MOST_REMEMBERED = 4096
"""Levels that are kept."""


@dataclass(frozen=True)
class GaussianCorruption:
    """xt = alpha_t x0 + sigma_t eps, with (alpha, sigma) from the schedule."""

    schedule: Schedule

    @property
    def steps(self) -> int | None:
        """T of a table, None in continuous time."""
        return self.schedule.steps

    def level(self, t: Float[Tensor, "*batch"]) -> Level:
        """alpha and sigma at t.

        One time expanded over a batch, as samplers ask for it again and again, is computed once and remembered.
        """
        if not isinstance(t, Tensor) or t.ndim != 1 or t.stride(0) != 0 or len(t) == 0:
            return self.schedule.level(t)
        asked = float(t[0]), len(t)
        if asked not in self._remembered:
            if len(self._remembered) >= MOST_REMEMBERED:
                self._remembered.clear()
            one = self.schedule.level(t[:1])
            self._remembered[asked] = Level(one.alpha.expand(len(t)), one.sigma.expand(len(t)))
        return self._remembered[asked]

    @cached_property
    def _remembered(self) -> dict[tuple[float, int], Level]:
        return {}

    def pair(self, kind: Kind, t: Float[Tensor, "*batch"]) -> Pair:
        """The two numbers (a, b) of a kind of prediction at t; kinds of a step are about the one from `before(t)`."""
        if isinstance(kind, str) and kind in STEP_KINDS:
            return step_pair(kind, self.level(self.before(t)), self.level(t))
        return self.level(t).pair(kind)

    def before(self, t: Float[Tensor, "*batch"]) -> Float64[Tensor, "*batch"]:
        """s = t - 1/T: where the step of a table that leads to t began."""
        steps = self.schedule.steps
        if steps is None:
            raise EbbtideError(
                "a kind of prediction about single steps came with a schedule in continuous time, which has none: "
                "give it a table (--schedule.steps 1000)"
            )
        return ((t.double() * steps).round() - 1) / steps

    def marginal(self, x0: Float[Tensor, "batch *event"], t: Float[Tensor, " batch"]) -> Gaussian:
        """q(xt | x0) = N(alpha_t x0, sigma_t² I) (C2)."""
        level = self.level(t)
        variance = level.sigma.square().to(device=x0.device, dtype=x0.dtype)
        return Gaussian(along(level.alpha, x0) * x0, Spherical(variance), event_dims=x0.ndim - 1)

    def corrupt(
        self, x0: Float[Tensor, "batch *event"], t: Float[Tensor, " batch"], generator: Randomness
    ) -> Corrupted:
        """Data worn to t in one draw (C2), with its noise."""
        check_batch(x0, t)
        eps = normal(x0.shape, generator, dtype=x0.dtype, device=x0.device)
        return Corrupted(self.level(t).mix(x0, eps), eps)

    def step(
        self, xs: Float[Tensor, "batch *event"], s: Float[Tensor, " batch"], t: Float[Tensor, " batch"]
    ) -> Gaussian:
        """q(xt | xs), s < t (C1); neighbouring times of a table give N(sqrt(1 - beta) xs, beta)."""
        return forward_step(xs, self.level(s), self.level(t))

    def posterior(
        self,
        xt: Float[Tensor, "batch *event"],
        x0: Float[Tensor, "batch *event"],
        s: Float[Tensor, " batch"],
        t: Float[Tensor, " batch"],
    ) -> Gaussian:
        """q(xs | xt, x0), s < t (C3)."""
        return posterior(xt, x0, self.level(s), self.level(t))

    def scale(self, t: float = 1.0) -> float:
        """sqrt(alpha² + sigma²) at t: the standard deviation of xt for data of standard deviation 1."""
        return math.sqrt(float(self.schedule.level(torch.tensor([t], dtype=torch.float64)).power))

    def prior(self, shape: Sequence[int], generator: Randomness, t: float = 1.0) -> Float[Tensor, "batch *event"]:
        """N(0, scale² I), which q(x1 | x0) approaches; `bits_left` says how closely. N(0, I) if variance is preserved.

        t: where sampling begins, if it is not at 1.
        """
        return self.scale(t) * normal(shape, generator)

    def prior_law(self, like: Float[Tensor, "batch *event"]) -> Gaussian:
        """N(0, scale² I) at t = 1 over tensors of this shape and type."""
        return standard_normal(like, like.ndim - 1).scaled(self.scale())

    def bits_left(self, x0: Float[Tensor, "batch *event"]) -> Float[Tensor, " batch"]:
        """KL(q(x1|x0) ‖ prior) in bits, an example (B5): what the noise at t = 1 still says of the data."""
        last = self.marginal(x0.double(), torch.ones(x0.shape[0], dtype=torch.float64))
        return kl(last, self.prior_law(last.mean)) / math.log(2)
