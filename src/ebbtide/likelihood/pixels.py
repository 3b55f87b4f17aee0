"""The trained last decoder: -log p(x0 | z1) by a small network that was trained for this alone (item E11)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from ebbtide.data.dataset import ValueRange
from ebbtide.denoisers.estimate import GaussianEstimate
from ebbtide.errors import require
from ebbtide.levels import along
from ebbtide.likelihood.reconstruction import bin_width, codes

VALUES = 256
LEAST_NOISE = 0.5
"""Bytes: below it, z1 names the value."""


@dataclass(frozen=True)
class TrainedPixels:
    """-log p(x0 | z1) in nats by a network such as networks.PixelDecoder; images only."""

    range: ValueRange
    network: Callable[..., Tensor]

    def __call__(
        self, estimate: GaussianEstimate, x0: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, " batch"]:
        k = codes(x0, self.range).long().unsqueeze(-1)
        return -self.log_probabilities(estimate).gather(-1, k).flatten(1).double().sum(1)

    def log_probabilities(self, estimate: GaussianEstimate) -> Float[Tensor, "batch channels height width values"]:
        """Of all 256 values, for each coordinate; float32, as there are many."""
        guess, h = estimate.x0.float(), bin_width(self.range)
        seen = estimate.xt.float() / along(estimate.level.alpha, guess)
        noise = (estimate.level.sigma / estimate.level.alpha / h).clamp(min=LEAST_NOISE).to(guess.device, guess.dtype)
        answer = self.network((seen - self.range.low) / h, (guess - self.range.low) / h, noise)
        require(
            answer.shape == (*guess.shape, VALUES),
            f"a network's answer of shape {tuple(answer.shape)} came for pictures of {tuple(guess.shape)}, expected "
            f"the log-probabilities of {VALUES} values for each of their numbers",
        )
        return answer
