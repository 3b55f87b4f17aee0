"""Named tensors, as files keep them, held against what they should be before anything is made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ebbtide.errors import require

Layout = Mapping[str, tuple[torch.dtype, Sequence[int]]]
"""The type and shape of each tensor."""


def layout_of(tensors: Mapping[str, Tensor]) -> Layout:
    """That of tensors that are as they should be, such as a new network's."""
    return {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}


def check_tensors(found: Mapping[str, Tensor], expected: Layout) -> None:
    """That there are these tensors and no others, of these types and shapes, and all their numbers are finite.

    Types matter: a header can be changed so that the same bytes are read as other numbers. Raises EbbtideError.
    """
    for words, names in (("lacks", expected.keys() - found.keys()), ("has also", found.keys() - expected.keys())):
        require(not names, f"it {words} {', '.join(sorted(names)[:3])}{' ...' if len(names) > 3 else ''}")
    for name, (kind, shape) in expected.items():
        tensor = found[name]
        same = tensor.dtype == kind and tuple(tensor.shape) == tuple(shape)
        require(same, f"its {name} is {_told(tensor.dtype, tensor.shape)}, expected {_told(kind, shape)}")
        require(bool(tensor.isfinite().all()), f"its {name} holds NaN or infinite numbers")


def _told(kind: torch.dtype, shape: Sequence[int]) -> str:
    return f"{str(kind).removeprefix('torch.')} {'x'.join(map(str, shape)) or 'of one number'}"
