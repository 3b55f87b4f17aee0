"""Where sampling begins if no formula says what is left at t = 1: a Gaussian mixture fitted to it.

As Bansal et al. (2022, arXiv:2208.09392, section 5.2) do for blur, where the mean colours are left; here in the few
directions in which fully degraded pictures differ (principal components), so that it serves any degradation. A little
noise breaks the symmetry of a picture that is the same everywhere: from it a network that never draws anything can
still choose.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ebbtide.errors import require
from ebbtide.randomness import Randomness, normal, uniform
from ebbtide.tensors import Layout, check_tensors

DIRECTIONS = 64
"""Most directions that are kept."""
EXPLAINED = 0.999
"""Share of the variance that they should hold."""
MOST_FITTED, MOST_NUMBERS = 20_000, 40_000_000
"""Examples that are looked at, and numbers in all of them."""


def examples_for(numbers: int) -> int:
    """How many examples of so many numbers are looked at."""
    return min(MOST_FITTED, MOST_NUMBERS // numbers)


@dataclass(frozen=True)
class Start:
    """x1 = centre + (mean_k + cholesky_k z) basis + spread eps, component k with its weight; events are flattened."""

    weights: Float[Tensor, " components"]
    means: Float[Tensor, "components directions"]
    cholesky: Float[Tensor, "components directions directions"]
    basis: Float[Tensor, "directions numbers"]
    centre: Float[Tensor, " numbers"]
    spread: Float[Tensor, ""]

    def draw(self, shape: Sequence[int], generator: Randomness) -> Float[Tensor, "batch *event"]:
        """Samples of this shape, float32."""
        numbers = math.prod(shape[1:])
        require(
            numbers == len(self.centre),
            f"samples of {numbers} numbers were asked of a start fitted to examples of {len(self.centre)}",
        )
        batch, directions = shape[0], self.means.shape[1]
        chosen = uniform((batch, 1), generator, dtype=torch.float64)
        component = (chosen > self.weights.double().cumsum(0)[:-1]).sum(1)
        z = normal((batch, directions), generator)
        place = self.means[component] + (self.cholesky[component] @ z.unsqueeze(-1)).squeeze(-1)
        x = self.centre + place @ self.basis + self.spread * normal((batch, numbers), generator)
        return x.reshape(tuple(shape))

    def tensors(self) -> dict[str, Tensor]:
        """All of it, for a file."""
        return {name: getattr(self, name).contiguous() for name in _NAMES}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], numbers: int) -> Start:
        """Back from a file's tensors, for examples of so many numbers; raises EbbtideError if they are no start."""
        components, directions = (
            len(tensors[name]) if name in tensors and tensors[name].ndim else 0 for name in ("weights", "basis")
        )
        check_tensors(tensors, _layout(components, directions, numbers))
        weights, spread = tensors["weights"].double(), float(tensors["spread"])
        law = bool((weights >= 0).all()) and abs(float(weights.sum()) - 1) < 1e-3
        require(law, f"its weights sum to {float(weights.sum()):g}, expected none below 0 and 1 in all")
        require(spread >= 0, f"its spread is {spread:g}, expected at least 0")
        return cls(**{name: tensors[name] for name in _NAMES})


_NAMES = tuple(Start.__dataclass_fields__)


def _layout(components: int, directions: int, numbers: int) -> Layout:
    """What a start of so many components in so many directions is made of."""
    shapes = {
        "weights": (components,),
        "means": (components, directions),
        "cholesky": (components, directions, directions),
        "basis": (directions, numbers),
        "centre": (numbers,),
        "spread": (),
    }
    return {name: (torch.float32, shape) for name, shape in shapes.items()}


def fit_start(
    x1: Float[Tensor, "examples *event"], *, components: int = 8, spread: float = 0.002, seed: int = 0
) -> Start:
    """The mixture of x1, fully degraded examples. spread: the noise's standard deviation, in the data's units."""
    from sklearn.decomposition import PCA
    from sklearn.mixture import GaussianMixture

    require(len(x1) >= 2, f"{len(x1)} examples came to fit a start to, expected at least 2")
    require(components >= 1, f"components={components} came, expected at least 1")
    require(spread >= 0, f"spread={spread} came, expected at least 0")
    rows = x1[: examples_for(x1[0].numel())].double().flatten(1).numpy()
    found = PCA(min(DIRECTIONS, *rows.shape, len(rows) - 1), random_state=seed).fit(rows)
    share = found.explained_variance_.cumsum() / max(rows.var(0, ddof=1).sum(), 1e-300)
    kept = min(int((share < EXPLAINED).sum()) + 1, len(share))
    basis = found.components_[:kept]
    places = (rows - found.mean_) @ basis.T
    count = min(components, len(np.unique(places.round(6), axis=0)), max(1, len(places) // (4 * kept)))
    least = 1e-8 + 1e-6 * float(found.explained_variance_[0])
    mixture = GaussianMixture(count, reg_covar=least, random_state=seed).fit(places)
    return Start(
        weights=torch.from_numpy(mixture.weights_).float(),
        means=torch.from_numpy(mixture.means_).float(),
        cholesky=torch.linalg.cholesky(torch.from_numpy(mixture.covariances_)).float(),
        basis=torch.from_numpy(basis).float(),
        centre=torch.from_numpy(found.mean_).float(),
        spread=torch.tensor(spread),
    )
