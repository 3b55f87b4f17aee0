"""The continuous-time limit of any schedule as a stochastic differential equation (item C4; G6 needs its reverse).

    dx = f(t) x dt + g(t) dw                                     forward, from the data to noise
    f = d log alpha / dt        g² = d sigma²/dt - 2 f sigma² = -sigma² dλ/dt,   λ = log alpha²/sigma²
    dx = [f x - (1 + eta²)/2 g² score] dt + eta g dw             backward in t, with the same p_t for every eta

eta = 0 is the probability-flow ODE, eta = 1 Anderson's reverse (1982, doi:10.1016/0304-4149(82)90051-5); Song et al.
2021 (arXiv:2011.13456) for both ends, Zhang & Chen 2023 (arXiv:2204.13902) for those between.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ebbtide.errors import EbbtideError, require
from ebbtide.levels import along
from ebbtide.randomness import Randomness, normal
from ebbtide.schedules import Process, Rates, Schedule


@dataclass(frozen=True)
class LinearSde:
    """dx = f(t) x dt + g(t) dw, whose law given x0 is that of the schedule: N(alpha x0, sigma² I) at every t."""

    schedule: Schedule

    def __post_init__(self) -> None:
        require(
            self.schedule.steps is None,
            f"a table of {self.schedule.steps} steps came, which has no slopes: give InterpolatedSchedule(table)",
        )

    def rates(self, t: Float[Tensor, "*batch"]) -> Rates:
        """f and g² at t, float64: in closed form where the schedule has one, else by automatic differentiation.

        The latter takes t > 0 only: some schedules (NormalSchedule) add noise infinitely fast at t = 0. Raises
        EbbtideError there, and where the schedule cannot be differentiated.
        """
        if isinstance(self.schedule, Process):
            return self.schedule.rates(t)
        name = type(self.schedule).__name__
        require(bool((t > 0).all()), f"the rates of a {name} at t = 0 were asked for, expected t > 0")
        with torch.inference_mode(False), torch.enable_grad():
            time = t.detach().double().cpu().clone().requires_grad_()
            level = self.schedule.level(time)
            log_alpha, log_snr = level.alpha.log(), level.log_snr
            if not log_snr.requires_grad:
                raise EbbtideError(
                    f"a {name} came whose levels do not hold the gradient of t: use torch's functions only"
                )
            (slope,) = torch.autograd.grad(log_snr.sum(), time, retain_graph=True)
            # a signal that stays as it is has no graph
            f = torch.autograd.grad(log_alpha.sum(), time)[0] if log_alpha.requires_grad else torch.zeros_like(slope)
        return Rates(f, -level.sigma.detach().square() * slope)

    def drift(self, x: Float[Tensor, "batch *event"], t: Float[Tensor, " batch"]) -> Float[Tensor, "batch *event"]:
        """f x."""
        return along(self.rates(t).f, x) * x

    def diffusion(self, t: Float[Tensor, "*batch"]) -> Float64[Tensor, "*batch"]:
        """g."""
        return self.rates(t).g2.sqrt()

    def drift_back(
        self,
        x: Float[Tensor, "batch *event"],
        score: Float[Tensor, "batch *event"],
        t: Float[Tensor, " batch"],
        eta: float = 1.0,
    ) -> Float[Tensor, "batch *event"]:
        """f x - (1 + eta²)/2 g² score: dx/dt of the reverse but for its noise eta g dw, with t running backward."""
        f, g2 = self.rates(t)
        return along(f, x) * x - along(0.5 * (1 + eta**2) * g2, x) * score

    def walk(
        self, x: Float[Tensor, "batch *event"], grid: Float[Tensor, " points"], generator: Randomness
    ) -> Iterator[Float[Tensor, "batch *event"]]:
        """Forward by Euler and Maruyama over the rising times of the grid: x after each step.

            x + h f x + sqrt(h) g z,   z ~ N(0, I), with the rates at the step's middle, where all schedules have them

        A simulation: `GaussianCorruption.corrupt` draws any xt at once, and exactly.
        """
        for s, t in zip(grid[:-1], grid[1:], strict=True):
            h = t.double() - s.double()
            require(float(h) > 0, f"a step from t={float(s):g} to {float(t):g} came, expected times that rise")
            f, g2 = self.rates(s.double() + h / 2)
            z = normal(x.shape, generator, dtype=x.dtype, device=x.device)
            x = along(1 + h * f, x) * x + along((h * g2).sqrt(), x) * z
            yield x
