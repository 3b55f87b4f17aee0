"""How hard each noise level pulls at a network: scale and noise of a loss's gradient, level by level (item E12).

Two losses with the same minimiser may differ in two ways. A weight multiplies gradient and noise alike: it gives each
level a learning rate of its own, the lectures' reason for the unweighted loss of the noise (E4, E6). A target that is
drawn and not expected (E1, E6) adds noise only, and lowers the ratio of the two.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from ebbtide.conditions import Condition
from ebbtide.errors import require
from ebbtide.objectives.objective import GaussianObjective
from ebbtide.waist import check_some


@dataclass(frozen=True, kw_only=True)
class GradientMoments:
    """Mean and covariance of the gradient g of one example's loss by all parameters, at each time.

    loss: the mean loss. norm: ‖E g‖. noise: sqrt(tr Cov g); a batch of n examples has noise / √n.
    """

    t: Float64[Tensor, " levels"]
    log_snr: Float64[Tensor, " levels"]
    loss: Float64[Tensor, " levels"]
    norm: Float64[Tensor, " levels"]
    noise: Float64[Tensor, " levels"]

    @property
    def signal_to_noise(self) -> Float64[Tensor, " levels"]:
        """norm / noise: what a constant weight on a level does not change."""
        return self.norm / self.noise


def gradient_moments(
    objective: GaussianObjective,
    network: nn.Module,
    x0: Float[Tensor, "examples *event"],
    condition: Condition,
    times: Float64[Tensor, " levels"],
    generator: torch.Generator,
    *,
    draws: int = 8,
    batch: int = 16,
) -> GradientMoments:
    """The moments over examples drawn from x0 (with replacement) and over their noise, for the network as it is.

    From K = draws gradients g_k of the mean loss of n = batch examples, with ḡ their mean:

        tr Cov g = n Σ ‖g_k - ḡ‖² / (K - 1)        ‖E g‖² = ‖ḡ‖² - tr Cov g / (n K), or 0 where that is negative

    both without bias before the root. times: in (0, 1], those that the schedule knows. Dropout acts if the network is
    in training mode. Gradients that the parameters hold are left alone.
    """
    check_some(x0)
    require(draws >= 2 and batch >= 1, f"draws={draws}, batch={batch} came, expected at least 2 and 1")
    inside = bool(((times > 0) & (times <= 1)).all())
    require(inside, f"times from {times.min():g} to {times.max():g} came, expected more than 0 and at most 1")
    rows = []
    for t in times.tolist():
        single = objective.at(t)
        loss, spread, mean = 0.0, 0.0, torch.zeros(())
        for count in range(1, draws + 1):
            pick = torch.randint(len(x0), (batch,), generator=generator).to(x0.device)
            value = single(network, x0[pick], condition[pick], generator).values.mean()
            # Welford's recursion: no two large numbers are subtracted
            delta = _gradient(value, network) - mean
            mean = mean + delta / count
            spread += float(delta.square().sum()) * (count - 1) / count
            loss += float(value.detach()) / draws
        trace = batch * spread / (draws - 1)
        signal = float(mean.square().sum()) - trace / (batch * draws)
        rows.append((loss, max(signal, 0.0), trace))
    found = torch.tensor(rows, dtype=torch.float64).reshape(-1, 3).mT
    log_snr = objective.corruption.level(times).log_snr
    return GradientMoments(t=times, log_snr=log_snr, loss=found[0], norm=found[1].sqrt(), noise=found[2].sqrt())


def _gradient(value: Tensor, network: nn.Module) -> Float64[Tensor, " parameters"]:
    """The gradient by all parameters that are trained, as one vector; 0 for those that the value does not depend on."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(value, parameters, materialize_grads=True)
    return torch.cat([gradient.flatten().double() for gradient in gradients])
