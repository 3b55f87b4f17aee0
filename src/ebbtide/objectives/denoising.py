"""Squared errors of a denoiser, as (kind, weight) pairs: items E2-E5, E7, min-SNR and the bound's own weights.

    loss = w(t) ‖ E[a x0 + b eps | xt] - (a x0 + b eps) ‖² / d,  one number an example

The kind in which the error is measured need not be the one that the network predicts: errors of two kinds differ by the
square of the ratio of their determinants (levels.weight_between), so every published loss is a kind and a weight:

    E4  eps, 1 (Ho's simple loss)       E5  x0, 1        E7  score, 1 (denoising score matching)
    E2  previous, 1/(2 variance)        E3  eps, beta² / (2 variance (1 - beta) (1 - abar)): both are BoundWeight on x0
    min-SNR  x0, min(SNR, 5)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ebbtide.conditions import Condition
from ebbtide.denoisers.network import NetworkDenoiser
from ebbtide.errors import require
from ebbtide.levels import KINDS, STEP_KINDS, Kind, Pair, along, weight_between
from ebbtide.objectives.objective import GaussianDrawn, Losses
from ebbtide.objectives.weights import Weight


@dataclass(frozen=True, kw_only=True)
class DenoisingObjective(GaussianDrawn):
    """Squared error of a Gaussian denoiser, in any kind, under any weight.

    predicts: what the network gives. measured: the kind whose error is minimised (None: the same); "eps" is Ho's simple
    loss (E4), "x0" the plain reconstruction error (E5). weight: a further factor for each example.
    """

    predicts: Kind = "eps"
    measured: Kind | None = None
    weight: Weight | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        known = (*KINDS, *STEP_KINDS)
        for kind in (self.predicts, self.measured):
            fits = kind is None or isinstance(kind, Pair) or kind in known
            require(fits, f"kind {kind!r} came, expected one of {', '.join(known)}, or a Pair")

    def denoiser(self, network: Callable[..., Tensor]) -> NetworkDenoiser:
        """The network, read as this objective trains it."""
        return NetworkDenoiser(network, self.corruption, self.predicts)

    def per_x0(self, t: Float64[Tensor, " batch"]) -> Float64[Tensor, " batch"]:
        """What a squared error of x0 counts in the loss at t."""
        level, kind = self.corruption.level(t), self.predicts if self.measured is None else self.measured
        weight = weight_between(level, level.pair("x0"), self.corruption.pair(kind, t))
        return weight if self.weight is None else weight * self.weight(self.corruption, t)

    def __call__(
        self,
        network: Callable[..., Tensor],
        x0: Float[Tensor, "batch *event"],
        condition: Condition,
        generator: torch.Generator,
    ) -> Losses:
        """Draw t and noise, denoise, compare."""
        t, told = self.draw(x0, condition, generator)
        xt, eps = self.corruption.corrupt(x0, t, generator)
        assert eps is not None
        estimate = self.denoiser(network)(xt, t, told)
        return Losses(self.error(estimate.prediction, x0, eps, t), t)

    def error(
        self,
        prediction: Float[Tensor, "batch *event"],
        x0: Float[Tensor, "batch *event"],
        eps: Float[Tensor, "batch *event"],
        t: Float64[Tensor, " batch"],
    ) -> Float[Tensor, " batch"]:
        """The weighted squared error of a prediction, mean over the event's coordinates."""
        own = self.corruption.pair(self.predicts, t)
        target = along(own.a, x0) * x0 + along(own.b, x0) * eps
        error = (prediction - target).square().flatten(1).mean(1)
        weight = torch.ones_like(t)
        if not (self.measured is None or (isinstance(self.measured, str) and self.measured == self.predicts)):
            weight = weight_between(self.corruption.level(t), own, self.corruption.pair(self.measured, t))
        if self.weight is not None:
            weight = weight * self.weight(self.corruption, t)
        return along(weight, error) * error
