"""From noise to data: one loop, many steps, all asking only for a denoiser."""

from ebbtide.samplers.adaptive import Adaptive
from ebbtide.samplers.bridge import Ancestral, Ddim
from ebbtide.samplers.cold import ColdStep, Previous
from ebbtide.samplers.counted import Counted
from ebbtide.samplers.edm import Heun
from ebbtide.samplers.exponential import Multistep, SingleStep
from ebbtide.samplers.flow import Adams, RungeKutta
from ebbtide.samplers.langevin import Corrector, Langevin, PredictorCorrector
from ebbtide.samplers.loop import Moved, Sampler, SampleStep, final, generate, sample, settled
from ebbtide.samplers.multistep import DpmSolver2M
from ebbtide.samplers.named import SAMPLERS, sampler
from ebbtide.samplers.renoise import Renoise, strided_grid
from ebbtide.samplers.restore import restore
from ebbtide.samplers.started import Started
from ebbtide.samplers.stochastic import EulerMaruyama, SdeDpmSolver2M, StochasticHeun
from ebbtide.samplers.tableaus import EULER, HEUN, HEUN3, KUTTA3, MIDPOINT, RK4, TABLEAUS, Tableau
from ebbtide.samplers.unipc import UniPC

__all__ = [
    "EULER",
    "HEUN",
    "HEUN3",
    "KUTTA3",
    "MIDPOINT",
    "RK4",
    "SAMPLERS",
    "TABLEAUS",
    "Adams",
    "Adaptive",
    "Ancestral",
    "ColdStep",
    "Corrector",
    "Counted",
    "Ddim",
    "DpmSolver2M",
    "EulerMaruyama",
    "Heun",
    "Langevin",
    "Moved",
    "Multistep",
    "PredictorCorrector",
    "Previous",
    "Renoise",
    "RungeKutta",
    "SampleStep",
    "Sampler",
    "SdeDpmSolver2M",
    "SingleStep",
    "Started",
    "StochasticHeun",
    "Tableau",
    "UniPC",
    "final",
    "generate",
    "restore",
    "sample",
    "sampler",
    "settled",
    "strided_grid",
]
