"""Grids: the times that sampling walks down, from a start to 0 exactly.

Each is a rule (`GRIDS`) for where steps + 1 times should lie. A continuous schedule takes them as they are, in any
number of steps from 1 on. A table takes its own times nearest to them, each at most once, in any number of steps up to
those it has from the start on; where a grid by noise begins later and so many do not fit, it begins earlier.

    uniform     even in t; the last time of training is the first of sampling ("trailing", Lin et al. 2023,
                arXiv:2305.08891), which leaves no noise that the network never saw
    quadratic   even in the root of t: short steps near the data (Song et al. 2021, arXiv:2010.02502, appendix D)
    log-snr     even in log-SNR down to little noise (Lu et al. 2022, arXiv:2206.00927), then 0
    karras      even in (sigma/alpha)^(1/rho) (Karras et al. 2022, arXiv:2206.00364, eq. 5), then 0

`spread_grid` puts times where a measured density says that steps err.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float64
from torch import Tensor

from ebbtide.errors import EbbtideError, require
from ebbtide.schedules import Schedule
from ebbtide.times import Stepped, nearest, time_of

Grid = Callable[[Schedule, int, float], Float64[Tensor, " points"]]

MOST_NOISE, LEAST_NOISE = 40.0, 0.02
"""sigma/alpha, for data of variance 1, between which grids by noise have their steps."""
RHO = 7.0


def uniform_grid(schedule: Stepped, steps: int, start: float = 1.0) -> Float64[Tensor, " points"]:
    """steps + 1 times that fall evenly from `start` to 0. A table of T steps has no more than T of them."""
    _check(steps, start)
    return on_schedule(schedule, torch.linspace(start, 0, steps + 1, dtype=torch.float64))


def quadratic_grid(schedule: Schedule, steps: int, start: float = 1.0) -> Float64[Tensor, " points"]:
    """start (1 - k/steps)²."""
    _check(steps, start)
    return on_schedule(schedule, start * torch.linspace(1, 0, steps + 1, dtype=torch.float64).square())


def log_snr_grid(schedule: Schedule, steps: int, start: float = 1.0) -> Float64[Tensor, " points"]:
    """`steps` times even in log-SNR, then 0."""
    high, low = _noise_ends(schedule, steps, start, MOST_NOISE, LEAST_NOISE)
    share = torch.linspace(0, 1, steps, dtype=torch.float64)
    return _by_noise(schedule, (math.log(high) + share * (math.log(low) - math.log(high))).exp(), start)


def karras_grid(
    schedule: Schedule,
    steps: int,
    start: float = 1.0,
    *,
    rho: float = RHO,
    most: float = MOST_NOISE,
    least: float = LEAST_NOISE,
) -> Float64[Tensor, " points"]:
    """steps + 1 times to 0, whose noise ratios n = sigma/alpha are even in n^(1/rho) from `most` to `least`; then 0.

    Their sigma, for data of standard deviation 1, is our n. Little noise gets short steps: there solvers err most. The
    first time is `start` if that has less noise than `most`.
    """
    require(
        rho > 0 and 0 < least < most, f"rho={rho}, least={least}, most={most} came, expected 0 < least < most, rho > 0"
    )
    high, low = _noise_ends(schedule, steps, start, most, least)
    share = torch.linspace(0, 1, steps, dtype=torch.float64)
    ratios = (high ** (1 / rho) + share * (low ** (1 / rho) - high ** (1 / rho))) ** rho
    return _by_noise(schedule, ratios, start)


def spread_grid(
    schedule: Schedule,
    steps: int,
    log_snr: Float64[Tensor, " levels"],
    density: Float64[Tensor, " levels"],
    start: float = 1.0,
) -> Float64[Tensor, " points"]:
    """`steps` times that share the integral of a density over log-SNR evenly, then 0 (equidistribution, de Boor 1973).

    log_snr: rising; density: positive, there. The first time is `start`, or the density's first level if that has less
    noise.
    """
    _check(steps, start)
    rising = bool((log_snr.diff() > 0).all()) and bool((density > 0).all()) and log_snr.shape == density.shape
    require(rising, "a density came that is not positive at rising log-SNR: expected one number for each level")
    begin = float(schedule.level(nearest(schedule, torch.tensor([start], dtype=torch.float64))).log_snr)
    kept = log_snr >= begin
    require(
        int(kept.sum()) >= 2, f"a density came that ends before t={start:g}: measure it over the levels of the grid"
    )
    log_snr, density = log_snr[kept], density[kept]
    area = torch.cumulative_trapezoid(density, log_snr)
    mass = torch.cat([torch.zeros(1, dtype=torch.float64), area])
    wanted = torch.linspace(0, float(mass[-1]), steps, dtype=torch.float64)
    place = torch.searchsorted(mass, wanted).clamp(1, len(mass) - 1)
    share = (wanted - mass[place - 1]) / (mass[place] - mass[place - 1])
    found = log_snr[place - 1] + share * (log_snr[place] - log_snr[place - 1])
    return _by_noise(schedule, (-0.5 * found).exp(), start)


GRIDS: dict[str, Grid] = {
    "uniform": uniform_grid,
    "quadratic": quadratic_grid,
    "log-snr": log_snr_grid,
    "karras": karras_grid,
}


def on_schedule(
    schedule: Stepped, times: Float64[Tensor, " points"], start: float | None = None
) -> Float64[Tensor, " points"]:
    """Falling times, ending at 0, on the schedule's own: a table's nearest ones, moved apart where two would be one.

    start: how far up they may be moved; None: not beyond the first of them. Raises EbbtideError where the table has not
    as many from there on, and where a continuous schedule is so flat that two of them are one.
    """
    steps = len(times) - 1
    if schedule.steps is None:
        falls = bool((times.diff() < 0).all())
        require(falls, f"{steps} sampling steps came to where the schedule has one level at several: ask for fewer")
        return times
    index = (nearest(schedule, times) * schedule.steps).round().long()
    begin = float(times[0]) if start is None else start
    available = round(float(nearest(schedule, torch.tensor(begin, dtype=torch.float64))) * schedule.steps)
    require(
        steps <= available,
        f"{steps} sampling steps came, but the model was made with {schedule.steps} and has {available} from "
        f"t={begin:g} on: ask for at most {available}",
    )
    left = torch.arange(steps, -1, -1)
    index = index.maximum(left)  # room for those that come after
    for k in range(1, len(index)):
        index[k] = min(int(index[k]), int(index[k - 1]) - 1)
    return index.double() / schedule.steps


def _check(steps: int, start: float) -> None:
    require(0 < start <= 1, f"a start at t={start:g} came, expected more than 0 and at most 1")
    require(steps >= 1, f"{steps} sampling steps came, expected at least 1")


def _noise_ends(schedule: Schedule, steps: int, start: float, most: float, least: float) -> tuple[float, float]:
    """sigma/alpha of the first time and of the last but one."""
    _check(steps, start)
    high = min(most, _ratio(schedule, nearest(schedule, torch.tensor([start], dtype=torch.float64))))
    return high, min(least, high / 2)


def _ratio(schedule: Schedule, t: Float64[Tensor, " 1"]) -> float:
    """sigma/alpha at t."""
    return float(torch.exp(-0.5 * schedule.level(t).log_snr))


def _by_noise(schedule: Schedule, ratios: Float64[Tensor, " steps"], start: float) -> Float64[Tensor, " points"]:
    """The times of these noise ratios, then 0; the first is `start` itself where it has no more noise than that."""
    first = nearest(schedule, torch.tensor([start], dtype=torch.float64))
    zero = torch.zeros(1, dtype=torch.float64)
    if schedule.steps is None:
        times = time_of(schedule, -2 * ratios.log())
    else:
        known = torch.arange(1, schedule.steps + 1, dtype=torch.float64) / schedule.steps
        levels = schedule.level(known).log_snr
        times = known[(levels + 2 * ratios.log()[:, None]).abs().argmin(1)].minimum(first)
    if _ratio(schedule, first) <= float(ratios[0]) * (1 + 1e-12):
        times[0] = first[0]  # inversion may end a digit beside it
    return on_schedule(schedule, torch.cat([times, zero]), start)


def grid_by_name(name: str) -> Grid:
    """One of GRIDS."""
    if name not in GRIDS:
        raise EbbtideError(f"there is no grid {name!r}: expected one of {', '.join(GRIDS)}")
    return GRIDS[name]
