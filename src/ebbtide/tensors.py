"""Named tensors, as files keep them, held against what they should be before anything is made of them."""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ebbtide.errors import EbbtideError, require

Layout = Mapping[str, tuple[torch.dtype, Sequence[int]]]
"""The type and shape of each tensor."""


def layout_of(tensors: Mapping[str, Tensor]) -> Layout:
    """That of tensors that are as they should be, such as a new network's."""
    return {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}


def read_tensors(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a file by name, and what it says about them; an EbbtideError in one line if it is damaged."""
    try:
        require(stat.S_ISREG(file.stat().st_mode), f"{file} is no regular file: expected tensors")
        with safe_open(str(file), "pt") as content:
            names = list(content.keys())
            return {name: content.get_tensor(name) for name in names}, dict(content.metadata() or {})
    except OSError as error:
        raise EbbtideError(f"{file} cannot be read: {error.strerror or error}") from None
    except EbbtideError:
        raise
    except (SafetensorError, ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
        raise EbbtideError(f"{file} is damaged: {ascii(str(error))[:100]}") from None


def check_tensors(found: Mapping[str, Tensor], expected: Layout, finite: bool = True) -> None:
    """That there are these tensors and no others, of these types and shapes, and (finite) all their numbers are finite.

    Types matter: a header can be changed so that the same bytes are read as other numbers. Raises EbbtideError.
    """
    for words, names in (("lacks", expected.keys() - found.keys()), ("has also", found.keys() - expected.keys())):
        require(not names, f"it {words} {', '.join(sorted(names)[:3])}{' ...' if len(names) > 3 else ''}")
    for name, (kind, shape) in expected.items():
        tensor = found[name]
        same = tensor.dtype == kind and tuple(tensor.shape) == tuple(shape)
        require(same, f"its {name} is {_told(tensor.dtype, tensor.shape)}, expected {_told(kind, shape)}")
        require(not finite or bool(tensor.isfinite().all()), f"its {name} holds NaN or infinite numbers")


def _told(kind: torch.dtype, shape: Sequence[int]) -> str:
    return f"{str(kind).removeprefix('torch.')} {'x'.join(map(str, shape)) or 'of one number'}"
