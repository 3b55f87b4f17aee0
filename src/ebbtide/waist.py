"""What comes through the narrow waist, held to shape and type where it comes in: data, times, labels.

No number on another device is looked at, so that nothing waits for a GPU; schedules compute on the CPU, where times are
held to [0, 1] as well.
"""

from __future__ import annotations

import torch
from jaxtyping import Float64
from torch import Tensor

from ebbtide.errors import EbbtideError, require


def known_times(t: Tensor) -> Float64[Tensor, "*batch"]:
    """Times from 0 to 1 as float64 on the CPU; an EbbtideError says which are not."""
    _require_times(t)
    times = t.double().cpu()
    inside = (times >= 0) & (times <= 1)
    if not bool(inside.all()):
        off = times[~inside]
        raise EbbtideError(f"t = {float(off[0]):g} came, expected times from 0 (data) to 1 (noise)")
    return times


def check_batch(x: Tensor, t: Tensor) -> None:
    """Raise EbbtideError unless x is (batch, *event) in floating point and t one time for each example."""
    require(isinstance(x, Tensor), f"data of type {type(x).__name__} came, expected a tensor (batch, *event)")
    require(
        x.ndim >= 1 and x.is_floating_point(),
        f"data of shape {tuple(x.shape)} and type {_named(x.dtype)} came, expected (batch, *event) in floating point: "
        "x.float(), bytes divided by 255 and moved to the data's range",
    )
    _require_times(t)
    require(
        t.shape == x.shape[:1],
        f"t of shape {tuple(t.shape)} came for {len(x)} examples, expected one time each: t.expand({len(x)})",
    )


def check_some(x: Tensor) -> None:
    """Raise EbbtideError for a set without examples, of which there is no mean and nothing to walk."""
    require(x.ndim >= 1 and len(x) >= 1, f"x of shape {tuple(x.shape)} came, expected one example or more")


def check_answer(answer: Tensor, x: Tensor, times: int = 1) -> None:
    """Raise EbbtideError unless a network's answer to x has x's shape, with `times` as many channels.

    Another shape would broadcast against x, train, and sample something else.
    """
    wanted = (*x.shape[:1], times * x.shape[1], *x.shape[2:]) if times > 1 else tuple(x.shape)
    came = f"of shape {tuple(answer.shape)}" if isinstance(answer, Tensor) else f"of type {type(answer).__name__}"
    require(
        isinstance(answer, Tensor) and tuple(answer.shape) == wanted,
        f"a network's answer {came} came for x of shape {tuple(x.shape)}, expected {wanted}"
        + (f": {times} times the channels, as the variance is learned" if times > 1 else ": one number for each of x"),
    )


def check_labels(label: Tensor, batch: int, classes: int) -> None:
    """Raise EbbtideError unless there is one label an example, -1 (not told) or one of the classes.

    Their numbers are looked at on the CPU only.
    """
    require(
        label.shape == (batch,) and not label.is_floating_point(),
        f"labels of shape {tuple(label.shape)} and type {_named(label.dtype)} came for {batch} examples, expected one "
        "whole number each",
    )
    if label.device.type == "cpu" and label.numel() and not torch.compiler.is_compiling():
        low, high = (int(one) for one in label.aminmax())
        require(
            low >= -1 and high < classes,
            f"a label of {high if high >= classes else low} came, expected a class from 0 to {classes - 1}, or -1 (not "
            "told)",
        )


def _require_times(t: Tensor) -> None:
    if not isinstance(t, Tensor) or t.is_complex():  # a message made for nothing would print t for every batch
        raise EbbtideError(f"t = {t!r} came, expected a tensor with one time an example: torch.full((batch,), 0.5)")


def _named(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
