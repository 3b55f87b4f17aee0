"""What was there: Denoiser (xt, t, condition) -> Estimate, whether a network, an oracle or a wrapper around either."""

from ebbtide.denoisers.decoder import VARIANCES, Variance, decode, decode_exactly
from ebbtide.denoisers.estimate import Denoiser, Estimate, GaussianDenoiser, GaussianEstimate, VarianceEstimate
from ebbtide.denoisers.network import NetworkDenoiser, VarianceDenoiser
from ebbtide.denoisers.oracles import FiniteOracle, GaussianOracle, MixtureOracle
from ebbtide.denoisers.restoring import (
    Around,
    PlainEstimate,
    PreviousDenoiser,
    PreviousEstimate,
    RestoringDenoiser,
    Values,
)
from ebbtide.denoisers.wiener import LinearDenoiser

__all__ = [
    "VARIANCES",
    "Around",
    "Denoiser",
    "Estimate",
    "FiniteOracle",
    "GaussianDenoiser",
    "GaussianEstimate",
    "GaussianOracle",
    "LinearDenoiser",
    "MixtureOracle",
    "NetworkDenoiser",
    "PlainEstimate",
    "PreviousDenoiser",
    "PreviousEstimate",
    "RestoringDenoiser",
    "Values",
    "Variance",
    "VarianceDenoiser",
    "VarianceEstimate",
    "decode",
    "decode_exactly",
]
