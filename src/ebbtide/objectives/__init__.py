"""What training minimises: one loss an example, whatever the error and its weight (items E1-E8, E12, D7, H1)."""

from ebbtide.objectives.denoising import DenoisingObjective
from ebbtide.objectives.gradients import GradientMoments, gradient_moments
from ebbtide.objectives.objective import GaussianObjective, Losses, Objective, ReadObjective
from ebbtide.objectives.restoring import PreviousObjective, RestoringObjective
from ebbtide.objectives.steps import StepObjective
from ebbtide.objectives.variance import VarianceObjective
from ebbtide.objectives.weights import BoundWeight, MinSnr, Weight

__all__ = [
    "BoundWeight",
    "DenoisingObjective",
    "GaussianObjective",
    "GradientMoments",
    "Losses",
    "MinSnr",
    "Objective",
    "PreviousObjective",
    "ReadObjective",
    "RestoringObjective",
    "StepObjective",
    "VarianceObjective",
    "Weight",
    "gradient_moments",
]
