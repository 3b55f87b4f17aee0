"""Langevin dynamics with the score: alone, level by level, and as a corrector between other steps (item G7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from ebbtide.conditions import Condition
from ebbtide.denoisers.estimate import GaussianDenoiser
from ebbtide.errors import require
from ebbtide.levels import along
from ebbtide.randomness import Randomness, normal
from ebbtide.samplers.loop import Moved, Sampler


@runtime_checkable
class Corrector(Protocol):
    """Moves x, which lies at t, towards the law p_t, and leaves t alone."""

    def correct(
        self,
        denoiser: GaussianDenoiser,
        x: Float[Tensor, "batch *event"],
        t: Float[Tensor, " batch"],
        condition: Condition | None,
        generator: Randomness,
    ) -> Float[Tensor, "batch *event"]: ...


@dataclass(frozen=True)
class Langevin:
    """`steps` steps of Langevin dynamics at every level (annealed: Song & Ermon 2019, arXiv:1907.05600).

        x <- x + e score(x) + sqrt(2 e) z,   e = 2 (ratio sigma_t)²
           = x + 2 ratio sigma (z - ratio eps_hat)

    ratio: of a step's drift to its noise, at the score's usual size sqrt(d)/sigma (Song et al. 2021, arXiv:2011.13456,
    Algorithms 4 and 5, who measure both in each batch; here a sample depends on no other). For ratio < 1 steps are
    stable, whatever the data, as the score's slope is nowhere below -1/sigma².

    At one level its stationary law is p_t but for an error of order e; for Gaussian data each principal variance v of
    p_t becomes v / (1 - e / 2v): too large by e/2, or more, and at most v / (1 - ratio²).

    As a sampler it takes x from t to s as it is, as Song & Ermon do, and corrects it there; to s = 0, E[x0 | xt].
    """

    steps: int = 1
    ratio: float = 0.16

    def __post_init__(self) -> None:
        require(self.steps >= 1, f"steps={self.steps} came, expected at least 1")
        require(
            0 < self.ratio < 1,
            f"ratio={self.ratio} came, expected more than 0 and less than 1 (from there on unstable)",
        )

    def correct(
        self,
        denoiser: GaussianDenoiser,
        x: Float[Tensor, "batch *event"],
        t: Float[Tensor, " batch"],
        condition: Condition | None,
        generator: Randomness,
    ) -> Float[Tensor, "batch *event"]:
        """x after the steps at t, which must not be 0: there is no score."""
        return self._walk(denoiser, x, t, condition, generator).xs

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
        if bool((s == 0).all()):
            x0 = denoiser(xt, t, condition).x0
            return Moved(x0, x0)
        return self._walk(denoiser, xt, s, condition, generator)

    def _walk(
        self, denoiser: GaussianDenoiser, x: Tensor, t: Tensor, condition: Condition | None, generator: Randomness
    ) -> Moved:
        """The steps at t, and what the last of them believed of x0."""
        size = along(2 * self.ratio * denoiser.corruption.level(t).thin.sigma, x)
        for _ in range(self.steps):
            estimate = denoiser(x, t, condition)
            z = normal(x.shape, generator, dtype=x.dtype, device=x.device)
            x = x + size * (z - self.ratio * estimate.eps)
        return Moved(x, estimate.x0)


@dataclass(frozen=True)
class PredictorCorrector:
    """Any sampler's step to s, then a corrector there, if s > 0 (Song et al. 2021, arXiv:2011.13456, Algorithm 1)."""

    predictor: Sampler
    corrector: Corrector

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
        moved = self.predictor(denoiser, xt, t, s, condition, generator, history)
        if bool((s == 0).all()):
            return moved
        return moved._replace(xs=self.corrector.correct(denoiser, moved.xs, s, condition, generator))
