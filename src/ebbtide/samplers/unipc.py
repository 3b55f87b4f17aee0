"""UniPC: a predictor, and a corrector that costs no evaluation of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from ebbtide.conditions import Condition
from ebbtide.denoisers.estimate import GaussianDenoiser
from ebbtide.errors import require
from ebbtide.randomness import Randomness
from ebbtide.samplers.exponential import integrated, travel
from ebbtide.samplers.known import History, Known, ask, place_of, remembered
from ebbtide.samplers.loop import Moved


@dataclass(frozen=True)
class UniPC:
    """Zhao et al. 2023 (arXiv:2302.04867), predicting x0, with their B(h) = e^-h - 1 (bh2); one evaluation a step.

    The predictor goes from t to s by the last `order` estimates of x0. The estimate at s, which the next step needs
    anyway, then corrects this one: the same way is gone again with the new estimate among the known ones, at the start
    of the next call. So the error is of one order more than the predictor's:

        predictor  xs = sigma_s / sigma_t xt + alpha_s sum w_j x0_j     x0 at t and before
        corrector  xs' = the same from the corrected xt'                x0 at s as well

    The weights are those of `Multistep` (B(h) cancels where their equations are solved), but that a line through two
    estimates counts with its value in the middle of the step, which is where B(h) and their a = 1/2 come in. In the
    first step there is only a line, so for order 3, whose error would be of order 4, the first step's of order 3 stays;
    `Started(RungeKutta(), UniPC(3), 3)` keeps it. To t = 0 the step is x0.

    Raises EbbtideError for another order, and for a batch whose examples have different times.
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
        predicted, end = ask(denoiser, xt, t, condition), place_of(denoiser.corruption.level(s))
        now = self._corrected(predicted, history) if history else predicted
        known = remembered(now, history)
        xs = travel(now.x, now.place, end, known[: self.order], halved)
        return Moved(xs, now.estimate.x0, known)

    def _corrected(self, now: Known, history: History) -> Known:
        """The last step once more, with what was estimated at its end; the estimate itself stays."""
        before, *older = history[: self.order]
        if math.isinf(before.place.log_ratio):
            return now
        x = travel(before.x, before.place, now.place, (before, now, *older), halved)
        return now._replace(x=x)


def halved(h: float, points: Sequence[float]) -> list[float]:
    """Weights of x0 over a step: two points count with their line's value in the middle, others by exact integrals."""
    if len(points) != 2:
        return integrated(h, points)
    first, second = points
    share, mass = (0.5 - first) / (second - first), -math.expm1(-h)
    return [mass * (1 - share), mass * share]
