"""What was there: Denoiser (xt, t, condition) -> Estimate, whether a network, an oracle or a wrapper around either."""

from ebbtide.denoisers.estimate import Denoiser, Estimate, GaussianDenoiser, GaussianEstimate
from ebbtide.denoisers.network import NetworkDenoiser
from ebbtide.denoisers.oracles import FiniteOracle, GaussianOracle, MixtureOracle

__all__ = [
    "Denoiser",
    "Estimate",
    "FiniteOracle",
    "GaussianDenoiser",
    "GaussianEstimate",
    "GaussianOracle",
    "MixtureOracle",
    "NetworkDenoiser",
]
