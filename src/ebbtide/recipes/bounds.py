"""Between which numbers every number of a recipe must lie: beyond them training could only end in NaN, or in no memory.

They are wide: what is refused is what nobody can mean. nan lies between no numbers.
"""

from __future__ import annotations

from typing import Any

from ebbtide.errors import require
from ebbtide.json_files import shown

COUNT = 2**53
"""The largest whole number that a float holds exactly, and more than anybody waits for."""
SHARE = (0, 1)
SMALLEST = 1e-12

BOUNDS: dict[str, tuple[float, float]] = {
    "data.size": (1, 8192),
    "data.limit": (1, COUNT),
    "data.held_out": (0, 0.99),
    "data.low": (-1e4, 1e4),
    "data.high": (-1e4, 1e4),
    "corruption.steps": (1, 10**6),
    "corruption.share": SHARE,
    "schedule.steps": (1, 10**6),
    "schedule.beta": (1e-4, 1),
    "schedule.betas": SHARE,
    "schedule.mean": (-10, 20),
    "schedule.std": (0.1, 20),
    "network.patch": (1, 1024),
    "network.channels": (4, 8192),
    "network.multipliers": (1, 64),
    "network.blocks": (1, 64),
    "network.heads": (1, 1024),
    "network.width": (2, 65_536),
    "network.depth": (1, 256),
    "network.dropout": (0, 0.99),
    "objective.drop_labels": SHARE,
    "training.updates": (1, COUNT),
    "training.minutes": (SMALLEST, 1e7),
    "training.batch": (1, 10**6),
    "training.accumulate": (1, 10**6),
    "training.rate": (SMALLEST, 1),
    "training.weight_decay": (0, 100),
    "training.warmup": (0, COUNT),
    "training.decay": SHARE,
    "training.clip": (SMALLEST, 1e9),
    "training.half_life": (0, COUNT),
    "training.seed": (0, 2**63 - 1),
    "training.checkpoint_minutes": (SMALLEST, 1e7),
    "training.checkpoint_updates": (1, COUNT),
    "training.keep": (1, COUNT),
    "training.pictures": (0, 100_000),
    "sampling.steps": (1, 10**6),
    "sampling.eta": SHARE,
    "sampling.threshold": SHARE,
}
"""Of every field that is a number, or a list of them: the least and the most."""


def check_bounds(recipe: Any) -> None:
    """That every number of the recipe lies between its bounds; an EbbtideError names the first that does not."""
    for name, (least, most) in BOUNDS.items():
        section, field = name.split(".")
        value = getattr(getattr(recipe, section), field)
        for number in value if isinstance(value, tuple) else (value,):
            fits = number is None or least <= number <= most
            require(fits, f"{name}={shown(number)} came, expected a number from {least:g} to {most:,g}")
