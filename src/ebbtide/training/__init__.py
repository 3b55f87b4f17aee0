"""The loop and what keeps it safe. It knows only losses = objective(network, batch, ...): any model trains with it."""

from ebbtide.training.fit import FitSettings, Trainee, Update, fit

__all__ = ["FitSettings", "Trainee", "Update", "fit"]
