"""What this machine computes with: device and precision."""

from __future__ import annotations

import math
import os
import platform
import shutil
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from ebbtide.errors import require

Precision = Literal["auto", "fp32", "bf16"]


def native_bf16() -> bool:
    """Whether bf16 is done in hardware; emulated, it is slower than float32."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.cpu.get_capabilities().get("amx_bf16", False))


def is_bf16(precision: Precision) -> bool:
    """Whether `auto`, `fp32` or `bf16` means bf16 here."""
    return precision == "bf16" or (precision == "auto" and native_bf16())


def in_precision(network: nn.Module, precision: Precision) -> Callable[..., Tensor]:
    """The network as it is to be sampled from: under bf16 autocast where it was trained so."""
    if not is_bf16(precision):
        return network

    def answer(x: Tensor, *rest: Any) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16):
            return network(x, *rest)

    return answer


def compiled(network: nn.Module, wanted: Literal["auto", "on", "off"]) -> str | None:
    """Have torch compile the network at its first update, where that is wanted and can be; else the reason why not.

    auto: on a GPU. What is compiled is kept by torch and found again by the next run.
    """
    device = next(network.parameters()).device
    if wanted == "off" or (wanted == "auto" and device.type != "cuda"):
        return None
    if device.type == "cpu" and not any(shutil.which(name) for name in ("g++", "clang++", "c++")):
        return "torch.compile wants a C++ compiler (Debian: apt install g++), and there is none: training without it"
    network.compile()
    return None


def is_compiled(network: nn.Module) -> bool:
    """Whether torch compiles it, or has done so."""
    return network._compiled_call_impl is not None


def product_rate(bf16: bool, sizes: Sequence[int] = (512, 1024), repeats: int = 3) -> float:
    """FLOP/s of the best square matrix product right now: the peak that training is held against."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    best = math.inf
    for size in sizes:
        x = torch.ones(size, size, device=device, dtype=torch.bfloat16 if bf16 else torch.float32)
        for _ in range(repeats + 1):
            started = time.perf_counter()
            x @ x
            if device == "cuda":
                torch.cuda.synchronize()
            best = min(best, (time.perf_counter() - started) / (2 * size**3))
    return 1 / best


def accelerator_of(precision: Precision = "auto") -> Accelerator:
    """accelerate's Accelerator with the precision asked for, or the fast one of this machine."""
    require(precision in ("auto", "fp32", "bf16"), f"precision={precision!r} came, expected auto, fp32 or bf16")
    wanted = "bf16" if is_bf16(precision) else "no"
    if AcceleratorState._shared_state and AcceleratorState().mixed_precision != wanted:
        AcceleratorState._reset_state()  # accelerate fixes one precision for a process; a later run may want another
    return Accelerator(mixed_precision=wanted)


def describe(accelerator: Accelerator) -> dict[str, Any]:
    """The machine in words, for records and reports."""
    device = accelerator.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name()
    return {
        "device": device.type,
        "name": name,
        "cores": os.cpu_count(),
        "processes": accelerator.num_processes,
        "precision": "bf16" if accelerator.mixed_precision == "bf16" else "fp32",
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo") as info:
            names = [line.split(":", 1)[1].strip() for line in info if line.startswith("model name")]
        return names[0] if names else platform.machine()
    except OSError:
        return platform.processor() or platform.machine()
