"""Runge-Kutta methods, each as its tableau of numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tableau:
    """An explicit Runge-Kutta method of order `order`, for dy/dn = f(n, y) over a step d.

        f_1 = f(n, y),   f_i = f(n + c_i d, y + d sum_{j < i} a_ij f_j),   y' = y + d sum_i b_i f_i

    `inner` holds the rows a_i of i = 2, 3, ...; `last` is b; every c_i is the sum of its row.
    """

    name: str
    order: int
    inner: tuple[tuple[float, ...], ...]
    last: tuple[float, ...]

    @property
    def shares(self) -> tuple[float, ...]:
        """c_2, c_3, ...: how far along the step each further slope is taken."""
        return tuple(sum(row) for row in self.inner)


EULER = Tableau("Euler", 1, (), (1.0,))
"""y + d f: of the probability-flow ODE it is DDIM."""

MIDPOINT = Tableau("midpoint", 2, ((1 / 2,),), (0.0, 1.0))

HEUN = Tableau("Heun", 2, ((1.0,),), (1 / 2, 1 / 2))
"""The trapezium, its end predicted by Euler's step."""

HEUN3 = Tableau("Heun 3", 3, ((1 / 3,), (0.0, 2 / 3)), (1 / 4, 0.0, 3 / 4))
"""Heun's method of order 3, which asks nothing at the end of the step."""

KUTTA3 = Tableau("Kutta 3", 3, ((1 / 2,), (-1.0, 2.0)), (1 / 6, 2 / 3, 1 / 6))
"""Simpson's rule."""

RK4 = Tableau("RK4", 4, ((1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0)), (1 / 6, 1 / 3, 1 / 3, 1 / 6))
"""The classic one of order 4."""

TABLEAUS = {tableau.name: tableau for tableau in (EULER, MIDPOINT, HEUN, HEUN3, KUTTA3, RK4)}

OPEN = {1: EULER, 2: MIDPOINT, 3: HEUN3, 4: HEUN3}
"""For each order, what to take where the end of a step cannot be asked.

HEUN3 is the best for 4 too: a method of order 4 in four evaluations always asks at the end (Butcher 2016, section 322).
"""
