"""Ideal denoisers in closed form (item K1): the data is a Gaussian, a mixture of Gaussians, or a finite set of points.

Each is a Denoiser like any other and knows the exact marginal p_t too, so every process, loss and sampler can be held
against an exact answer before any network is trained. Data are tensors (batch, *event); inside, events are vectors
and numbers have the precision of the oracle's own parameters; estimates come back in that of xt.

Each knows the spread around its estimate as well, Cov[x0 | xt] over the flattened event, in its own precision; for any
law of the data it is sigma²/alpha times the Jacobian of E[x0 | xt] by xt.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ebbtide.conditions import Condition
from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers.estimate import GaussianDenoiser, GaussianEstimate
from ebbtide.errors import require
from ebbtide.gaussian import Full, Gaussian, Spherical, check_symmetric, principal
from ebbtide.levels import Level, along
from ebbtide.waist import check_batch

AT_ONCE = 2**22
"""Differences from points that are held in memory together."""


@runtime_checkable
class Oracle(GaussianDenoiser, Protocol):
    """A denoiser that also knows how far from its estimate the data may lie."""

    def covariance(
        self, xt: Float[Tensor, "batch *event"], t: Float[Tensor, " batch"]
    ) -> Float[Tensor, "batch d d"]: ...


@dataclass(frozen=True)
class GaussianOracle:
    """Data from N(m, C), C any covariance in matrix form, singular ones included.

    E[x0 | xt] = m + alpha C (alpha² C + sigma² I)⁻¹ (xt - alpha m)
    """

    mean: Float[Tensor, " d"]
    matrix: Float[Tensor, "d d"]
    corruption: GaussianCorruption

    def __post_init__(self) -> None:
        fits = self.mean.ndim == 1 and self.matrix.shape == 2 * self.mean.shape
        shapes = f"a mean of shape {tuple(self.mean.shape)} and a covariance of {tuple(self.matrix.shape)}"
        require(fits, f"{shapes} came, expected (d,) and (d, d)")
        check_symmetric(self.matrix)
        _ = self._basis

    @cached_property
    def _basis(self) -> tuple[Tensor, Tensor]:
        values, vectors = principal(self.matrix)
        return values.clamp(min=0), vectors

    def __call__(
        self,
        xt: Float[Tensor, "batch *event"],
        t: Float[Tensor, " batch"],
        condition: Condition | None = None,
    ) -> GaussianEstimate:
        level = self.corruption.level(t)
        x0 = self._posterior_mean(_vectors(xt, t, self.mean), level)
        return GaussianEstimate(xt, level, "x0", x0.reshape(xt.shape).to(xt.dtype))

    def covariance(self, xt: Float[Tensor, "batch *event"], t: Float[Tensor, " batch"]) -> Float[Tensor, "batch d d"]:
        """Cov[x0 | xt] = C - alpha² C (alpha² C + sigma² I)⁻¹ C, the same for every xt.

        In the eigenbasis of C: v sigma² / (alpha² v + sigma²), which is 0 where v or sigma is.
        """
        return self._posterior_covariance(self.corruption.level(t).thin).expand(xt.shape[0], -1, -1)

    def marginal(self, t: Float[Tensor, ""]) -> Gaussian:
        """p_t = N(alpha m, alpha² C + sigma² I) at one time."""
        level = self.corruption.level(t)
        alpha, sigma = level.alpha.to(self.mean.dtype), level.sigma.to(self.mean.dtype)
        return Gaussian(self.mean, Full(self.matrix)).then(alpha, Spherical(sigma.square()))

    def log_prob(self, xt: Float[Tensor, "batch *event"], t: Float[Tensor, ""]) -> Float[Tensor, " batch"]:
        """log p_t(xt) in nats."""
        return self.marginal(t).log_prob(xt.flatten(1).to(self.mean.dtype))

    def _posterior_mean(self, flat: Tensor, level: Level) -> Tensor:
        values, vectors = self._basis
        alpha, sigma = along(level.alpha, flat), along(level.sigma, flat)
        spread = alpha.square() * values + sigma.square()
        # Where neither data nor noise varies, the mean is all there is to say.
        gain = torch.where(spread > 0, alpha * values / spread, 0.0)
        return self.mean + ((flat - alpha * self.mean) @ vectors * gain) @ vectors.mT

    def _posterior_covariance(self, level: Level) -> Tensor:
        values, vectors = self._basis
        signal, noise = along(level.alpha, self.matrix[:1]).square(), along(level.sigma, self.matrix[:1]).square()
        spread = signal * values + noise
        left = torch.where(spread > 0, noise * values / spread, 0.0)
        return (vectors * left.unsqueeze(1)) @ vectors.mT


@dataclass(frozen=True)
class MixtureOracle:
    """Data from sum_k w_k N(m_k, C_k): the components' answers, weighted by their responsibilities at xt."""

    weights: Float[Tensor, " k"]
    components: tuple[GaussianOracle, ...]

    def __post_init__(self) -> None:
        sizes = {len(component.mean) for component in self.components}
        require(
            len(sizes) == 1 and self.weights.shape == (len(self.components),),
            f"weights of shape {tuple(self.weights.shape)} came with {len(self.components)} components of sizes "
            f"{sorted(sizes)}, expected one weight for each, and all of one size",
        )
        total, least = float(self.weights.double().sum()), float(self.weights.min())
        require(
            least >= 0 and abs(total - 1) <= 1e-5,
            f"weights from {least:g} on came that sum to {total:g}, expected probabilities: divide them by their sum",
        )

    @property
    def corruption(self) -> GaussianCorruption:
        return self.components[0].corruption

    @classmethod
    def spherical(
        cls,
        weights: Float[Tensor, " k"],
        means: Float[Tensor, "k d"],
        std: float | Float[Tensor, ""],
        corruption: GaussianCorruption,
    ) -> MixtureOracle:
        """Components N(m_k, std² I)."""
        matrix = std**2 * torch.eye(means.shape[1], dtype=means.dtype)
        return cls(weights, tuple(GaussianOracle(mean, matrix, corruption) for mean in means))

    def __call__(
        self,
        xt: Float[Tensor, "batch *event"],
        t: Float[Tensor, " batch"],
        condition: Condition | None = None,
    ) -> GaussianEstimate:
        level = self.corruption.level(t)
        share, means = self._posterior(_vectors(xt, t, self.components[0].mean), level)
        x0 = (share.unsqueeze(2) * means).sum(0)
        return GaussianEstimate(xt, level, "x0", x0.reshape(xt.shape).to(xt.dtype))

    def covariance(self, xt: Float[Tensor, "batch *event"], t: Float[Tensor, " batch"]) -> Float[Tensor, "batch d d"]:
        """Cov[x0 | xt] = sum_k r_k (S_k + (m_k - m)(m_k - m)ᵀ): within the components and between them.

        r_k: responsibilities at xt; m_k, S_k: mean and covariance of x0 given xt and k; m = sum_k r_k m_k = E[x0 | xt].
        """
        level = self.corruption.level(t)
        share, means = self._posterior(xt.flatten(1).to(self.weights.dtype), level)
        apart = means - (share.unsqueeze(2) * means).sum(0)
        within = torch.stack([component._posterior_covariance(level) for component in self.components])
        between = torch.einsum("kb,kbi,kbj->bij", share, apart, apart)
        return torch.einsum("kb,kbij->bij", share, within) + between

    def log_prob(self, xt: Float[Tensor, "batch *event"], t: Float[Tensor, ""]) -> Float[Tensor, " batch"]:
        """log p_t(xt) in nats."""
        level = self.corruption.level(t.expand(xt.shape[0]))
        return self._joint_log_prob(xt.flatten(1).to(self.weights.dtype), level).logsumexp(0)

    def _posterior(self, flat: Tensor, level: Level) -> tuple[Tensor, Tensor]:
        """The responsibilities at xt, (k, batch), and each component's E[x0 | xt, k], (k, batch, d)."""
        means = torch.stack([component._posterior_mean(flat, level) for component in self.components])
        return self._joint_log_prob(flat, level).softmax(0), means

    def _joint_log_prob(self, flat: Tensor, level: Level) -> Tensor:
        """log w_k + log p_t(xt | k), (k, batch)."""
        alpha, variance = along(level.alpha, flat), along(level.sigma.square(), flat)
        rows = []
        for weight, component in zip(self.weights, self.components, strict=True):
            values, vectors = component._basis
            spread = alpha.square() * values + variance
            white = (flat - alpha * component.mean) @ vectors
            terms = white.square() / spread + (2 * torch.pi * spread).log()
            rows.append(weight.log() - 0.5 * terms.sum(1))
        return torch.stack(rows)


@dataclass(frozen=True)
class FiniteOracle:
    """Data drawn evenly from n points: E[x0 | xt] is their mean, weighted by exp(-‖xt - alpha x_i‖² / 2 sigma²).

    This is the denoiser that has learned a training set by heart; sampling with it gives the points back. At t = 0 the
    nearest point has all the weight, as in the limit. The weights are float64, from differences and no expanded
    squares: they are right wherever the points lie, and however little noise is left.
    """

    points: Float[Tensor, "n *event"]
    corruption: GaussianCorruption

    def __post_init__(self) -> None:
        fits = self.points.ndim >= 1 and len(self.points) >= 1
        require(fits, f"points of shape {tuple(self.points.shape)} came, expected (n, *event) with one or more")

    def __call__(
        self,
        xt: Float[Tensor, "batch *event"],
        t: Float[Tensor, " batch"],
        condition: Condition | None = None,
    ) -> GaussianEstimate:
        level = self.corruption.level(t)
        share, _ = self._shares(_vectors(xt, t, self.points.flatten(1)[0]), level)
        x0 = share.softmax(1).to(self.points.dtype) @ self.points.flatten(1)
        return GaussianEstimate(xt, level, "x0", x0.reshape(xt.shape).to(xt.dtype))

    def covariance(self, xt: Float[Tensor, "batch *event"], t: Float[Tensor, " batch"]) -> Float[Tensor, "batch d d"]:
        """Cov[x0 | xt] = sum_i w_i (x_i - m)(x_i - m)ᵀ, with the weights w_i and m = E[x0 | xt].

        Every example holds all points for itself: memory grows as batch * n * d.
        """
        points = self.points.flatten(1)
        share = self._shares(_vectors(xt, t, points[0]), self.corruption.level(t))[0].softmax(1).to(points.dtype)
        root = share.sqrt().unsqueeze(2) * (points - (share @ points).unsqueeze(1))
        return root.mT @ root

    def log_prob(self, xt: Float[Tensor, "batch *event"], t: Float[Tensor, ""]) -> Float[Tensor, " batch"]:
        """log p_t(xt) in nats, for t > 0."""
        level = self.corruption.level(t.expand(xt.shape[0]))
        share, nearest = self._shares(xt.flatten(1).to(self.points.dtype), level)
        variance = level.sigma.square().to(nearest.device)
        normaliser = 0.5 * xt.flatten(1).shape[1] * (2 * torch.pi * variance).log()
        found = share.logsumexp(1) - 0.5 * nearest / variance - math.log(len(self.points)) - normaliser
        return found.to(self.points.dtype)

    def _shares(self, flat: Tensor, level: Level) -> tuple[Float64[Tensor, "batch n"], Float64[Tensor, " batch"]]:
        """-(‖xt - alpha x_i‖² - that of the nearest) / 2 sigma², and the nearest's ‖xt - alpha x_i‖²."""
        points = self.points.flatten(1).double()
        alpha, variance = along(level.alpha, flat.double()), along(level.sigma.square(), flat.double())
        rows = max(1, AT_ONCE // max(1, points.numel()))
        parts = zip(flat.double().split(rows), alpha.split(rows), strict=True)
        squares = torch.cat([(x.unsqueeze(1) - a.unsqueeze(1) * points).square().sum(2) for x, a in parts])
        nearest = squares.amin(1)
        beyond = squares - nearest.unsqueeze(1)
        return torch.where(beyond > 0, -0.5 * beyond / variance, 0.0), nearest


def _vectors(
    xt: Float[Tensor, "batch *event"], t: Float[Tensor, " batch"], like: Float[Tensor, " d"]
) -> Float[Tensor, "batch d"]:
    """xt as vectors in the type of the oracle's own numbers, which must have as many coordinates."""
    check_batch(xt, t)
    flat = xt.flatten(1).to(like.dtype)
    require(
        flat.shape[1] == len(like),
        f"events of {flat.shape[1]} numbers came to an oracle for {len(like)}",
    )
    return flat
