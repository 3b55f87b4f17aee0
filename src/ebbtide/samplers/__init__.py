"""From noise to data: one loop, many steps, all asking only for a denoiser."""

from ebbtide.samplers.bridge import Ancestral, Ddim
from ebbtide.samplers.loop import Moved, Sampler, SampleStep, final, generate, sample
from ebbtide.samplers.restore import restore

__all__ = ["Ancestral", "Ddim", "Moved", "SampleStep", "Sampler", "final", "generate", "restore", "sample"]
