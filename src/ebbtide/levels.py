"""How much signal and noise: Level(alpha, sigma), and the arithmetic between x0, eps and xt.

    xt = alpha x0 + sigma eps,   eps ~ N(0, I)

Everything a Gaussian decoder may be asked for is a x0 + b eps with two numbers (a, b) that depend on the level only:

    x0     (1, 0)             the data
    eps    (0, 1)             the total noise
    score  (0, -1/sigma)      grad log p_t(xt) = -E[eps | xt] / sigma
    v      (-sigma, alpha)    Salimans & Ho 2022, arXiv:2202.00512

Two more are about the step s -> t: `previous` (xs) and `step_noise` (what was added in that step); see `step_pair`.

xt is one linear equation in (x0, eps) and the prediction p is another, so each kind gives all the others. With
det = alpha b - sigma a (items D2, D3, D6, D8 of docs/lectures.md):

    x0 = (b xt - sigma p) / det      eps = (alpha p - a xt) / det

Coefficients are float64 whatever the data's type.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torch.nn.functional import logsigmoid

from ebbtide.errors import EbbtideError, require
from ebbtide.gaussian import Gaussian, Spherical

LevelKind = Literal["x0", "eps", "score", "v"]
KINDS: tuple[LevelKind, ...] = get_args(LevelKind)
StepKind = Literal["previous", "step_noise"]
STEP_KINDS: tuple[StepKind, ...] = get_args(StepKind)
KindName = Literal["x0", "eps", "score", "v", "previous", "step_noise"]


class Pair(NamedTuple):
    """The target a x0 + b eps: what a prediction of some kind estimates."""

    a: Float64[Tensor, "*batch"]
    b: Float64[Tensor, "*batch"]


Kind = KindName | Pair


@dataclass(frozen=True)
class Level:
    """The scales of signal and noise, float64, one number an example: (batch,), or (T,) for a table."""

    alpha: Float64[Tensor, "*batch"]
    sigma: Float64[Tensor, "*batch"]

    @classmethod
    def of_log_snr(cls, log_snr: Float64[Tensor, "*batch"]) -> Level:
        """The variance-preserving level: alpha² = sigmoid(λ), sigma² = sigmoid(-λ), with λ = log alpha²/sigma².

        Both scales keep all their digits up to the ends, λ = ±inf included.
        """
        return cls(torch.exp(0.5 * logsigmoid(log_snr)), torch.exp(0.5 * logsigmoid(-log_snr)))

    @classmethod
    def of_snr(cls, snr: Float64[Tensor, "*batch"]) -> Level:
        """The variance-preserving level of alpha²/sigma² = snr, from 0 to inf."""
        return cls.of_log_snr(snr.log())

    @property
    def log_snr(self) -> Float64[Tensor, "*batch"]:
        """λ = log(alpha² / sigma²), from +inf (clean) to -inf (noise)."""
        return 2 * (self.alpha.log() - self.sigma.log())

    @property
    def snr(self) -> Float64[Tensor, "*batch"]:
        """alpha² / sigma²."""
        return (self.alpha / self.sigma).square()

    @property
    def power(self) -> Float64[Tensor, "*batch"]:
        """alpha² + sigma²: the variance of xt for data of variance 1; 1 exactly where it is preserved to rounding."""
        power = self.alpha.square() + self.sigma.square()
        return torch.where((power - 1).abs() < 1e-12, 1.0, power)

    def mix(self, x0: Tensor, eps: Tensor) -> Tensor:
        """xt = alpha x0 + sigma eps."""
        return along(self.alpha, x0) * x0 + along(self.sigma, x0) * eps

    def pair(self, kind: Kind) -> Pair:
        """(a, b) of a kind at this level; a Pair is its own answer."""
        if isinstance(kind, Pair):
            return kind
        zero, one = torch.zeros_like(self.alpha), torch.ones_like(self.alpha)
        match kind:
            case "x0":
                return Pair(one, zero)
            case "eps":
                return Pair(zero, one)
            case "score":
                return Pair(zero, -1 / self.sigma)
            case "v":
                return Pair(-self.sigma, self.alpha)
            case "previous" | "step_noise":
                raise EbbtideError(f"{kind!r} is about a step, not one level: ask corruption.pair({kind!r}, t)")
            case _:
                raise EbbtideError(
                    f"unknown kind of prediction {kind!r}: expected one of {', '.join((*KINDS, *STEP_KINDS))}"
                )

    @cached_property
    def thin(self) -> Level:
        """The same level for arithmetic: where one number was expanded over a batch, that number, of shape (1,)."""
        expanded = self.alpha.ndim == 1 and self.alpha.stride(0) == 0 and self.sigma.stride(0) == 0
        return Level(self.alpha[:1], self.sigma[:1]) if expanded and len(self.alpha) > 1 else self

    def conversion(self, source: Kind, target: Kind) -> tuple[Float64[Tensor, "*batch"], Float64[Tensor, "*batch"]]:
        """What a prediction of the source and xt count for in one of the target: (on xt, on the prediction).

        Between named kinds they are computed once for a level: samplers ask again for each batch.
        """
        named = isinstance(source, str) and isinstance(target, str)
        if named and (source, target) in self._conversions:
            return self._conversions[source, target]
        a, b = self.pair(source)
        a_new, b_new = self.pair(target)
        det = self.alpha * b - self.sigma * a
        found = (a_new * b - b_new * a) / det, (self.alpha * b_new - self.sigma * a_new) / det
        if named:
            self._conversions[source, target] = found
        return found

    @cached_property
    def _conversions(self) -> dict[tuple[Kind, Kind], tuple[Tensor, Tensor]]:
        return {}

    def det(self, kind: Kind) -> Float64[Tensor, "*batch"]:
        """alpha b - sigma a: how much the prediction says beyond xt (0: nothing)."""
        a, b = self.pair(kind)
        return self.alpha * b - self.sigma * a


def step_pair(kind: StepKind, s: Level, t: Level) -> Pair:
    """(a, b) of the two kinds that are about the step s -> t, xt = (alpha_t/alpha_s) xs + sqrt(beta) eps_step.

        previous    (alpha_s, alpha_t sigma_s² / (alpha_s sigma_t))   E[xs | xt], the posterior's mean (items D1, D5)
        step_noise  (0, sqrt(beta) / sigma_t)                         E[eps_step | xt] (item D4)

    with beta = sigma_t² (1 - exp(λ_t - λ_s)). The noise of a step is not the noise of all steps: of eps, the share
    sqrt(beta)/sigma_t is what xt still tells of eps_step.
    """
    match kind:
        case "previous":
            return Pair(s.alpha, (t.alpha / s.alpha) * s.sigma.square() / t.sigma)
        case "step_noise":
            return Pair(torch.zeros_like(t.alpha), share_of_noise_replaced(s, t).sqrt())
        case _:
            raise EbbtideError(f"unknown kind of step {kind!r}: expected one of {', '.join(STEP_KINDS)}")


def along(coefficient: Tensor, x: Tensor) -> Tensor:
    """A number an example, (batch,) or a scalar, shaped to multiply x (batch, *event), in x's type and place."""
    shape = coefficient.shape + (1,) * (x.ndim - coefficient.ndim if coefficient.ndim else 0)
    return coefficient.to(device=x.device, dtype=x.dtype).reshape(shape)


def convert(p: Tensor, source: Kind, target: Kind, xt: Tensor, level: Level) -> Tensor:
    """The prediction p of one kind, said in another (D8).

        p' = (a' b - b' a) / det  xt  +  det' / det  p

    A kind converted to itself is returned as it is: no digits are lost where det is small.
    """
    if isinstance(source, str) and source == target:
        return p
    on_xt, on_p = level.thin.conversion(source, target)
    return torch.addcmul(along(on_xt, xt) * xt, along(on_p, xt), p)


def weight_between(level: Level, source: Kind, target: Kind) -> Float64[Tensor, "*batch"]:
    """w with ‖target's error‖² = w ‖source's error‖²: (det' / det)², every weight of E2-E7 in one formula."""
    if isinstance(source, str) and source == target:
        return torch.ones_like(level.alpha)
    return (level.det(target) / level.det(source)).square()


def share_of_noise_replaced(s: Level, t: Level) -> Float64[Tensor, "*batch"]:
    """1 - (alpha_t sigma_s / alpha_s sigma_t)² = 1 - exp(λ_t - λ_s): how much of the noise at t came after s.

    Raises EbbtideError unless s < t: log-SNR falls from s to t, or stays, but for rounding.
    """
    rise = t.log_snr - s.log_snr
    if not bool((rise <= 1e-9).all()):
        raise EbbtideError(
            f"a step from log-SNR {_first(s.log_snr, rise)} (s) to {_first(t.log_snr, rise)} (t) came, expected s < t, "
            "with less signal at t"
        )
    return -torch.expm1(rise.clamp(max=0))


def _first(log_snr: Tensor, rise: Tensor) -> str:
    """Of these levels the one where log-SNR rises, or is not a number."""
    return f"{float(log_snr.expand_as(rise)[~(rise <= 1e-9)][0]):g}"


def forward_step(xs: Float[Tensor, "batch *event"], s: Level, t: Level) -> Gaussian:
    """q(xt | xs) for s < t (C1): N(alpha_t/alpha_s xs, sigma_t² - (alpha_t sigma_s / alpha_s)²)."""
    s, t = s.thin, t.thin
    variance = t.sigma.square() * share_of_noise_replaced(s, t)
    return _spherical(along(t.alpha / s.alpha, xs) * xs, variance)


def posterior(xt: Float[Tensor, "batch *event"], x0: Float[Tensor, "batch *event"], s: Level, t: Level) -> Gaussian:
    """q(xs | xt, x0) for s < t (C3; Ho et al. 2020, arXiv:2006.11239, eq. 7 for neighbouring steps).

    mean      (alpha_t sigma_s²) / (alpha_s sigma_t²) xt + alpha_s (1 - exp(λ_t - λ_s)) x0
    variance  sigma_s² (1 - exp(λ_t - λ_s))
    """
    s, t = s.thin, t.thin
    share = share_of_noise_replaced(s, t)
    from_xt = (t.alpha / s.alpha) * (s.sigma / t.sigma).square()
    mean = along(from_xt, xt) * xt + along(s.alpha * share, xt) * x0
    return _spherical(mean, s.sigma.square() * share)


def bridge(
    x0: Float[Tensor, "batch *event"], eps: Float[Tensor, "batch *event"], s: Level, t: Level, eta: float
) -> Gaussian:
    """The family of steps t -> s that share the marginals (Song et al. 2021, arXiv:2010.02502).

        xs = alpha_s x0 + sigma_s sqrt(1 - tau) eps + sigma_s sqrt(tau) z,   tau = eta² (1 - exp(λ_t - λ_s))

    eta = 1 is the posterior of Ho et al., eta = 0 is DDIM, deterministic, and leads up to s > t as well.
    """
    require(0 <= eta <= 1, f"eta={eta} came, expected a number from 0 (DDIM) to 1 (ancestral)")
    s, t = s.thin, t.thin
    tau = eta**2 * share_of_noise_replaced(s, t) if eta > 0 else torch.zeros_like(t.sigma)
    mean = torch.addcmul(along(s.alpha, x0) * x0, along(s.sigma * (1 - tau).sqrt(), x0), eps)
    return _spherical(mean, s.sigma.square() * tau)


def _spherical(mean: Tensor, variance: Tensor) -> Gaussian:
    """N(mean, variance I) over a batch of events of any shape."""
    variance = variance.to(device=mean.device, dtype=mean.dtype).expand(mean.shape[0])
    return Gaussian(mean, Spherical(variance), event_dims=mean.ndim - 1)
