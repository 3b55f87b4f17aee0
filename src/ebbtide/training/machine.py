"""What this machine computes with: device and precision."""

from __future__ import annotations

import math
import os
import platform
import re
import shutil
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from ebbtide.errors import near_misses, require
from ebbtide.threads import paced

Precision = Literal["auto", "fp32", "bf16"]


def native_bf16(device: str = "auto") -> bool:
    """Whether a device does bf16 in hardware; emulated, it is slower than float32.

    CPUs with AMX multiply it in tiles, those with AVX-512 BF16 in vectors, ARM's with their own instructions.
    """
    kind = device_of(device)
    if kind != "cpu":
        return kind.startswith("cuda") and torch.cuda.is_bf16_supported(including_emulation=False)
    able = torch.cpu.get_capabilities()
    return any(able.get(name, False) for name in ("amx_bf16", "avx512_bf16", "bf16"))


def is_bf16(precision: Precision, device: str = "auto") -> bool:
    """Whether `auto`, `fp32` or `bf16` means bf16 there, as far as the hardware tells (`recipes.trial` tries it)."""
    return precision == "bf16" or (precision == "auto" and native_bf16(device))


def in_precision(network: nn.Module, precision: Precision) -> Callable[..., Tensor]:
    """The network as it is to be sampled from: under bf16 autocast where it was trained so, in as many threads as are
    fastest."""
    if not is_bf16(precision):
        return paced(network, "network")

    def answer(x: Tensor, *rest: Any) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16):
            return network(x, *rest)

    return paced(answer, "network")


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


def device_of(wanted: str = "auto") -> str:
    """A device of this machine, checked: auto is a GPU that torch sees, else the CPU.

    wanted: auto, cpu, cuda, cuda:N (the N-th GPU, from 0) or mps (Apple's; only by name).
    """
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    near = near_misses(wanted, ("auto", "cpu", "cuda", "mps"))
    known = re.fullmatch(r"cpu|mps|cuda(:[0-9]{1,3})?", wanted) is not None
    require(known, f"device {wanted!r} came, expected auto, cpu, cuda, cuda:N or mps.{near}")
    name, _, index = wanted.partition(":")
    if name == "mps":
        require(torch.backends.mps.is_available(), "device mps came, but torch does not see it: give cpu or auto")
    if name == "cuda":
        why = "this torch was built without CUDA" if torch.version.cuda is None else "torch sees no GPU"
        require(torch.cuda.is_available(), f"device {wanted} came, but {why}: give cpu or auto")
        count = torch.cuda.device_count()
        last = f"cuda:{count - 1}"
        require(not index or int(index) < count, f"device {wanted} came, but the last GPU that torch sees is {last}")
    return f"cuda:{int(index)}" if index else name


def accelerator_of(precision: Precision = "auto", device: str = "auto") -> Accelerator:
    """accelerate's Accelerator on a device, with the precision asked for, or the fast one of this machine.

    Several processes share the GPUs among them: a single one (cuda:1) is refused there.
    """
    require(precision in ("auto", "fp32", "bf16"), f"precision={precision!r} came, expected auto, fp32 or bf16")
    wanted = "bf16" if is_bf16(precision, device) else "no"
    place = torch.device(device_of(device))
    if place.index is not None:
        alone = os.environ.get("WORLD_SIZE", "1") == "1"
        require(alone, f"device {device} came for several processes, which share all GPUs: give cuda or auto")
        torch.cuda.set_device(place)  # what accelerate then calls cuda
    # accelerate fixes one precision and one device for a process; a later run may want another
    if AcceleratorState._shared_state:
        moved = AcceleratorState().device.type != place.type
        if moved or AcceleratorState().mixed_precision != wanted:
            AcceleratorState._reset_state(reset_partial_state=moved)
    return Accelerator(mixed_precision=wanted, cpu=place.type == "cpu")


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


def memory_of(device: torch.device) -> int | None:
    """Bytes that the device has in all; None where that cannot be known."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
