"""How data is worn away: Gaussian noise, pixels set at random, and degradations without any noise. Items C1-C7."""

from ebbtide.corruptions.cold import ColdCorruption
from ebbtide.corruptions.corruption import Corrupted, Corruption, Settling, Stepwise
from ebbtide.corruptions.gaussian import GaussianCorruption
from ebbtide.corruptions.naive import CoinFlips, PixelByPixel
from ebbtide.corruptions.start import Start, fit_start

__all__ = [
    "CoinFlips",
    "ColdCorruption",
    "Corrupted",
    "Corruption",
    "GaussianCorruption",
    "PixelByPixel",
    "Settling",
    "Start",
    "Stepwise",
    "fit_start",
]
