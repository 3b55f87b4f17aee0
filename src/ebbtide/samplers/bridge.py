"""Ancestral sampling and DDIM: two settings of one bridge (item G1, and DDIM of G5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from ebbtide.conditions import Condition
from ebbtide.denoisers.decoder import VARIANCES, Variance, decode
from ebbtide.denoisers.estimate import GaussianDenoiser
from ebbtide.errors import require
from ebbtide.levels import bridge
from ebbtide.randomness import Randomness
from ebbtide.samplers.loop import Moved


@dataclass(frozen=True)
class Ddim:
    """Song et al. 2021 (arXiv:2010.02502): eta = 0 deterministic, eta = 1 the posterior of Ho et al., or between."""

    eta: float = 0.0

    def __post_init__(self) -> None:
        require(
            0 <= self.eta <= 1,
            f"eta={self.eta} came, expected a number from 0 (deterministic) to 1 (ancestral)",
        )

    def __call__(
        self,
        denoiser: GaussianDenoiser,
        xt: Float[Tensor, "batch *event"],
        t: Float[Tensor, " batch"],
        s: Float[Tensor, " batch"],
        condition: Condition | None,
        generator: Randomness,
        history: Any,
    ) -> Moved:
        estimate = denoiser(xt, t, condition)
        level = denoiser.corruption.level
        law = bridge(estimate.x0, estimate.eps, level(s), level(t), self.eta)
        return Moved(law.sample(generator) if self.eta > 0 else law.mean, estimate.x0)


@dataclass(frozen=True)
class Ancestral:
    """Ho et al. 2020 (arXiv:2006.11239), Algorithm 2; Algorithm 18.2 of the lectures.

    The mean is the posterior's; the variance is the posterior's own (btilde, "posterior"), that of the forward step
    (beta, "step"), or the network's ("learned"). The last step, to t = 0, has no noise.
    """

    variance: Variance = "posterior"

    def __post_init__(self) -> None:
        known = self.variance in VARIANCES
        require(known, f"variance={self.variance!r} came, expected 'posterior' (btilde), 'step' (beta) or 'learned'")

    def __call__(
        self,
        denoiser: GaussianDenoiser,
        xt: Float[Tensor, "batch *event"],
        t: Float[Tensor, " batch"],
        s: Float[Tensor, " batch"],
        condition: Condition | None,
        generator: Randomness,
        history: Any,
    ) -> Moved:
        estimate = denoiser(xt, t, condition)
        level = denoiser.corruption.level
        law = decode(estimate, level(s), level(t), self.variance)
        last = bool((s == 0).all())
        return Moved(law.mean if last else law.sample(generator), estimate.x0)
