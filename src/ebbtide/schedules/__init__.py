"""Noise schedules: t in [0, 1] -> Level, from data (t = 0) to noise (t = 1). Items B1-B4 of docs/lectures.md.

A table has T steps and knows the times l/T only; a continuous schedule knows every t. Both start at alpha = 1,
sigma = 0 exactly, so nothing is left over when sampling ends at t = 0.

Ho et al. and the lectures name a table by its steps' variances; the translation, for l = 1..T:

    beta_l                          variance added at step l
    gamma_l = sqrt(1 - beta_l)      shrinkage of the sample at step l
    abar_l  = prod_{i<=l} (1 - beta_i) = alpha_l²,  1 - abar_l = sigma_l²,  log-SNR λ_l = log abar_l / (1 - abar_l)

Between them we go through log abar, which keeps all digits at both ends (abar -> 1 and abar -> 0).
"""

from ebbtide.schedules.continuous import (
    CosineSchedule,
    FunctionSchedule,
    InterpolatedSchedule,
    NormalSchedule,
    SigmoidSchedule,
)
from ebbtide.schedules.processes import Process, Rates, SubVpSchedule, VeSchedule, VpSchedule
from ebbtide.schedules.schedule import LAST_LOG_SNR, Schedule
from ebbtide.schedules.tables import (
    TableSchedule,
    betas_of_level,
    constant_schedule,
    discretised,
    lecture_schedule,
    level_of_betas,
    level_of_log_abar,
    linear_schedule,
    log_abar_of_level,
    steps_to_forget,
    table,
)

__all__ = [
    "LAST_LOG_SNR",
    "CosineSchedule",
    "FunctionSchedule",
    "InterpolatedSchedule",
    "NormalSchedule",
    "Process",
    "Rates",
    "Schedule",
    "SigmoidSchedule",
    "SubVpSchedule",
    "TableSchedule",
    "VeSchedule",
    "VpSchedule",
    "betas_of_level",
    "constant_schedule",
    "discretised",
    "lecture_schedule",
    "level_of_betas",
    "level_of_log_abar",
    "linear_schedule",
    "log_abar_of_level",
    "steps_to_forget",
    "table",
]
