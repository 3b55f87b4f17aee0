"""How near a set of made examples is to a set of real ones, each number with its standard error.

    Fréchet distance       frechet, frechet_error      of two MomentsSum(d).moments()
    kernel distance        kernel_distance             unbiased, so that it needs no large sets
    precision, recall      precision_recall            what is made is real; what is real is made
    inception score        ClassShares                 from the probabilities of a classifier
    copies                 nearest, copying            is a sample nearer to the training set than a held-out example?
    likeness               psnr, ssim                  of pictures to their originals, one by one

Sets are rows of numbers (n, d): features of some network, or pixels; which ones is the caller's choice and belongs to
the name of every number. NumPy only, in float64.
"""

from ebbtide.evaluation.metrics.copies import Copying, Nearest, copying, nearest
from ebbtide.evaluation.metrics.frechet import Influences, frechet, frechet_error, influences
from ebbtide.evaluation.metrics.kernel import kernel_distance
from ebbtide.evaluation.metrics.likeness import has_ssim, psnr, ssim
from ebbtide.evaluation.metrics.manifold import PrecisionRecall, precision_recall
from ebbtide.evaluation.metrics.measured import Measured
from ebbtide.evaluation.metrics.score import ClassShares
from ebbtide.moments import Moments, MomentsSum

__all__ = [
    "ClassShares",
    "Copying",
    "Influences",
    "Measured",
    "Moments",
    "MomentsSum",
    "Nearest",
    "PrecisionRecall",
    "copying",
    "frechet",
    "frechet_error",
    "has_ssim",
    "influences",
    "kernel_distance",
    "nearest",
    "precision_recall",
    "psnr",
    "ssim",
]
