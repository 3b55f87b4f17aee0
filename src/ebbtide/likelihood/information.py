"""How much of the data is still known at t: the information I(x0; xt), from errors of denoising (items I8, B5).

Guo, Shamai & Verdú 2005 (arXiv:cs/0412108): with snr = alpha²/sigma² and λ = log snr, for data of any law,

    I(x0; xt) = 1/2 ∫₀^snr E‖x0 - E[x0|xs]‖² ds = 1/2 ∫_{-∞}^λ E‖eps - E[eps|xs]‖² dλ_s      (nats)

because E‖eps - eps_hat‖² = snr E‖x0 - x0_hat‖². Near the data it grows to H(x0) where these take finitely many values,
and without end where they have a density.

The least error belongs to E[x0|xt] alone. So with a network the curve is what the model pays, an upper estimate of the
information: a network that is ideal for another law q of the data pays KL(p_t ‖ q_t) too much (Verdú 2010, "Mismatched
estimation and relative entropy", IEEE Transactions on Information Theory 56).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torch.nn.functional import logsigmoid

from ebbtide.conditions import Condition
from ebbtide.denoisers.estimate import GaussianDenoiser
from ebbtide.denoisers.oracles import Oracle
from ebbtide.errors import require


@dataclass(frozen=True, kw_only=True)
class InformationCurve:
    """I(x0; xt) at points on the way from the data to noise: λ falls, and the information with it.

    error: mean ‖eps - eps_hat‖², summed over the event, and its standard error. nats: the information up from λ = -∞.
    t: the times of the points, if they have any. dimensions: how many numbers an event has.
    """

    log_snr: Float64[Tensor, " points"]
    t: Float64[Tensor, " points"] | None
    error: Float64[Tensor, " points"]
    standard_error: Float64[Tensor, " points"]
    nats: Float64[Tensor, " points"]
    dimensions: int

    @classmethod
    def of(
        cls, log_snr: Tensor, error: Tensor, standard_error: Tensor, dimensions: int, t: Tensor | None = None
    ) -> InformationCurve:
        """The curve of errors wherever they were measured: three tensors (points,), at falling log-SNR."""
        shapes = [tuple(values.shape) for values in (log_snr, error, standard_error)]
        require(
            log_snr.ndim == 1 and len(log_snr) >= 3 and len(set(shapes)) == 1,
            f"log-SNR, error and standard error of shapes {shapes} came, expected three of one (points,), points >= 3",
        )
        log_snr, error, standard_error = (v.detach().cpu().double() for v in (log_snr, error, standard_error))
        _require_falling(log_snr)
        fine = error.isfinite() & (error >= 0) & standard_error.isfinite()
        require(
            bool(fine.all()),
            f"an error that is no number or below 0 came at log-SNR {log_snr[~fine].tolist()[:3]}, expected squared "
            "errors: look for what the denoiser answers there",
        )
        nats = _information(log_snr, error)
        return cls(log_snr=log_snr, t=t, error=error, standard_error=standard_error, nats=nats, dimensions=dimensions)

    @property
    def bits(self) -> Float64[Tensor, " points"]:
        """I(x0; xt) in bits, for the whole event."""
        return self.nats / math.log(2)

    @property
    def spent(self) -> Float64[Tensor, " steps"]:
        """Bits that are lost from each point to the next, which is what the step back must bring."""
        return -self.bits.diff()


def expected_error(
    denoiser: GaussianDenoiser,
    x0: Float[Tensor, "batch *event"],
    t: Float[Tensor, " batch"],
    generator: torch.Generator,
    condition: Condition | None = None,
) -> Float64[Tensor, " batch"]:
    """‖x0 - x0_hat(xt)‖², summed over the event, for one draw of xt an example at its time."""
    xt = denoiser.corruption.corrupt(x0, t, generator).xt
    return (x0.double() - denoiser(xt, t, condition).x0.double()).square().flatten(1).sum(1)


def expected_error_of_oracle(
    oracle: Oracle, x0: Float[Tensor, "batch *event"], t: Float[Tensor, " batch"], generator: torch.Generator
) -> Float64[Tensor, " batch"]:
    """E[‖x0 - x0_hat‖² | xt] = tr Cov[x0 | xt], for one draw of xt an example at its time.

    For x0 of the oracle's own law its mean is that of `expected_error`, with less variance. It holds a matrix d x d for
    each example: for large images the oracle as a plain denoiser is the cheaper way.
    """
    xt = oracle.corruption.corrupt(x0, t, generator).xt
    return oracle.covariance(xt, t).diagonal(dim1=1, dim2=2).double().sum(1)


def information_curve(
    denoiser: GaussianDenoiser,
    x0: Float[Tensor, "n *event"],
    times: Tensor,
    generator: torch.Generator,
    *,
    draws: int = 1,
    batch: int = 256,
    oracle: bool = False,
    condition: Condition | None = None,
) -> InformationCurve:
    """I(x0; xt) at each of the rising times (points,), in (0, 1]: for a network, what the model pays (see the module).

    All n examples are worn away at every time, `draws` times over, `batch` at once; condition is theirs. oracle: take
    the covariance of an oracle in place of its errors. standard_error is that of a mean over data, from the examples'
    own means; of one example, over its draws. Times that are even in log-SNR need the fewest points (times.time_of).

    Raises EbbtideError for times that are not rising, outside of (0, 1], or at an infinite log-SNR.
    """
    require(
        times.ndim == 1 and len(times) >= 3 and times.is_floating_point(),
        f"times of shape {tuple(times.shape)}, {times.dtype} came, expected a list of at least 3 numbers",
    )
    t = times.detach().double().cpu()
    require(
        bool((t.diff() > 0).all() and (t > 0).all() and (t <= 1).all()),
        f"times from {t[0]:g} to {t[-1]:g} came, expected numbers that rise from one to the next, above 0, at most 1",
    )
    require(batch >= 1 and draws >= 1, f"batch={batch}, draws={draws} came, expected at least 1 of each")
    require(
        len(x0) * draws >= 2, f"{len(x0)} examples, draws={draws} came, expected two for a standard error: more draws"
    )
    require(
        not oracle or (isinstance(denoiser, Oracle) and condition is None),
        f"oracle=True came with {type(denoiser).__name__}, expected one with a covariance, and no condition",
    )
    log_snr = denoiser.corruption.level(t).log_snr
    _require_falling(log_snr)
    errors = [_errors_at(float(one), denoiser, x0, generator, draws, batch, oracle, condition) for one in t]
    means = torch.stack([values.mean() for values in errors])
    rows = [values.mean(1) if len(x0) > 1 else values[0] for values in errors]
    standard_errors = torch.stack([row.std() / math.sqrt(len(row)) for row in rows])
    snr = log_snr.exp()
    return InformationCurve.of(log_snr, snr * means, snr * standard_errors, math.prod(x0.shape[1:]), t)


def _require_falling(log_snr: Float64[Tensor, " points"]) -> None:
    require(
        bool(log_snr.isfinite().all()) and bool((log_snr.diff() < 0).all()),
        f"log-SNR from {log_snr[0]:g} to {log_snr[-1]:g} came, expected finite numbers, each below the last: leave out "
        "points without noise or without data",
    )


@torch.no_grad()
def _errors_at(
    t: float,
    denoiser: GaussianDenoiser,
    x0: Tensor,
    generator: torch.Generator,
    draws: int,
    batch: int,
    oracle: bool,
    condition: Condition | None,
) -> Float64[Tensor, "n draws"]:
    """‖x0 - x0_hat‖² of every example and draw at one time."""
    found = []
    for index in torch.arange(len(x0)).repeat_interleave(draws).split(batch):
        some, at = x0[index], torch.tensor(t, dtype=torch.float64).expand(len(index))
        if oracle:
            assert isinstance(denoiser, Oracle)
            found.append(expected_error_of_oracle(denoiser, some, at, generator).cpu())
        else:
            told = None if condition is None else condition[index]
            found.append(expected_error(denoiser, some, at, generator, told).cpu())
    return torch.cat(found).reshape(len(x0), draws)


def _information(log_snr: Float64[Tensor, " points"], error: Float64[Tensor, " points"]) -> Float64[Tensor, " points"]:
    """1/2 ∫_{-∞}^λ error dλ at every λ of a falling list, in nats.

    With P the largest error of x0 in the list, it is taken over u = log(1 + P snr), du = sigmoid(λ + log P) dλ:

        1/2 ∫₀^u error / sigmoid(λ + log P) du

    This integrand is bounded: near noise it is about 1, near data the number of directions that the data have (0 for
    points). So long steps of λ do little harm, and below the lowest λ it is taken to stay what it is there, which is
    exact to first order in snr.
    """
    power = float((error.log() - log_snr).exp().max()) or 1.0
    shifted = log_snr.flip(0) + math.log(power)
    u, integrand = -logsigmoid(-shifted), error.flip(0) / shifted.sigmoid()
    return 0.5 * (integrand[0] * u[0] + _integral(u, integrand)).flip(0)


def _integral(x: Float64[Tensor, " points"], y: Float64[Tensor, " points"]) -> Float64[Tensor, " points"]:
    """∫ y dx from x[0] to every x, of cubic pieces: trapezoids, and step²/12 times the change of slope.

    Slopes are those of the parabola through three neighbours, but never steeper than three times a secant beside them:
    then a piece differs from its trapezoid by at most half its step times the rise of y, however noisy y is.
    """
    step, secant = x.diff(), y.diff() / x.diff()
    inner = (step[1:] * secant[:-1] + step[:-1] * secant[1:]) / (step[1:] + step[:-1])
    slope = torch.cat([2 * secant[:1] - inner[:1], inner, 2 * secant[-1:] - inner[-1:]])
    beside = torch.stack([torch.cat([secant[:1], secant]), torch.cat([secant, secant[-1:]])])
    steepest = 3 * beside.abs().amin(0)
    slope = slope.clamp(min=-steepest, max=steepest)
    area = step * (y[1:] + y[:-1]) / 2 + step.square() * (slope[:-1] - slope[1:]) / 12
    return torch.cat([torch.zeros_like(x[:1]), area.cumsum(0)])
