"""The best linear denoiser of any data: all that means and covariances can tell (Wiener 1949).

    m + alpha C (alpha² C + sigma² I)⁻¹ (xt - alpha m)        error of x0: tr C sigma² (alpha² C + sigma² I)⁻¹

No linear function of xt has a smaller mean square error, whatever the law of the data with mean m and covariance C;
where it is Gaussian, no function has. So a network that does worse at some level has not learned that level. At high
noise all that is left is the best constant, m, with error tr C.

C is found in one pass over the data, in memory that does not grow with it: exactly up to `MOST_EXACT` numbers an
example. Larger images are told in cosine waves (the orthonormal DCT-II of each channel): waves are taken as
uncorrelated, and at each wave the channels are mixed by their own covariance. That denoiser is linear too, so its
error, which the formula above gives exactly from the variances alone, is one that some linear denoiser reaches: a bar
that may lie a little high.

Made of few examples it is a bar that lies too low, for it knows these by heart: with fewer examples than numbers some
variances are 0 where those of the law are not. `told_by` takes variances from examples that had no part in the axes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ebbtide.conditions import Condition
from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers.estimate import GaussianEstimate
from ebbtide.errors import require
from ebbtide.levels import Level, along
from ebbtide.moments import MomentsSum

MOST_EXACT = 3 * 32 * 32
"""Numbers of an example up to which the whole covariance is held."""
SAME = 1e-20
"""Variance of examples that are all the same, of their mean square: what rounding leaves."""


@runtime_checkable
class Basis(Protocol):
    """An orthonormal basis in which the data's coordinates are (taken as) uncorrelated."""

    def analyse(self, x: Float[Tensor, "batch *event"]) -> Float[Tensor, "batch d"]: ...

    def synthesise(self, coordinates: Float[Tensor, "batch d"]) -> Float[Tensor, "batch d"]: ...


@dataclass(frozen=True)
class EigenBasis:
    """The eigenvectors of the covariance, in columns."""

    vectors: Float64[Tensor, "d d"]

    def analyse(self, x: Float[Tensor, "batch *event"]) -> Float[Tensor, "batch d"]:
        return x.flatten(1) @ self.vectors.to(x)

    def synthesise(self, coordinates: Float[Tensor, "batch d"]) -> Float[Tensor, "batch d"]:
        return coordinates @ self.vectors.mT.to(coordinates)


@dataclass(frozen=True)
class CosineBasis:
    """Waves of each channel, then at each wave the eigenvectors of the channels' covariance there, in columns."""

    mixing: Float64[Tensor, "height width channels channels"]

    def analyse(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch d"]:
        return torch.einsum("bchw,hwck->bkhw", waves(x), self.mixing.to(x)).flatten(1)

    def synthesise(self, coordinates: Float[Tensor, "batch d"]) -> Float[Tensor, "batch d"]:
        height, width, channels, _ = self.mixing.shape
        mixed = coordinates.unflatten(1, (channels, height, width))
        told = torch.einsum("bkhw,hwck->bchw", mixed, self.mixing.to(mixed))
        down, across = cosines(height).to(told), cosines(width).to(told)
        return torch.einsum("bchw,hy,wx->bcyx", told, down, across).flatten(1)


def cosines(size: int) -> Float64[Tensor, "size size"]:
    """The orthonormal DCT-II, a wave a row: c_k cos(pi (2 i + 1) k / 2 size)."""
    wave, place = torch.arange(size, dtype=torch.float64)[:, None], torch.arange(size, dtype=torch.float64)
    rows = math.sqrt(2 / size) * torch.cos(math.pi * (2 * place + 1) * wave / (2 * size))
    rows[0] /= math.sqrt(2)
    return rows


def waves(x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels height width"]:
    """Images as sums of cosine waves, the slowest first."""
    down, across = cosines(x.shape[2]).to(x), cosines(x.shape[3]).to(x)
    return torch.einsum("bcyx,hy,wx->bchw", x, down, across)


@dataclass(frozen=True)
class LinearDenoiser:
    """variances: of the data's coordinates in the basis. exact: nothing was left out of the covariance."""

    mean: Float64[Tensor, " d"]
    variances: Float64[Tensor, " d"]
    basis: Basis
    corruption: GaussianCorruption
    exact: bool = True

    @classmethod
    def of(
        cls,
        batches: Iterable[Float[Tensor, "batch *event"]],
        corruption: GaussianCorruption,
        most_exact: int = MOST_EXACT,
    ) -> LinearDenoiser:
        """From the data, batch by batch, each seen once; in waves for images of more than `most_exact` numbers.

        Raises EbbtideError for fewer than two examples, or for larger examples that are no images.
        """
        batches = (batch for batch in batches if len(batch))
        first = next(batches, None)
        require(first is not None, "no data came, expected at least two examples")
        assert first is not None
        size = first[0].numel()
        if size <= most_exact:
            return cls._exactly(first, batches, corruption)
        require(
            first.ndim == 4,
            f"examples of {size:,} numbers came that are no images: a covariance can be of {most_exact:,} at most",
        )
        return cls._in_waves(first, batches, corruption)

    @classmethod
    def _exactly(cls, first: Tensor, rest: Iterable[Tensor], corruption: GaussianCorruption) -> LinearDenoiser:
        total = MomentsSum(first[0].numel())
        for batch in _chain(first, rest):
            total.add(batch.flatten(1).numpy())
        found = total.moments()
        # the covariance of these examples themselves: they are the law that is denoised
        matrix = torch.from_numpy(found.covariance) * ((found.count - 1) / found.count)
        values, vectors = torch.linalg.eigh(matrix)
        return cls(torch.from_numpy(found.mean), values.clamp(min=0), EigenBasis(vectors), corruption)

    @classmethod
    def _in_waves(cls, first: Tensor, rest: Iterable[Tensor], corruption: GaussianCorruption) -> LinearDenoiser:
        _, channels, height, width = first.shape
        shift = waves(first.double()).mean(0)  # near the mean: squares then lose no digits
        sums = torch.zeros(channels, height, width, dtype=torch.float64)
        products = torch.zeros(height, width, channels, channels, dtype=torch.float64)
        count = 0
        for batch in _chain(first, rest):
            told = waves(batch.double()) - shift
            sums += told.sum(0)
            products += torch.einsum("bchw,bkhw->hwck", told, told)
            count += len(batch)
        require(count >= 2, f"{count} example came, expected at least two")
        mean = sums / count
        covariance = products / count - torch.einsum("chw,khw->hwck", mean, mean)
        values, mixing = torch.linalg.eigh(covariance)
        basis = CosineBasis(mixing)
        centre = CosineBasis(torch.eye(channels, dtype=torch.float64).expand_as(mixing))
        pixels = centre.synthesise((mean + shift).flatten().unsqueeze(0))[0]
        return cls(pixels, values.clamp(min=0).permute(2, 0, 1).flatten(), basis, corruption, exact=False)

    def told_by(self, batches: Iterable[Float[Tensor, "_ ..."]]) -> LinearDenoiser:
        """The same mean m and axes u, with the variances v = mean (u·(x - m))² of these other examples along them.

        Axes that were fitted to examples lean towards these; what others vary along them has no such lean. Since
        v sigma² / (alpha² v + sigma²) is concave in v, and the variances of the law along its own principal axes are
        spread as far as any (Schur), `error` is then expected to lie no lower than that of the best linear denoiser,
        but for the spread of v over n examples, which lowers it by (kurtosis - 1) / 4 n of itself at most. (Abadir,
        Distaso & Žikeš 2014, Design-free estimation of variance matrices; Lam 2016, Annals of Statistics 44.)

        Raises EbbtideError where no example comes.
        """
        total, count = torch.zeros_like(self.variances), 0
        for batch in batches:
            away = (batch.double().flatten(1) - self.mean).reshape(batch.shape)
            total += self.basis.analyse(away).square().sum(0)
            count += len(batch)
        require(count > 0, "no data came, expected at least one example")
        return replace(self, variances=total / count)

    def __call__(
        self,
        xt: Float[Tensor, "batch *event"],
        t: Float[Tensor, " batch"],
        condition: Condition | None = None,
    ) -> GaussianEstimate:
        level = self.corruption.level(t)
        alpha, sigma = (along(scale, xt.flatten(1)).to(xt) for scale in (level.alpha, level.sigma))
        variances, mean = self.variances.to(xt), self.mean.to(xt)
        spread = alpha.square() * variances + sigma.square()
        gain = torch.where(spread > 0, alpha * variances / spread, 0.0)
        away = (xt.flatten(1) - alpha * mean).reshape(xt.shape)
        x0 = mean + self.basis.synthesise(self.basis.analyse(away) * gain)
        return GaussianEstimate(xt, level, "x0", x0.reshape(xt.shape))

    def error(self, level: Level) -> Float64[Tensor, "*batch"]:
        """The mean square error of x0, a dimension: the mean of v sigma² / (alpha² v + sigma²) over the variances v."""
        alpha, sigma = level.alpha.unsqueeze(-1).square(), level.sigma.unsqueeze(-1).square()
        spread = alpha * self.variances + sigma
        return torch.where(spread > 0, self.variances * sigma / spread, 0.0).mean(-1)

    @property
    def constant_error(self) -> float:
        """That of the best constant, the data's mean: the variance, a dimension."""
        return float(self.variances.mean())

    @property
    def knows_all(self) -> bool:
        """The examples are all the same, but for rounding: their mean is all there is to know."""
        return self.constant_error <= SAME * float(self.mean.square().mean())


def _chain(first: Tensor, rest: Iterable[Tensor]) -> Iterable[Tensor]:
    yield first
    yield from rest
