"""Optimizers: Muon for matrices, and several optimizers as one. The rest is torch.optim."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

from ebbtide.errors import require

QUINTIC = (3.4445, -4.7750, 2.0315)
"""x -> 3.4445 x - 4.7750 x³ + 2.0315 x⁵, five times over: every x of (0.005, 1] comes near 1 (Jordan et al. 2024)."""


def orthogonalised(matrices: Sequence[Float[Tensor, "rows _"]], steps: int = 5) -> list[Float[Tensor, "rows _"]]:
    """U Vᵀ of each matrix U S Vᵀ, nearly: all singular values come to 0.7 to 1.2, the directions stay.

    X <- (a + b G + c G²) X with G = X Xᵀ (Newton-Schulz). All the factors are polynomials in the first G, so they are
    iterated and multiplied as (rows, rows) matrices, of all X at once, and X itself is touched twice.
    The matrices have equally many rows, and no fewer columns.
    """
    a, b, c = QUINTIC
    scaled = [x / x.norm().clamp(min=1e-7) for x in matrices]
    gram = torch.stack([x @ x.mT for x in scaled])
    factor: Tensor | None = None
    for step in range(steps):
        now = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        now.diagonal(dim1=-2, dim2=-1).add_(a)
        factor = now if factor is None else now @ factor
        if step < steps - 1:
            gram = now @ gram @ now
    assert factor is not None
    return [one @ x for one, x in zip(factor, scaled, strict=True)]


def _flat(x: Tensor) -> Tensor:
    """(out, ...) as (out, rest); the order of `rest` is the memory's, as it does not matter to the singular values."""
    if x.ndim == 4:
        x = x.permute(0, 2, 3, 1)  # a view in channels-last memory
    return x.flatten(1)


def _unflat(x: Tensor, like: Tensor) -> Tensor:
    if like.ndim == 4:
        out, channels, height, width = like.shape
        return x.reshape(out, height, width, channels).permute(0, 3, 1, 2)
    return x.reshape(like.shape)


class Muon(Optimizer):
    """Momentum, orthogonalised before it is a step (Jordan et al. 2024, kellerjordan.github.io/posts/muon).

        m <- μ m + (1 - μ) g;   w <- (1 - η wd) w - η 0.2 √max(rows, columns) orthogonalised((1 - μ) g + μ m)

    The factor gives steps the size of AdamW's (Liu et al. 2025, arXiv:2502.16982), so one rate η serves both. Kernels
    (out, in, height, width) count as matrices (out, rest). As torch.optim.Muon, but for kernels too.
    """

    def __init__(
        self, params: Iterable[Tensor], lr: float = 1e-3, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        parameters = list(params)
        fits = all(parameter.ndim in (2, 4) for parameter in parameters)
        require(fits, "Muon is for matrices and 2-d kernels: give vectors to another optimizer")
        _check_rates(lr, weight_decay)
        require(0 <= momentum < 1, f"momentum={momentum} came, expected a number from 0 to less than 1")
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update; parameters without a gradient stay as they are."""
        assert closure is None
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if parameters:
                self._step(parameters, **{name: group[name] for name in ("lr", "momentum", "weight_decay")})

    def _step(self, parameters: list[Tensor], *, lr: float, momentum: float, weight_decay: float) -> None:
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        averages = [self.state[parameter]["momentum"] for parameter in parameters]
        torch._foreach_lerp_(averages, gradients, 1 - momentum)
        ahead = [_flat(update) for update in torch._foreach_lerp(gradients, averages, momentum)]
        wide = [x.mT if x.shape[0] > x.shape[1] else x for x in ahead]
        alike: dict[int, list[int]] = defaultdict(list)
        for index, x in enumerate(wide):
            alike[x.shape[0]].append(index)
        if weight_decay:
            torch._foreach_mul_(list[Tensor](parameters), 1 - lr * weight_decay)
        for members in alike.values():
            for index, update in zip(members, orthogonalised([wide[i].float() for i in members]), strict=True):
                parameter, size = parameters[index], 0.2 * math.sqrt(max(ahead[index].shape))
                upright = update.mT if ahead[index].shape[0] > ahead[index].shape[1] else update
                parameter.add_(_unflat(upright, parameter), alpha=-lr * size)


class Together(Optimizer):
    """Several optimizers, each with parameters of its own, as one: one state, one list of groups."""

    def __init__(self, parts: Sequence[Optimizer]) -> None:
        super().__init__([group for part in parts for group in part.param_groups], {})
        self.parts = tuple(parts)
        self._share()

    def _share(self) -> None:
        at = 0
        for part in self.parts:
            count = len(part.param_groups)
            part.state, part.param_groups = self.state, self.param_groups[at : at + count]
            at += count

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of each."""
        assert closure is None
        for part in self.parts:
            part.step()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._share()


def moments(optimizer: Optimizer) -> dict[str, Tensor] | None:
    """What the optimizer remembers of each parameter after an update, 'parameter.name', with its shape and type; None
    for optimizers other than Muon and AdamW."""
    found, index = {}, 0
    for part in optimizer.parts if isinstance(optimizer, Together) else (optimizer,):
        if not isinstance(part, Muon | torch.optim.AdamW):
            return None
        names = ("momentum",) if isinstance(part, Muon) else ("step", "exp_avg", "exp_avg_sq")
        for parameter in [parameter for group in part.param_groups for parameter in group["params"]]:
            for name in names:
                found[f"{index}.{name}"] = torch.tensor(0.0) if name == "step" else parameter.detach()
            index += 1
    return found


def muon_for(network: nn.Module, *, rate: float, weight_decay: float = 0.0, narrowest: int = 16) -> Together:
    """Muon for the weights of linear and convolutional layers, fused AdamW for the rest.

    The rest: vectors, tables of embeddings, and matrices with a side below `narrowest` (first and last layers).
    """
    _check_rates(rate, weight_decay)
    require(narrowest >= 1, f"narrowest={narrowest} came, expected at least 1")
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    matrices = [layer.weight for layer in layers if min(_flat(layer.weight).shape) >= narrowest]
    taken = {id(weight) for weight in matrices}
    rest = [parameter for parameter in network.parameters() if id(parameter) not in taken]
    others: list[Optimizer] = [torch.optim.AdamW(rest, lr=rate, weight_decay=weight_decay, fused=True)] if rest else []
    return Together([Muon(matrices, lr=rate, weight_decay=weight_decay), *others] if matrices else others)


def _check_rates(rate: float, weight_decay: float) -> None:
    require(0 <= rate < math.inf, f"a learning rate of {rate} came, expected 0 or more, and finite")
    require(0 <= weight_decay < math.inf, f"weight_decay={weight_decay} came, expected 0 or more, and finite")
