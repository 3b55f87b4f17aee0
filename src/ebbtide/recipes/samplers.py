"""Every sampler by name: how it is made from a recipe, its order, what a step costs, whether it is random."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ebbtide.corruptions import ColdCorruption, Corruption, GaussianCorruption
from ebbtide.errors import require
from ebbtide.recipes.recipe import SamplerName, SamplingRecipe
from ebbtide.samplers import (
    HEUN,
    MIDPOINT,
    RK4,
    Adams,
    Adaptive,
    Ancestral,
    ColdStep,
    Ddim,
    DpmSolver2M,
    EulerMaruyama,
    Heun,
    Langevin,
    Multistep,
    PredictorCorrector,
    Previous,
    Renoise,
    RungeKutta,
    Sampler,
    SdeDpmSolver2M,
    SingleStep,
    StochasticHeun,
    UniPC,
)

CHURN = 40.0
"""Noise that EDM's stochastic sampler adds over the whole way (Karras et al. use 0 to 80)."""


Serves = Literal["gaussian", "any", "degradation", "previous"]


@dataclass(frozen=True, kw_only=True)
class About:
    """order: of the error in a step's length, "weak" of means over samples. evaluations: of the denoiser a step, 0
    where the sampler decides. stochastic: noise is added on the way. eta: what sampling.eta is where nothing is said;
    None: it has none. serves: denoisers of Gaussian noise, of any corruption, of a degradation, or networks that give
    the latent of one step before."""

    make: Callable[[SamplingRecipe], Sampler]
    order: str
    evaluations: int
    about: str
    source: str
    stochastic: bool = False
    eta: float | None = None
    serves: Serves = "gaussian"


def eta_of(recipe: SamplingRecipe) -> float:
    """How much noise is added on the way."""
    usual = SAMPLERS[recipe.sampler].eta
    return (usual or 0.0) if recipe.eta is None else recipe.eta


SAMPLERS: dict[SamplerName, About] = {
    "dpm2m": About(
        make=lambda recipe: DpmSolver2M(),
        order="2",
        evaluations=1,
        about="the last two estimates of x0; the default",
        source="DPM-Solver++ 2M, Lu et al. 2022, arXiv:2211.01095",
    ),
    "dpm3m": About(
        make=lambda recipe: Multistep(3),
        order="2 to 3",
        evaluations=1,
        about="the last three, integrated exactly",
        source="DPM-Solver++ 3M, arXiv:2211.01095",
    ),
    "unipc": About(
        make=lambda recipe: UniPC(2),
        order="3",
        evaluations=1,
        about="a predictor of order 2, corrected by the next estimate",
        source="UniPC, Zhao et al. 2023, arXiv:2302.04867",
    ),
    "adams": About(
        make=lambda recipe: Adams(4),
        order="2 to 4",
        evaluations=1,
        about="the last four slopes over sigma/alpha",
        source="Adams-Bashforth; PNDM, Liu et al. 2022, arXiv:2202.09778",
    ),
    "ddim": About(
        make=lambda recipe: Ddim(eta=eta_of(recipe)),
        order="1",
        evaluations=1,
        about="the simplest; eta adds noise, up to ancestral's",
        source="Song et al. 2021, arXiv:2010.02502",
        eta=0.0,
    ),
    "heun": About(
        make=lambda recipe: RungeKutta(HEUN),
        order="2",
        evaluations=2,
        about="both ends of each step",
        source="Karras et al. 2022, arXiv:2206.00364",
    ),
    "midpoint": About(
        make=lambda recipe: RungeKutta(MIDPOINT),
        order="2",
        evaluations=2,
        about="the middle of each step in sigma/alpha",
        source="Runge 1895",
    ),
    "dpm2s": About(
        make=lambda recipe: SingleStep(2),
        order="2",
        evaluations=2,
        about="the middle of each step in log-SNR, no memory",
        source="DPM-Solver++ 2S, arXiv:2211.01095",
    ),
    "dpm3s": About(
        make=lambda recipe: SingleStep(3),
        order="3",
        evaluations=3,
        about="two points within each step, no memory",
        source="DPM-Solver++ 3S, arXiv:2211.01095",
    ),
    "rk4": About(
        make=lambda recipe: RungeKutta(RK4),
        order="4",
        evaluations=4,
        about="the classic",
        source="Kutta 1901",
    ),
    "adaptive": About(
        make=lambda recipe: Adaptive(),
        order="5",
        evaluations=0,
        about="as many evaluations as an error of 1e-4 takes",
        source="Dormand & Prince 1980, by torchdiffeq",
    ),
    "ancestral": About(
        make=lambda recipe: Ancestral(variance=recipe.variance),
        order="1 weak",
        evaluations=1,
        about="the decoder of the lectures, step by step",
        source="Ho et al. 2020, arXiv:2006.11239",
        stochastic=True,
    ),
    "euler-maruyama": About(
        make=lambda recipe: EulerMaruyama(eta_of(recipe)),
        order="1",
        evaluations=1,
        about="the reverse SDE; eta from the ODE (0) to it (1)",
        source="Song et al. 2021, arXiv:2011.13456",
        stochastic=True,
        eta=1.0,
    ),
    "sde-dpm2m": About(
        make=lambda recipe: SdeDpmSolver2M(eta_of(recipe)),
        order="2 weak",
        evaluations=1,
        about="dpm2m for the reverse SDE",
        source="SDE-DPM-Solver++ 2M, arXiv:2211.01095",
        stochastic=True,
        eta=1.0,
    ),
    "sde-heun": About(
        make=lambda recipe: StochasticHeun(eta_of(recipe)),
        order="2 weak",
        evaluations=2,
        about="Heun's step for the reverse SDE",
        source="Kloeden & Platen 1992",
        stochastic=True,
        eta=1.0,
    ),
    "edm": About(
        make=lambda recipe: Heun(churn=min(CHURN / recipe.steps, math.sqrt(2) - 1)),
        order="2",
        evaluations=2,
        about="a little noise added before each step of Heun's",
        source="Karras et al. 2022, arXiv:2206.00364, Algorithm 2",
        stochastic=True,
    ),
    "renoise": About(
        make=lambda recipe: Renoise(),
        order="none",
        evaluations=1,
        about="denoise fully, noise again a little less: too narrow a law",
        source="lectures (G3)",
        stochastic=True,
        serves="any",
    ),
    "langevin": About(
        make=lambda recipe: Langevin(steps=5),
        order="none",
        evaluations=5,
        about="annealed Langevin dynamics: wants many levels",
        source="Song & Ermon 2019, arXiv:1907.05600",
        stochastic=True,
    ),
    "pc": About(
        make=lambda recipe: PredictorCorrector(DpmSolver2M(), Langevin()),
        order="2",
        evaluations=2,
        about="dpm2m, and a step of Langevin dynamics at each level",
        source="Song et al. 2021, arXiv:2011.13456",
        stochastic=True,
    ),
    "cold": About(
        make=lambda recipe: ColdStep(),
        order="none",
        evaluations=1,
        about="of degradations: gives back what the restored picture would have lost",
        source="Bansal et al. 2022, arXiv:2208.09392, Algorithm 2",
        serves="degradation",
    ),
    "previous": About(
        make=lambda recipe: Previous(),
        order="none",
        evaluations=1,
        about="of networks that give the latent of one step before, in all T steps",
        source="lectures (G2)",
        serves="previous",
    ),
}
"""In the order in which `ebbtide samplers` lists them."""


def build_sampler(recipe: SamplingRecipe) -> Sampler:
    """One step from noise towards data."""
    return SAMPLERS[recipe.sampler].make(recipe)


def check_sampler(name: SamplerName, predicts: str, corruption: Corruption) -> None:
    """That this sampler can work with a network that predicts so, about this corruption."""
    if isinstance(corruption, GaussianCorruption):
        fits = [other for other, about in SAMPLERS.items() if about.serves in ("gaussian", "any")]
    elif predicts == "previous":
        fits = [other for other, about in SAMPLERS.items() if about.serves == "previous"]
    else:
        wanted = ("any", "degradation") if isinstance(corruption, ColdCorruption) else ("any",)
        fits = [other for other, about in SAMPLERS.items() if about.serves in wanted]
    require(
        name in fits,
        f"the sampler {name} came for {_what(corruption)} with {predicts!r} predicted: expected one of "
        f"{', '.join(fits)}",
    )


def _what(corruption: Corruption) -> str:
    if isinstance(corruption, GaussianCorruption):
        return "Gaussian noise"
    return "a degradation" if isinstance(corruption, ColdCorruption) else "pixels set at random"
