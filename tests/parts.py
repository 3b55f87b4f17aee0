"""Parts that several tests share: one of each schedule, random covariances, and noise that is known."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

import torch
from torch import Tensor, nn

from ebbtide.corruptions import GaussianCorruption
from ebbtide.schedules import (
    CosineSchedule,
    FunctionSchedule,
    NormalSchedule,
    Schedule,
    SigmoidSchedule,
    constant_schedule,
    discretised,
    lecture_schedule,
    linear_schedule,
    table,
)

SIGMAS = 5
"""Standard errors within which an estimate must lie: chance breaks this bound once in two million."""

COSINE = CosineSchedule()
SCHEDULES: dict[str, Schedule] = {
    "linear": linear_schedule(),
    "lecture": lecture_schedule(),
    "constant": constant_schedule(0.02, 500),
    "list": table([0.1, 0.02, 0.5, 0.3, 0.9, 0.05, 0.7, 0.2]),
    "cosine table": discretised(CosineSchedule(last_log_snr=-math.inf), 100, "cosine"),
    "cosine": COSINE,
    "sigmoid": SigmoidSchedule(),
    "normal": NormalSchedule(),
    "function": FunctionSchedule(lambda t: 10 - 20 * t),
}


def times_of(schedule: Schedule, count: int = 6) -> Tensor:
    """Rising times in (0, 1] that the schedule knows, its last among them."""
    times = torch.linspace(0, 1, count + 1, dtype=torch.float64)[1:]
    return times if schedule.steps is None else (times * schedule.steps).ceil() / schedule.steps


def corruption_of(name: str) -> GaussianCorruption:
    return GaussianCorruption(SCHEDULES[name])


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=seeded(seed), dtype=dtype)


def covariance(size: int, rank: int | None = None, seed: int = 0) -> Tensor:
    """A random covariance matrix of the given rank (None: full)."""
    root = noise(size, size if rank is None else rank, seed=seed)
    return root @ root.mT


@contextmanager
def noise_is(value: float) -> Iterator[None]:
    """Every noise that a Gaussian law draws is this number: 0 shows its mean, 1 its standard deviation above it."""

    def constant(shape: torch.Size, generator: object, *, dtype: torch.dtype, device: torch.device) -> Tensor:
        return torch.full(tuple(shape), value, dtype=dtype, device=device)

    with patch("ebbtide.gaussian.normal", constant):
        yield


def affine_of(step: Callable[[Tensor], Tensor], size: int) -> tuple[Tensor, Tensor, Tensor]:
    """(M, b, v) of a random step x -> M x + b + sqrt(v) z on vectors, read off at 0 and at the unit vectors."""
    basis = torch.cat([torch.zeros(1, size, dtype=torch.float64), torch.eye(size, dtype=torch.float64)])
    with noise_is(0.0):
        means = step(basis)
    with noise_is(1.0):
        stds = step(basis) - means
    assert torch.allclose(stds, stds[:1].expand_as(stds), rtol=0, atol=1e-12)
    return (means[1:] - means[0]).mT, means[0], stds[0].square()


def perturbed(network: nn.Module, seed: int = 0, scale: float = 0.1) -> nn.Module:
    """The network with noise on all its weights, so that the layers that begin at zero take part; in eval mode."""
    generator = seeded(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += scale * torch.randn(parameter.shape, generator=generator)
    return network.eval()


def slopes(errors: list[float]) -> list[float]:
    """log2 of the ratios of neighbours: the order of convergence when each is taken with half the step before."""
    return [math.log2(a / b) for a, b in zip(errors[:-1], errors[1:], strict=True)]


class Listening:
    """A denoiser that notes what it is asked: xt, t and the labels."""

    def __init__(self, denoiser):
        self.denoiser, self.corruption, self.asked = denoiser, denoiser.corruption, []

    def __call__(self, xt, t, condition=None):
        self.asked.append((xt, t, None if condition is None else condition.label))
        return self.denoiser(xt, t, condition)
