"""What this machine computes with: device and precision."""

from __future__ import annotations

import os
import platform
from typing import Any, Literal

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from ebbtide.errors import require

Precision = Literal["auto", "fp32", "bf16"]


def native_bf16() -> bool:
    """Whether bf16 is done in hardware; emulated, it is slower than float32."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.cpu.get_capabilities().get("amx_bf16", False))


def accelerator_of(precision: Precision = "auto") -> Accelerator:
    """accelerate's Accelerator with the precision asked for, or the fast one of this machine."""
    if precision == "auto":
        precision = "bf16" if native_bf16() else "fp32"
    require(precision in ("fp32", "bf16"), f"precision={precision!r} came, expected auto, fp32 or bf16")
    wanted = "bf16" if precision == "bf16" else "no"
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
