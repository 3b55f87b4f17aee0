"""Sampling where nothing random is added on the way: items G2 and G4 of docs/lectures.md.

    G2   xs = f(xt, t), s = t - 1/T                the network says what was there one step before (DLVU lecture 11)
    G4   xs = xt - D(x0_hat, t) + D(x0_hat, s)     Bansal et al. 2022, arXiv:2208.09392, Algorithm 2

Their Algorithm 1, xs = D(x0_hat, s), is `Renoise` with a degradation that has been settled.

For D linear in t, D(x, t) = x + t e with e the same for all x, G4 returns x0 whatever the restorer says:
xs = x0 + t e - t e + s e = x0 + s e. Algorithm 1 returns the restorer's last guess, with its error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from ebbtide.conditions import Condition
from ebbtide.corruptions import ColdCorruption
from ebbtide.denoisers.estimate import Denoiser
from ebbtide.denoisers.restoring import PreviousDenoiser
from ebbtide.errors import require
from ebbtide.randomness import Randomness
from ebbtide.samplers.loop import Moved


@dataclass(frozen=True)
class ColdStep:
    """G4: what the degradation takes from the restored example between s and t is given back."""

    def __call__(
        self,
        denoiser: Denoiser,
        xt: Float[Tensor, "batch *event"],
        t: Float[Tensor, " batch"],
        s: Float[Tensor, " batch"],
        condition: Condition | None,
        generator: Randomness,
        history: Any,
    ) -> Moved:
        corruption = denoiser.corruption
        require(
            isinstance(corruption, ColdCorruption) and corruption.drawn is not None,
            f"{type(corruption).__name__} came, whose every draw is another: this sampler wants a degradation whose "
            "chance is settled (samplers.settled), others take renoise",
        )
        x0 = denoiser(xt, t, condition).x0
        at_t, at_s = (corruption.corrupt(x0, time, generator).xt for time in (t, s))
        return Moved(xt - at_t + at_s, x0)


@dataclass(frozen=True)
class Previous:
    """G2: the network's own word for the latent of one step before; the grid must take single steps."""

    def __call__(
        self,
        denoiser: PreviousDenoiser,
        xt: Float[Tensor, "batch *event"],
        t: Float[Tensor, " batch"],
        s: Float[Tensor, " batch"],
        condition: Condition | None,
        generator: Randomness,
        history: Any,
    ) -> Moved:
        steps = denoiser.corruption.steps
        single = steps is not None and bool(((t - s).double() * steps).round().eq(1).all())
        require(single, f"a step from t={float(t[0]):g} to {float(s[0]):g} came, expected single steps of 1/{steps}")
        previous = denoiser(xt, t, condition).previous
        return Moved(previous, previous)
