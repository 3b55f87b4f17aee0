"""Losses for any corruption: items E5 and E8 of docs/lectures.md.

    ‖ x0 - x0_hat(xt) ‖² / d        ‖ xs - previous_hat(xt) ‖² / d,  s = t - 1/T, xs and xt two steps of one path

with the squared error, the absolute one (Bansal et al. 2022, arXiv:2208.09392), or for binary pixels the Bernoulli
likelihood: with p a pixel's share of white between the data's two ends, and y the network's log-odds,

    - p log sigmoid(y) - (1 - p) log sigmoid(-y),  in nats, whose minimum over y is at the mean of p as well
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torch.nn import functional as F

from ebbtide.conditions import Condition
from ebbtide.corruptions import Corruption, Stepwise
from ebbtide.denoisers.restoring import PreviousDenoiser, RestoringDenoiser, Values
from ebbtide.errors import EbbtideError, require
from ebbtide.objectives.objective import Drawn, Losses

ErrorName = Literal["squared", "absolute", "bernoulli"]
ERRORS: tuple[ErrorName, ...] = get_args(ErrorName)


@dataclass(frozen=True, kw_only=True)
class RestoringObjective(Drawn):
    """The error of x0: what was there, told from xt at once.

    limits: the data's lowest and highest value; the Bernoulli error needs them, and estimates are held within them.
    """

    error: ErrorName = "squared"
    limits: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.error in ERRORS, f"error={self.error!r} came, expected one of {', '.join(ERRORS)}")
        _ = self.values

    @property
    def values(self) -> Values:
        """How the network's answers are read."""
        return Values(limits=self.limits, log_odds=self.error == "bernoulli")

    def denoiser(self, network: Callable[..., Tensor]) -> RestoringDenoiser:
        """The network, read as this objective trains it."""
        return RestoringDenoiser(network, self.corruption, self.values)

    def pair(
        self, x0: Float[Tensor, "batch *event"], t: Float64[Tensor, " batch"], generator: torch.Generator
    ) -> tuple[Float[Tensor, "batch *event"], Float[Tensor, "batch *event"]]:
        """What the network is shown, and what it should say."""
        return self.corruption.corrupt(x0, t, generator).xt, x0

    def __call__(
        self,
        network: Callable[..., Tensor],
        x0: Float[Tensor, "batch *event"],
        condition: Condition,
        generator: torch.Generator,
    ) -> Losses:
        """Draw t, corrupt, restore, compare."""
        t, told = self.draw(x0, condition, generator)
        shown, target = self.pair(x0, t, generator)
        answer = self.denoiser(network).answer(shown, t, told)
        return Losses(self.errors(answer, target).flatten(1).mean(1), t)

    def errors(
        self, answer: Float[Tensor, "batch *event"], target: Float[Tensor, "batch *event"]
    ) -> Float[Tensor, "batch *event"]:
        """One error a number. Answers are not held within limits here: beyond them no gradient would lead back."""
        match self.error:
            case "squared":
                return (answer - target).square()
            case "absolute":
                return (answer - target).abs()
            case "bernoulli":
                assert self.limits is not None
                low, high = self.limits
                share = ((target - low) / (high - low)).clamp(0, 1)
                return F.binary_cross_entropy_with_logits(answer, share, reduction="none")
            case _:
                raise EbbtideError(f"error={self.error!r} came, expected one of {', '.join(ERRORS)}")


@dataclass(frozen=True, kw_only=True)
class PreviousObjective(RestoringObjective):
    """The error of the latent of one step before; both are drawn from one path of the corruption's steps."""

    def __post_init__(self) -> None:
        super().__post_init__()
        corruption: Corruption = self.corruption
        require(
            isinstance(corruption, Stepwise),
            f"the previous latent came as what to predict of {type(corruption).__name__}, which has no steps: "
            "predict x0",
        )

    def denoiser(self, network: Callable[..., Tensor]) -> PreviousDenoiser:
        """The network, read as this objective trains it."""
        return PreviousDenoiser(network, self.corruption, self.values)

    def pair(
        self, x0: Float[Tensor, "batch *event"], t: Float64[Tensor, " batch"], generator: torch.Generator
    ) -> tuple[Float[Tensor, "batch *event"], Float[Tensor, "batch *event"]]:
        assert isinstance(self.corruption, Stepwise)
        previous, xt = self.corruption.successive(x0, t, generator)
        return xt, previous
