"""Diffusion as physics (items J1, J2, J3): particles, the density's equation and the closed form tell the same.

    python examples/fokker_planck.py [PICTURE]

1. The process that wears data away: particles of dx = f x dt + g dw, the Fokker-Planck equation of it on a grid, and
   the closed-form p_t of a mixture of Gaussians.
2. Langevin's equation dx = score dt + sqrt(2) dw, whose density relaxes to the law that the score is of, on a line and
   in the plane.
3. The loss of denoising and score matching: they differ by a constant that no score can change (score_matching.py).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from finite_volumes import Counted, Grid, Step, flow_matrix
from matplotlib.figure import Figure
from score_matching import compare
from torch import Tensor

from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers import MixtureOracle
from ebbtide.randomness import generator_of, normal
from ebbtide.schedules import VpSchedule
from ebbtide.sde import LinearSde

CORRUPTION = GaussianCorruption(VpSchedule())
LINE = MixtureOracle.spherical(
    torch.tensor([0.4, 0.6], dtype=torch.float64), torch.tensor([[-1.5], [1.0]], dtype=torch.float64), 0.3, CORRUPTION
)
PLANE = MixtureOracle.spherical(
    torch.tensor([0.3, 0.3, 0.4], dtype=torch.float64),
    torch.tensor([[-1.2, -0.6], [1.2, -0.6], [0.0, 1.2]], dtype=torch.float64),
    0.3,
    CORRUPTION,
)
BINS = 50
PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "fokker-planck.png"


@dataclass(frozen=True)
class Curve:
    """A density on a grid, particles (n, d) of the same process, and its closed form where it has one."""

    name: str
    grid: Grid
    p: np.ndarray
    particles: np.ndarray
    closed: np.ndarray | None

    def __str__(self) -> str:
        """The grid against the closed form, its mass and least value, and particles against the grid."""
        formula = "   -    " if self.closed is None else f"{self.grid.distance(self.p, self.closed):.2e}"
        off, least = self.grid.mass(self.p) - 1, self.p.min()
        return f"{self.name:<10} grid - formula {formula}   mass - 1 {off:+.0e}   least {least:+.0e}"


def report(curves: Sequence[Curve], bins: int = BINS) -> None:
    for curve in curves:
        counted = Counted.of(curve.particles, curve.grid, curve.p, bins)
        chance = f"by chance {counted.expected:.4f} ± {counted.spread:.4f}"
        print(f"   {curve}   particles - grid {counted.distance:.4f} ({chance})")


def at(t: float) -> Tensor:
    return torch.tensor(t, dtype=torch.float64)


def exact(oracle: MixtureOracle, grid: Grid, t: float) -> np.ndarray:
    """p_t of the oracle on the grid."""
    return grid.density(lambda points: oracle.log_prob(torch.from_numpy(points), at(t)).numpy())


def score(oracle: MixtureOracle, t: float) -> Callable[[np.ndarray], np.ndarray]:
    """grad log p_t."""
    return lambda points: oracle(torch.from_numpy(points), at(t).expand(len(points))).score.numpy()


def drawn(oracle: MixtureOracle, t: float, count: int, seed: int = 0) -> Tensor:
    """Particles of p_t: components, data, noise."""
    generator = generator_of(seed, "particles")
    chosen = torch.multinomial(oracle.weights, count, replacement=True, generator=generator)
    means = torch.stack([component.mean for component in oracle.components])[chosen]
    std = oracle.components[0].matrix[0, 0].sqrt()
    x0 = means + std * normal(means.shape, generator, dtype=torch.float64)
    return CORRUPTION.corrupt(x0, at(t).expand(count), generator).xt


def worn(oracle: MixtureOracle, grid: Grid, times: Sequence[float], steps: int = 400) -> list[np.ndarray]:
    """The densities of the forward process at these rising times, by Crank and Nicolson from p_0."""
    sde, p, found, now = LinearSde(CORRUPTION.schedule), exact(oracle, grid, 0.0), [], 0.0
    for t in times:
        count = max(1, round(steps * (t - now)))
        dt = (t - now) / count
        for index in range(count):
            f, g2 = (float(rate) for rate in sde.rates(at(now + (index + 0.5) * dt)))
            p = Step(flow_matrix(grid, lambda points, f=f: f * points, g2 / 2), dt)(p)
        found.append(p)
        now = t
    return found


def relaxed(grid: Grid, drift: Callable, p: np.ndarray, times: Sequence[float], dt: float = 0.005) -> list[np.ndarray]:
    """The densities of dx = drift dt + sqrt(2) dw at these rising times."""
    matrix, found, now = flow_matrix(grid, drift, 1.0), [], 0.0
    for time in times:
        count = max(1, round((time - now) / dt))
        step = Step(matrix, (time - now) / count)
        for _ in range(count):
            p = step(p)
        found.append(p)
        now = time
    return found


def walked(drift: Callable, x: Tensor, times: Sequence[float], dt: float = 0.005, seed: int = 0) -> list[Tensor]:
    """Particles of Langevin's equation dx = drift dt + sqrt(2) dw at these rising times, by Euler and Maruyama."""
    generator, found, now = generator_of(seed, "langevin"), [], 0.0
    for time in times:
        count = max(1, round((time - now) / dt))
        h = (time - now) / count
        for _ in range(count):
            z = normal(x.shape, generator, dtype=x.dtype)
            x = x + h * torch.from_numpy(drift(x.numpy())) + (2 * h) ** 0.5 * z
        found.append(x)
        now = time
    return found


def wearing(grid: Grid, particles: int, times: Sequence[float] = (0.05, 0.2, 0.4, 1.0)) -> list[Curve]:
    """The process that wears data away, at some times, from the mixture on the line."""
    sde, start = LinearSde(CORRUPTION.schedule), drawn(LINE, 0.0, particles)
    walk = list(sde.walk(start, torch.linspace(0, 1, 1001, dtype=torch.float64), generator_of(1)))
    densities = worn(LINE, grid, times)
    return [
        Curve(f"t = {t}", grid, p, walk[round(1000 * t) - 1].numpy(), exact(LINE, grid, t))
        for t, p in zip(times, densities, strict=True)
    ]


def relaxing(oracle: MixtureOracle, grid: Grid, particles: int, spans: Sequence[float], dt: float) -> list[Curve]:
    """Langevin's equation for the score at t = 0.2, begun at N(0, 1/4): it has its closed form after the last span."""
    drift, closed = score(oracle, 0.2), exact(oracle, grid, 0.2)
    start = grid.density(lambda points: -2 * np.square(points).sum(1))
    cloud = 0.5 * normal((particles, grid.dimensions), generator_of(2), dtype=torch.float64)
    pairs = zip(spans, relaxed(grid, drift, start, spans, dt), walked(drift, cloud, spans), strict=True)
    return [Curve(f"after {span}", grid, p, x.numpy(), closed if span == spans[-1] else None) for span, p, x in pairs]


def save(picture: Path, lines: Sequence[list[Curve]], plane: Curve) -> None:
    """Two panels of lines (grid: coloured, formula: dotted, particles: bars) and one of the plane."""
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    axes = figure.subplots(1, 3)
    for axis, curves, title in zip(axes, lines, ("data worn away", "Langevin's equation"), strict=False):
        for curve, colour in zip(curves, ("#0072B2", "#D55E00", "#009E73", "#333333"), strict=False):
            edges = np.linspace(-curve.grid.half, curve.grid.half, BINS + 1)
            axis.hist(curve.particles.ravel(), edges, density=True, color=colour, alpha=0.25)
            axis.plot(curve.grid.centers, curve.p, color=colour, label=curve.name)
            if curve.closed is not None:
                axis.plot(curve.grid.centers, curve.closed, ":", color="black", linewidth=1)
        axis.set(title=title, xlim=(-4, 4), yticks=[])
        axis.legend(frameon=False, fontsize=7)
    assert plane.closed is not None
    axes[2].contourf(plane.grid.centers, plane.grid.centers, plane.p.T, levels=12, cmap="Blues")
    axes[2].contour(plane.grid.centers, plane.grid.centers, plane.closed.T, levels=6, colors="black", linewidths=0.5)
    axes[2].plot(*plane.particles[:1500].T, ".", color="#D55E00", markersize=1)
    axes[2].set(title="Langevin's equation in the plane", xlim=(-3, 3), ylim=(-3, 3), aspect="equal")
    figure.savefig(picture, dpi=110)
    print(f"   {picture}: {picture.stat().st_size / 1000:.0f} kB")


def main(picture: Path = PICTURE, particles: int = 40_000, cells: int = 600) -> None:
    """All three, printed and drawn."""
    print("1. the process that wears data away (VP); distances are from 0 to 2")
    line = Grid(6.0, cells)
    first = wearing(line, particles)
    report(first)
    print("2. Langevin's equation for the score at t = 0.2, on a line and in the plane")
    second = relaxing(LINE, line, particles, (0.05, 0.3, 6.0), 0.005)
    plane = relaxing(PLANE, Grid(4.0, cells // 4, 2), particles, (6.0,), 0.05)
    report(second)
    report(plane, bins=25)
    print("3. denoising against score matching at t = 0.2: the difference is d/sigma² - E‖score‖²")
    compare(LINE, 0.2)
    save(picture, (first, second), plane[0])


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
