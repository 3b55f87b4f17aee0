"""Every sampler by name: the part itself, its order, what a step costs, whether it is random."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from ebbtide.errors import near_misses, require
from ebbtide.samplers.adaptive import Adaptive
from ebbtide.samplers.bridge import Ancestral, Ddim
from ebbtide.samplers.cold import ColdStep, Previous
from ebbtide.samplers.edm import MOST_CHURN, Heun
from ebbtide.samplers.exponential import Multistep, SingleStep
from ebbtide.samplers.flow import Adams, RungeKutta
from ebbtide.samplers.langevin import Langevin, PredictorCorrector
from ebbtide.samplers.loop import Sampler
from ebbtide.samplers.multistep import DpmSolver2M
from ebbtide.samplers.renoise import Renoise
from ebbtide.samplers.stochastic import EulerMaruyama, SdeDpmSolver2M, StochasticHeun
from ebbtide.samplers.tableaus import HEUN, MIDPOINT, RK4
from ebbtide.samplers.unipc import UniPC

Serves = Literal["gaussian", "any", "degradation", "previous"]


@dataclass(frozen=True, kw_only=True)
class About:
    """part: the sampler with its usual options. order: of the error in a step's length, "weak" of means over samples,
    "none" where more steps alone do not lead to the law of the data (`pc` keeps the error of its Langevin steps).
    evaluations: of the denoiser a step, 0 where the sampler decides. stochastic: noise is added on the way. serves:
    denoisers of Gaussian noise, of any corruption, of a degradation, or networks that give the latent of one step
    before."""

    part: Any
    order: str
    evaluations: int
    about: str
    source: str
    stochastic: bool = False
    serves: Serves = "gaussian"

    @property
    def options(self) -> tuple[str, ...]:
        """The names of what can be chosen about it."""
        return tuple(field.name for field in fields(self.part))

    @property
    def eta(self) -> float | None:
        """How much noise it adds where nothing is said; None: it has no eta."""
        return self.part.eta if "eta" in self.options else None


SAMPLERS: dict[str, About] = {
    "dpm2m": About(
        part=DpmSolver2M(),
        order="2",
        evaluations=1,
        about="the last two estimates of x0; the default",
        source="DPM-Solver++ 2M, Lu et al. 2022, arXiv:2211.01095",
    ),
    "dpm3m": About(
        part=Multistep(3),
        order="2 to 3",
        evaluations=1,
        about="the last three, integrated exactly",
        source="DPM-Solver++ 3M, arXiv:2211.01095",
    ),
    "unipc": About(
        part=UniPC(2),
        order="3",
        evaluations=1,
        about="a predictor of order 2, corrected by the next estimate",
        source="UniPC, Zhao et al. 2023, arXiv:2302.04867",
    ),
    "adams": About(
        part=Adams(4),
        order="2 to 4",
        evaluations=1,
        about="the last four slopes over sigma/alpha",
        source="Adams-Bashforth; PNDM, Liu et al. 2022, arXiv:2202.09778",
    ),
    "ddim": About(
        part=Ddim(),
        order="1",
        evaluations=1,
        about="the simplest; eta adds noise, up to ancestral's",
        source="Song et al. 2021, arXiv:2010.02502",
    ),
    "heun": About(
        part=RungeKutta(HEUN),
        order="2",
        evaluations=2,
        about="both ends of each step",
        source="Karras et al. 2022, arXiv:2206.00364",
    ),
    "midpoint": About(
        part=RungeKutta(MIDPOINT),
        order="2",
        evaluations=2,
        about="the middle of each step in sigma/alpha",
        source="Runge 1895",
    ),
    "dpm2s": About(
        part=SingleStep(2),
        order="2",
        evaluations=2,
        about="the middle of each step in log-SNR, no memory",
        source="DPM-Solver++ 2S, arXiv:2211.01095",
    ),
    "dpm3s": About(
        part=SingleStep(3),
        order="3",
        evaluations=3,
        about="two points within each step, no memory",
        source="DPM-Solver++ 3S, arXiv:2211.01095",
    ),
    "rk4": About(
        part=RungeKutta(RK4),
        order="4",
        evaluations=4,
        about="the classic",
        source="Kutta 1901",
    ),
    "adaptive": About(
        part=Adaptive(),
        order="5",
        evaluations=0,
        about="as many evaluations as an error of 1e-4 takes",
        source="Dormand & Prince 1980, by torchdiffeq",
    ),
    "ancestral": About(
        part=Ancestral(),
        order="1 weak",
        evaluations=1,
        about="the decoder of the lectures, step by step",
        source="Ho et al. 2020, arXiv:2006.11239",
        stochastic=True,
    ),
    "euler-maruyama": About(
        part=EulerMaruyama(),
        order="1",
        evaluations=1,
        about="the reverse SDE; eta from the ODE (0) to it (1)",
        source="Song et al. 2021, arXiv:2011.13456",
        stochastic=True,
    ),
    "sde-dpm2m": About(
        part=SdeDpmSolver2M(),
        order="2 weak",
        evaluations=1,
        about="dpm2m for the reverse SDE",
        source="SDE-DPM-Solver++ 2M, arXiv:2211.01095",
        stochastic=True,
    ),
    "sde-heun": About(
        part=StochasticHeun(),
        order="2 weak",
        evaluations=2,
        about="Heun's step for the reverse SDE",
        source="Kloeden & Platen 1992",
        stochastic=True,
    ),
    "edm": About(
        part=Heun(churn=MOST_CHURN),
        order="2 weak",
        evaluations=2,
        about="a little noise added before each step of Heun's",
        source="Karras et al. 2022, arXiv:2206.00364, Algorithm 2",
        stochastic=True,
    ),
    "renoise": About(
        part=Renoise(),
        order="none",
        evaluations=1,
        about="denoise fully, noise again a little less: too narrow a law",
        source="lectures (G3)",
        stochastic=True,
        serves="any",
    ),
    "langevin": About(
        part=Langevin(steps=5),
        order="none",
        evaluations=5,
        about="annealed Langevin dynamics: wants many levels",
        source="Song & Ermon 2019, arXiv:1907.05600",
        stochastic=True,
    ),
    "pc": About(
        part=PredictorCorrector(DpmSolver2M(), Langevin()),
        order="none",
        evaluations=2,
        about="dpm2m, and a step of Langevin dynamics at each level, whose error stays",
        source="Song et al. 2021, arXiv:2011.13456",
        stochastic=True,
    ),
    "cold": About(
        part=ColdStep(),
        order="none",
        evaluations=1,
        about="of degradations: gives back what the restored picture would have lost",
        source="Bansal et al. 2022, arXiv:2208.09392, Algorithm 2",
        serves="degradation",
    ),
    "previous": About(
        part=Previous(),
        order="none",
        evaluations=1,
        about="of networks that give the latent of one step before, in all T steps",
        source="lectures (G2)",
        serves="previous",
    ),
}
"""In the order in which `ebbtide samplers` lists them."""


def sampler(name: str, **options: Any) -> Sampler:
    """One of SAMPLERS, with options of its own in place of the usual ones: sampler("ddim", eta=0.5).

    Raises EbbtideError for a name or an option that there is not, with what there is.
    """
    require(
        name in SAMPLERS,
        f"there is no sampler {name!r}: expected one of {', '.join(SAMPLERS)}.{near_misses(name, list(SAMPLERS))}",
    )
    about = SAMPLERS[name]
    unknown = [option for option in options if option not in about.options]
    require(
        not unknown,
        f"the option {', '.join(unknown)} came for the sampler {name}, which has "
        f"{', '.join(about.options) or 'no options'}",
    )
    chosen: Sampler = replace(about.part, **options)
    return chosen
