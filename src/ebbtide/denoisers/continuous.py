"""A denoiser on a table, asked between the table's times."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

from ebbtide.corruptions import GaussianCorruption
from ebbtide.denoisers.estimate import GaussianDenoiser
from ebbtide.errors import EbbtideError, require
from ebbtide.levels import STEP_KINDS
from ebbtide.schedules import InterpolatedSchedule, TableSchedule


def continuous(denoiser: GaussianDenoiser) -> GaussianDenoiser:
    """The denoiser with its table's levels interpolated (InterpolatedSchedule), so that it answers at every t.

    One that knows every t is returned as it is. Raises EbbtideError for what has no meaning between a table's times.
    """
    schedule = denoiser.corruption.schedule
    if schedule.steps is None:
        return denoiser
    if not isinstance(schedule, TableSchedule):
        raise EbbtideError(f"a {type(schedule).__name__} of {schedule.steps} steps came, expected a TableSchedule")
    found = _with_corruption(denoiser, GaussianCorruption(InterpolatedSchedule(schedule)))
    if found.corruption.schedule.steps is not None:
        raise EbbtideError(
            f"a {type(denoiser).__name__} on a table came: its corruption is found in no field of a dataclass, so give "
            "it schedules.InterpolatedSchedule(table) instead"
        )
    return found


def _with_corruption(part: Any, corruption: GaussianCorruption) -> Any:
    """The same, with this corruption wherever it or a denoiser within holds one."""
    if isinstance(part, GaussianCorruption):
        return corruption
    if type(part) is tuple:  # of components; a Pair of numbers is not meant
        return tuple(_with_corruption(one, corruption) for one in part)
    if not is_dataclass(part) or isinstance(part, type) or not isinstance(part, GaussianDenoiser):
        return part
    predicts = getattr(part, "predicts", None)
    require(
        predicts not in STEP_KINDS,
        f"a network that predicts {predicts!r}, which is about a table's single steps, came: between its times one "
        "must predict x0, eps, score or v",
    )
    return replace(part, **{f.name: _with_corruption(getattr(part, f.name), corruption) for f in fields(part)})
