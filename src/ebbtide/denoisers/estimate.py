"""The second half of the narrow waist: a Denoiser answers with an Estimate of what was there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from ebbtide.conditions import Condition
from ebbtide.corruptions import Corruption, GaussianCorruption
from ebbtide.levels import Kind, Level, convert


@runtime_checkable
class Estimate(Protocol):
    """What a denoiser believes the data was."""

    @property
    def x0(self) -> Float[Tensor, "batch *event"]: ...


@runtime_checkable
class Denoiser(Protocol):
    """(xt, t, condition) -> Estimate; t has shape (batch,), float64."""

    @property
    def corruption(self) -> Corruption: ...

    def __call__(
        self,
        xt: Float[Tensor, "batch *event"],
        t: Float[Tensor, " batch"],
        condition: Condition | None = None,
    ) -> Estimate: ...


@runtime_checkable
class GaussianDenoiser(Protocol):
    """A denoiser of Gaussian noise: its estimate can be read as x0, eps, score or v alike."""

    @property
    def corruption(self) -> GaussianCorruption: ...

    def __call__(
        self,
        xt: Float[Tensor, "batch *event"],
        t: Float[Tensor, " batch"],
        condition: Condition | None = None,
    ) -> GaussianEstimate: ...


@dataclass(frozen=True)
class GaussianEstimate:
    """One prediction, said in any kind (D8): what was predicted as it is, the rest converted when asked."""

    xt: Float[Tensor, "batch *event"]
    level: Level
    kind: Kind
    prediction: Float[Tensor, "batch *event"]

    def as_(self, kind: Kind) -> Float[Tensor, "batch *event"]:
        """E[a x0 + b eps | xt] for the kind's (a, b)."""
        return convert(self.prediction, self.kind, kind, self.xt, self.level)

    @property
    def x0(self) -> Float[Tensor, "batch *event"]:
        """E[x0 | xt] (D2)."""
        return self.as_("x0")

    @property
    def eps(self) -> Float[Tensor, "batch *event"]:
        """E[eps | xt] (D3)."""
        return self.as_("eps")

    @property
    def score(self) -> Float[Tensor, "batch *event"]:
        """grad log p_t(xt) (D6)."""
        return self.as_("score")

    @property
    def v(self) -> Float[Tensor, "batch *event"]:
        """E[alpha eps - sigma x0 | xt]."""
        return self.as_("v")


@dataclass(frozen=True)
class VarianceEstimate(GaussianEstimate):
    """An estimate that also says where the step's variance lies between its two fixed ones (item D7).

    share: 0 for the posterior's variance, 1 for the forward step's, in between on a log scale (Nichol & Dhariwal 2021,
    arXiv:2102.09672, eq. 15); a network is free to go beyond both.
    """

    share: Float[Tensor, "batch *event"]
