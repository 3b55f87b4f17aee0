"""Samplers held against k-diffusion's, in float64: the same oracle, the same noise, the same levels.

    make peers
    python benchmarks/k_diffusion.py

Only its sampling.py is loaded: the rest of the package wants torchvision and more. Its sigma is our n = sigma/alpha, so
ours run on a schedule whose alpha is 1 (VeSchedule). Where theirs differ the table says why.
"""

from __future__ import annotations

import math
import sys
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

import measure
from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers import MixtureOracle
from ebbtide.samplers import (
    EULER,
    Adams,
    Ddim,
    DpmSolver2M,
    Heun,
    Multistep,
    RungeKutta,
    Sampler,
    SdeDpmSolver2M,
    SingleStep,
    final,
    sample,
)
from ebbtide.samplers.exponential import travel
from ebbtide.samplers.lagrange import exponential_moments, weights
from ebbtide.schedules import VeSchedule
from ebbtide.times import time_of

GET_IT = "k-diffusion is not installed: make peers"
STEPS, CHURN = 40, 10.0
MOST, LEAST = 20.0, 0.05
CORRUPTION = GaussianCorruption(VeSchedule(sigma_min=0.01, sigma_max=50.0))
ORACLE = MixtureOracle.spherical(
    torch.tensor([0.3, 0.7], dtype=torch.float64),
    torch.tensor([[-1.0, 0.5], [1.0, 0.0]], dtype=torch.float64),
    0.5,
    CORRUPTION,
)

Rule = Callable[[float, Sequence[float]], list[float]]


@dataclass(frozen=True)
class Pair:
    """One of theirs and the one of ours that it should be; `why` where it is not.

    to_zero: whether the last step, to no noise, is taken. rule: weights of estimates in place of our own.
    """

    theirs: str
    ours: Sampler
    options: dict[str, Any]
    why: str = ""
    to_zero: bool = True
    rule: Rule | None = None

    @property
    def names(self) -> tuple[str, str]:
        asked = ", ".join(f"{key}={value}" for key, value in self.options.items())
        tableau = f"RungeKutta({self.ours.tableau.name})" if isinstance(self.ours, RungeKutta) else ""
        ours = (tableau or str(self.ours)) + ("" if self.rule is None else ", so changed")
        return f"{self.theirs}({asked})" + ("" if self.to_zero else ", not to 0"), ours


def halved(h: float, points: Sequence[float]) -> list[float]:
    """Exact weights, but the second difference counts half."""
    first, *others = exponential_moments(h, len(points))
    return weights(points, [first, *others[:1], *(moment / 2 for moment in others[1:])])


def newest(h: float, points: Sequence[float]) -> list[float]:
    """All the weight on the last of the points."""
    return [*[0.0] * (len(points) - 1), -math.expm1(-h)]


HALF = "the second difference counts half (their phi_3 d2 should be twice that): order 2"
MIDDLE = "x0 in the middle stands for all of the step; ours takes the line through it and the first"
PAIRS = (
    Pair("sample_euler", Ddim(), {}),
    Pair("sample_euler", RungeKutta(EULER), {}),
    Pair("sample_euler_ancestral", Ddim(eta=1.0), {"eta": 1.0}),
    Pair("sample_heun", Heun(), {}),
    Pair("sample_heun", Heun(churn=CHURN / STEPS), {"s_churn": CHURN}),
    Pair("sample_lms", Adams(4), {}, to_zero=False),
    Pair("sample_lms", Adams(4), {}, "its step to 0 carries old slopes on; ours is x0"),
    Pair("sample_dpmpp_2m", DpmSolver2M(), {}),
    Pair("sample_dpmpp_2m_sde", DpmSolver2M(), {"eta": 0.0}),
    Pair("sample_dpmpp_2m_sde", Multistep(2), {"eta": 0.0, "solver_type": "heun"}),
    Pair("sample_dpmpp_2m_sde", SdeDpmSolver2M(1.0), {"eta": 1.0}),
    Pair("sample_dpmpp_2m_sde", SdeDpmSolver2M(0.5), {"eta": 0.25}),
    Pair("sample_dpmpp_3m_sde", Multistep(3), {"eta": 0.0}, HALF),
    Pair("sample_dpmpp_3m_sde", Multistep(3), {"eta": 0.0}, rule=halved),
    Pair("sample_dpmpp_2s_ancestral", SingleStep(2), {"eta": 0.0}, MIDDLE),
    Pair("sample_dpmpp_2s_ancestral", SingleStep(2), {"eta": 0.0}, rule=newest),
)


def load() -> Any:
    """k_diffusion.sampling alone, with stand-ins for what it imports and these samplers do not use."""
    try:  # by its files: as a module, k_diffusion is this script
        folder = Path(str(distribution("k-diffusion").locate_file("k_diffusion")))
    except PackageNotFoundError:
        raise SystemExit(GET_IT) from None
    package, utils = types.ModuleType("k_diffusion"), types.ModuleType("k_diffusion.utils")
    package.utils = utils  # type: ignore[attr-defined]
    utils.append_dims = lambda x, count: x.reshape(x.shape + (1,) * (count - x.ndim))  # type: ignore[attr-defined]
    sys.modules.update({"k_diffusion": package, "k_diffusion.utils": utils})
    for name in ("torchsde", "torchdiffeq"):
        if find_spec(name) is None:
            stand_in: Any = types.ModuleType(name)
            stand_in.odeint = None
            sys.modules[name] = stand_in
    found = spec_from_file_location("k_diffusion.sampling", folder / "sampling.py")
    assert found is not None
    assert found.loader is not None
    module = module_from_spec(found)
    found.loader.exec_module(module)
    return module


def denoised(x: Tensor, sigma: Tensor) -> Tensor:
    """The oracle as theirs are asked."""
    return ORACLE(x, times_of(sigma[:1]).expand(len(x))).x0


def times_of(sigma: Tensor) -> Tensor:
    return torch.where(sigma > 0, time_of(CORRUPTION.schedule, -2 * sigma.log()), 0.0)


def difference(module: Any, pair: Pair, x: Tensor, sigmas: Tensor) -> float:
    """The largest between the two ends, both given the same noise in the same order."""
    used = sigmas if pair.to_zero else sigmas[:-1]
    noise = torch.Generator().manual_seed(1)

    def drawn(*_: Any) -> Tensor:
        return torch.randn(x.shape, generator=noise, dtype=x.dtype)

    options = dict(pair.options)
    if pair.theirs not in ("sample_euler", "sample_heun", "sample_lms", "sample_dpmpp_2m"):
        options["noise_sampler"] = drawn
    with patch.object(module.torch, "randn_like", drawn):
        theirs = getattr(module, pair.theirs)(denoised, x, used, disable=True, **options)
    moved = travel if pair.rule is None else partial(travel, rule=pair.rule)
    with patch("ebbtide.samplers.exponential.travel", moved):
        ours = final(sample(ORACLE, pair.ours, times_of(used), x, torch.Generator().manual_seed(1)))
    return float((ours - theirs).abs().max())


def main() -> None:
    measure.options(__doc__)
    module = load()
    generator = torch.Generator().manual_seed(0)
    shares = torch.linspace(0, 1, STEPS, dtype=torch.float64)
    sigmas = (MOST ** (1 / 7) + shares * (LEAST ** (1 / 7) - MOST ** (1 / 7))) ** 7
    sigmas = torch.cat([sigmas, torch.zeros(1, dtype=torch.float64)])
    x = MOST * torch.randn(64, 2, generator=generator, dtype=torch.float64)
    rows, results = [], []
    for pair in PAIRS:
        (theirs, ours), off = pair.names, difference(module, pair, x, sigmas)
        rows.append((theirs, ours, f"{off:.1e}", pair.why))
        results.append({"theirs": theirs, "ours": ours, "difference": off, "why": pair.why})
    title = f"Largest difference from k-diffusion after {STEPS} steps of Karras, in float64"
    measure.show("k-diffusion", title, ("k-diffusion", "ebbtide", "largest difference", "why theirs differs"), rows)
    measure.save("k_diffusion", {"pairs": results})


if __name__ == "__main__":
    main()
