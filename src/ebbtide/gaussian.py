"""Gaussians as affine images of standard normal noise (items A1-A5 of docs/lectures.md).

    x = A s + m,  s ~ N(0, I)      mean m, covariance C = A Aᵀ

(m, C) names the Gaussian uniquely; A does not (A Q gives the same one for every orthogonal Q). Covariances come in
three forms of growing cost, and each operation stays in the cheapest form that can hold its result:

    Spherical  v I            one number an event
    Diagonal   diag(v)        one number a coordinate
    Full       C              a matrix; the event is then a vector

Tensors in, tensors out; float64 in gives float64 out. Singular covariances are allowed throughout.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from ebbtide.errors import require
from ebbtide.randomness import Randomness, normal


@dataclass(frozen=True)
class Spherical:
    """v I, with v of the batch's shape, (*batch) or a scalar."""

    variance: Float[Tensor, "*batch"]


@dataclass(frozen=True)
class Diagonal:
    """diag(v), with v of the mean's shape, (*batch, *event), or broadcastable to it."""

    variance: Float[Tensor, "*batch_and_event"]


@dataclass(frozen=True)
class Full:
    """Any symmetric positive semidefinite matrix, (*batch, d, d); others are refused."""

    matrix: Float[Tensor, "*batch d d"]

    def __post_init__(self) -> None:
        check_symmetric(self.matrix)


Covariance = Spherical | Diagonal | Full


@dataclass(frozen=True)
class Gaussian:
    """N(mean, covariance) for a batch of events.

    mean: (*batch, *event); event_dims: how many trailing dimensions make one event (1 for vectors, 3 for images).
    A Full covariance asks for vectors.
    """

    mean: Float[Tensor, "*batch_and_event"]
    covariance: Covariance
    event_dims: int = 1

    def __post_init__(self) -> None:
        require(
            self.event_dims == 1 or not isinstance(self.covariance, Full),
            f"a full covariance is for vectors (event_dims=1), but event_dims={self.event_dims} came: flatten first",
        )

    @property
    def size(self) -> int:
        """d, the number of coordinates of one event."""
        return math.prod(self.mean.shape[self.mean.ndim - self.event_dims :])

    @property
    def variances(self) -> Tensor:
        """The variance of each coordinate, broadcastable to the mean."""
        match self.covariance:
            case Spherical(v):
                return _over_event(v, self.event_dims)
            case Diagonal(v):
                return v
            case Full(c):
                return c.diagonal(dim1=-2, dim2=-1)

    def of_noise(self, s: Tensor) -> Tensor:
        """x = A s + m for standard normal s of the mean's shape (A1)."""
        match self.covariance:
            case Full(c):
                return self.mean + (square_root(c) @ s.unsqueeze(-1)).squeeze(-1)
            case _:
                return self.mean + self.variances.sqrt() * s

    def sample(self, generator: Randomness) -> Tensor:
        """One draw for each mean in the batch."""
        m = self.mean
        return self.of_noise(normal(m.shape, generator, dtype=m.dtype, device=m.device))

    def scaled(self, scale: Tensor | float, shift: Tensor | float = 0.0) -> Gaussian:
        """The law of a x + b for a number a per event, (*batch) or a scalar: N(a m + b, a² C) (A2)."""
        a = torch.as_tensor(scale, dtype=self.mean.dtype, device=self.mean.device)
        match self.covariance:
            case Spherical(v):
                covariance: Covariance = Spherical(a.square() * v)
            case Diagonal(v):
                covariance = Diagonal(_over_event(a, self.event_dims).square() * v)
            case Full(c):
                covariance = Full(_over_event(a, 2).square() * c)
        return replace(self, mean=_over_event(a, self.event_dims) * self.mean + shift, covariance=covariance)

    def affine(self, matrix: Float[Tensor, "*batch k d"], shift: Tensor | float = 0.0) -> Gaussian:
        """The law of B x + b for vectors x: N(B m + b, B C Bᵀ) (A2)."""
        _need_vectors(self)
        mean = (matrix @ self.mean.unsqueeze(-1)).squeeze(-1) + shift
        match self.covariance:
            case Full(c):
                pushed = matrix @ c @ matrix.mT
            case _:
                pushed = (matrix * self.variances.unsqueeze(-2)) @ matrix.mT
        return Gaussian(mean, Full(pushed))

    def __add__(self, other: Gaussian) -> Gaussian:
        """The law of x + y for independent x and y: means and covariances add (A3)."""
        require(
            self.event_dims == other.event_dims,
            f"events of {self.event_dims} and {other.event_dims} dimensions do not add",
        )
        return replace(self, mean=self.mean + other.mean, covariance=_sum(self, other))

    def then(self, scale: Tensor | float, covariance: Covariance, shift: Tensor | float = 0.0) -> Gaussian:
        """The law of y where y | x ~ N(a x + b, D) and x is this Gaussian: N(a m + b, a² C + D) (A4)."""
        moved = self.scaled(scale, shift)
        return moved + replace(moved, mean=torch.zeros_like(moved.mean), covariance=covariance)

    def log_prob(self, x: Tensor) -> Tensor:
        """log N(x; m, C) in nats, (*batch). A singular covariance has no density: its values are not finite."""
        delta = x - self.mean
        match self.covariance:
            case Full(c):
                values, vectors = principal(c)
                white = (vectors.mT @ delta.unsqueeze(-1)).squeeze(-1)
                terms = white.square() / values + values.log()
                return -0.5 * (terms.sum(-1) + self.size * math.log(2 * math.pi))
            case _:
                v = self.variances
                terms = delta.square() / v + v.log()
                return -0.5 * (_event_sum(terms, self.event_dims) + self.size * math.log(2 * math.pi))

    def expected_squared_distance(self, y: Tensor) -> Tensor:
        """E‖x - y‖² = tr C + ‖m - y‖² (A5), (*batch); σ² d + ‖m - y‖² for a spherical covariance."""
        spread = self.variances.expand_as(self.mean) + (self.mean - y).square()
        return _event_sum(spread, self.event_dims)


def standard_normal(like: Tensor, event_dims: int = 1) -> Gaussian:
    """N(0, I) over tensors of this shape and dtype."""
    one = torch.ones(like.shape[: like.ndim - event_dims], dtype=like.dtype, device=like.device)
    return Gaussian(torch.zeros_like(like), Spherical(one), event_dims)


def kl(q: Gaussian, p: Gaussian) -> Tensor:
    """KL(q‖p) = E_q log q/p in nats, (*batch) (A5).

        ½ (tr(P⁻¹ Q) - d - log det Q / det P + (m_q - m_p)ᵀ P⁻¹ (m_q - m_p))

    Along directions in which p has no variance the answer is 0 where q agrees with p and infinite where it does not;
    where q has no variance and p has, it is infinite.
    """
    require(q.event_dims == p.event_dims, f"KL between events of {q.event_dims} and {p.event_dims} dimensions")
    if isinstance(q.covariance, Full) or isinstance(p.covariance, Full):
        return _kl_full(q, p)
    delta = (q.mean - p.mean).square()
    return _event_sum(_kl_one(q.variances, p.variances, delta), q.event_dims)


def square_root(matrix: Float[Tensor, "*batch d d"]) -> Float[Tensor, "*batch d d"]:
    """A square A with A Aᵀ = matrix, by eigendecomposition, so that singular matrices work too (A3)."""
    values, vectors = principal(matrix)
    return vectors * values.clamp(min=0).sqrt().unsqueeze(-2)


def check_symmetric(matrix: Float[Tensor, "*batch d d"]) -> None:
    """Raise EbbtideError for a matrix that is not square, not finite, or not symmetric beyond rounding."""
    square = matrix.ndim >= 2 and matrix.shape[-1] == matrix.shape[-2]
    require(square, f"a covariance of shape {tuple(matrix.shape)} came, expected a square matrix")
    if matrix.numel() == 0:
        return
    off, largest = float((matrix - matrix.mT).abs().amax()), float(matrix.abs().amax())
    require(
        off <= _known(matrix) * largest < math.inf,
        f"a covariance came that is off its transpose by up to {off:.2g}, with entries up to {largest:.2g}: expected a "
        "symmetric matrix of finite numbers",
    )


def principal(matrix: Float[Tensor, "*batch d d"]) -> tuple[Float[Tensor, "*batch d"], Float[Tensor, "*batch d d"]]:
    """Principal variances, rising, and axes of a symmetric matrix; an EbbtideError for one that is no covariance."""
    values, vectors = torch.linalg.eigh(matrix)
    if values.numel():
        least, largest = values[..., 0], values[..., -1].abs()
        require(
            bool((least >= -_known(values) * largest).all()),
            f"a covariance with a variance of {float(least.min()):.3g} along an axis came, expected none below 0",
        )
    return values, vectors


def _known(like: Tensor) -> float:
    """How far from exact, in proportion, a matrix may be that was computed in this type, or in float32 before."""
    return max(1e-6, math.sqrt(torch.finfo(like.dtype).eps))


def _kl_one(q: Tensor, p: Tensor, delta: Tensor) -> Tensor:
    """KL between N(., q) and N(., p) per coordinate, delta being the squared distance of the means."""
    excess = (q - p) / p  # q/p - 1 without cancellation where q is near p
    regular = 0.5 * (excess - torch.log1p(excess) + delta / p)
    degenerate = torch.where((q == 0) & (delta == 0), 0.0, math.inf).to(regular.dtype)
    return torch.where(p == 0, degenerate, regular)


def _kl_full(q: Gaussian, p: Gaussian) -> Tensor:
    """KL with matrices, in the eigenbasis of p, restricted to the directions in which p varies."""
    cov_q, cov_p = _matrix(q), _matrix(p)
    values, vectors = principal(cov_p)
    tiny = _negligible(values)
    alive = values > tiny
    delta = (vectors.mT @ (q.mean - p.mean).unsqueeze(-1)).squeeze(-1).square()
    turned = vectors.mT @ cov_q @ vectors
    spread = turned.diagonal(dim1=-2, dim2=-1)
    outside = ((~alive) & ((spread > tiny) | (delta > tiny))).any(-1)

    both = alive.unsqueeze(-1) & alive.unsqueeze(-2)
    eye = torch.eye(q.size, dtype=turned.dtype, device=turned.device)
    safe = torch.where(alive, values, 1.0)
    white = turned / (safe.unsqueeze(-1) * safe.unsqueeze(-2)).sqrt()
    ratios = torch.linalg.eigvalsh(torch.where(both, white, eye))  # dead directions count as 1, whose share is 0
    flat = (ratios <= _negligible(ratios)).any(-1)
    shape = _kl_one(ratios, torch.ones_like(ratios), torch.zeros_like(ratios)).sum(-1)
    result = shape + 0.5 * torch.where(alive, delta / safe, 0.0).sum(-1)
    return torch.where(outside | flat, math.inf, result)


def _negligible(values: Tensor) -> Tensor:
    """The size below which an eigenvalue is rounding error."""
    largest = values.abs().amax(-1, keepdim=True)
    return largest * values.shape[-1] * torch.finfo(values.dtype).eps


def _sum(x: Gaussian, y: Gaussian) -> Covariance:
    match x.covariance, y.covariance:
        case Spherical(v), Spherical(w):
            return Spherical(v + w)
        case (Full(), _) | (_, Full()):
            return Full(_matrix(x) + _matrix(y))
        case _:
            return Diagonal(x.variances + y.variances)


def _matrix(x: Gaussian) -> Tensor:
    _need_vectors(x)
    match x.covariance:
        case Full(c):
            return c
        case _:
            return torch.diag_embed(x.variances.expand_as(x.mean))


def _need_vectors(x: Gaussian) -> None:
    require(
        x.event_dims == 1,
        f"matrices act on vectors (event_dims=1), but event_dims={x.event_dims} came: flatten first",
    )


def _over_event(value: Tensor, event_dims: int) -> Tensor:
    """A number per event, shaped so that it broadcasts over the event's dimensions."""
    return value.reshape(value.shape + (1,) * event_dims)


def _event_sum(x: Tensor, event_dims: int) -> Tensor:
    return x.sum(dim=tuple(range(x.ndim - event_dims, x.ndim)))
