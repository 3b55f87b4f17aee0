"""Where the time of a training step goes, and how fast the kernels are that it spends it in.

    python benchmarks/profile_step.py

1. A step of the small and of the base network, its time by kind of operation (torch's profiler, self time).
2. The 3x3 convolutions of these networks alone, forward and both halves of backward, against the best matrix product.
"""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

import measure
from ebbtide.recipes.build import build_network
from ebbtide.recipes.presets import PRESETS
from ebbtide.training.machine import native_bf16, product_rate
from training_speed import PARTS, in_parts, ours, pictures

KINDS = {
    "convolutions, backward": ("convolution_backward",),
    "convolutions, forward": ("mkldnn_convolution", "cudnn_convolution"),
    "group norm": ("group_norm",),
    "SiLU": ("silu",),
    "matrix products (linear layers, attention, Muon)": ("mm", "addmm", "bmm", "baddbmm", "attention"),
    "copies and casts": ("copy_", "cat", "_to_copy", "contiguous"),
    "additions, resampling": ("add", "add_", "upsample"),
}
SHAPES = (
    (64, 48, 48, 16),
    (64, 144, 48, 16),
    (64, 96, 96, 8),
    (64, 192, 96, 8),
    (16, 128, 128, 32),
    (16, 256, 256, 16),
)


def kind_of(name: str) -> str:
    """The row that an operation belongs to."""
    short = name.removeprefix("aten::")
    for kind, words in KINDS.items():
        if any(short == word or (len(word) > 4 and word in short) for word in words):
            return kind
    return "everything else"


def where_time_goes(name: str, part: int) -> dict[str, float]:
    """Shares of an update's time."""
    data, recipe = pictures(), in_parts(PRESETS[name].recipe, part)
    loop = ours(recipe, build_network(recipe.network, data.event_shape, 0, 0), data)
    for _ in range(2):
        next(loop)
    with profile(activities=[ProfilerActivity.CPU]) as found:
        next(loop)
    times: defaultdict[str, float] = defaultdict(float)
    for event in found.key_averages():
        times[kind_of(event.key)] += event.self_cpu_time_total
    whole = sum(times.values())
    return {kind: time / whole for kind, time in sorted(times.items(), key=lambda item: -item[1])}


def kernels(dtype: torch.dtype) -> list[dict[str, Any]]:
    """FLOP/s of forward, backward to the input and backward to the weights."""
    results = []
    for batch, channels, out, side in SHAPES:
        x, gradient = (
            torch.randn(batch, count, side, side).to(dtype).to(memory_format=torch.channels_last)
            for count in (channels, out)
        )
        weight = torch.randn(out, channels, 3, 3).to(dtype).to(memory_format=torch.channels_last)
        works = {
            "forward": partial(F.conv2d, x, weight, padding=1),
            "to the input": partial(_backward, gradient, x, weight, [True, False, False]),
            "to the weights": partial(_backward, gradient, x, weight, [False, True, False]),
        }
        seconds = measure.interleaved(works, 15)
        flops = 2 * batch * channels * out * 9 * side**2
        rates = {name: flops / measure.Spread.of(taken).median for name, taken in seconds.items()}
        results.append({"shape": f"{batch} x {channels} -> {out}, {side}x{side}", **rates})
    return results


def _backward(gradient: Tensor, x: Tensor, weight: Tensor, mask: list[bool]) -> object:
    return torch.ops.aten.convolution_backward(
        gradient, x, weight, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, mask
    )


def main() -> None:
    measure.options(__doc__)
    shares = {name: where_time_goes(name, part) for name, part in PARTS.items()}
    kinds = list(shares["images"])
    rows = [(kind, *(f"{found.get(kind, 0):.0%}" for found in shares.values())) for kind in kinds]
    measure.show("profile", "Where a training step's time goes", ("kind of operation", *shares), rows)
    dtype = torch.bfloat16 if native_bf16() else torch.float32
    peak, found = product_rate(native_bf16(), repeats=10), kernels(dtype)
    names = ("forward", "to the input", "to the weights")
    rows = [(one["shape"], *(f"{one[name] / 1e9:,.0f} ({one[name] / peak:.0%})" for name in names)) for one in found]
    title = f"3x3 convolutions in {dtype}, GFLOP/s, and share of the best matrix product ({peak / 1e9:,.0f} GFLOP/s)"
    measure.show("kernels", title, ("batch x channels, pixels", *names), rows)
    measure.save("profile_step", {"shares": shares, "peak": peak, "kernels": found})


if __name__ == "__main__":
    main()
