"""From noise to data: one loop, many steps, all asking only for a denoiser."""

from ebbtide.samplers.bridge import Ancestral, Ddim
from ebbtide.samplers.loop import Moved, Sampler, SampleStep, final, generate, sample
from ebbtide.samplers.multistep import DpmSolver2M
from ebbtide.samplers.restore import restore

__all__ = [
    "Ancestral",
    "Ddim",
    "DpmSolver2M",
    "Moved",
    "SampleStep",
    "Sampler",
    "final",
    "generate",
    "restore",
    "sample",
]
