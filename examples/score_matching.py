"""Training a denoiser is score matching (item J3): the two losses differ by a constant that no score can change.

    E‖s(xt) + eps/sigma‖² = E‖s(xt) - grad log p_t(xt)‖² + d/sigma² - E‖grad log p_t‖²

(Vincent 2011, doi:10.1162/NECO_a_00142), and the left side is the loss of the noise, ‖eps_hat - eps‖²/sigma² for
s = -eps_hat/sigma. So both have the same gradients by the parameters of s, and the same minimum.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ebbtide.denoisers import MixtureOracle


def losses(of: Callable[[Tensor], Tensor], oracle: MixtureOracle, t: float, nodes: int = 120) -> tuple[float, float]:
    """(E‖s(xt) + eps/sigma‖², E‖s(xt) - grad log p_t(xt)‖²) of a score s on a line, by Gauss-Hermite quadrature.

    The first is the loss of denoising, over data and noise; the second is that of matching the true score.
    """
    time = torch.tensor(t, dtype=torch.float64)
    level = oracle.corruption.level(time)
    nodes_, weights = (torch.from_numpy(values) for values in np.polynomial.hermite_e.hermegauss(nodes))
    weights = weights / weights.sum()
    denoising = matching = 0.0
    for share, component in zip(oracle.weights, oracle.components, strict=True):
        x0 = component.mean + component.matrix[0, 0].sqrt() * nodes_[:, None]
        xt = (level.alpha * x0 + level.sigma * nodes_).reshape(-1, 1)
        weight = share * (weights[:, None] * weights).reshape(-1, 1)
        eps = nodes_.expand(nodes, nodes).reshape(-1, 1)
        true = oracle(xt, time.expand(len(xt))).score
        denoising += float((weight * (of(xt) + eps / level.sigma).square()).sum())
        matching += float((weight * (of(xt) - true).square()).sum())
    return denoising, matching


def compare(oracle: MixtureOracle, t: float) -> None:
    """Both losses of the true score and of others, printed: their difference is one number."""
    time = torch.tensor(t, dtype=torch.float64)
    scores: dict[str, Callable[[Tensor], Tensor]] = {
        "the true score": lambda x: oracle(x, time.expand(len(x))).score,
        "-x": lambda x: -x,
        "sin 3x": lambda x: torch.sin(3 * x),
        "0": torch.zeros_like,
    }
    for name, one in scores.items():
        denoising, matching = losses(one, oracle, t)
        gap = denoising - matching
        print(f"   {name:<15} denoising {denoising:10.6f}   matching {matching:10.6f}   difference {gap:.10f}")
