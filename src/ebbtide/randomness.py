"""Randomness is an argument: one generator for a batch, or one for each sample.

A seed should name an image, whatever else is in its batch and however many machines share the work. So each sample
owns a generator that is seeded by (seed, index), and every draw for a batch is a stack of its samples' own draws.
Draws are made on the CPU and then moved, so that the same seed means the same noise on every device.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ebbtide.errors import require


def seed_of(*parts: int | str) -> int:
    """A 63-bit seed from any path of names and numbers, such as seed_of(7, "train", step).

    BLAKE2b of the parts' text: neighbouring numbers give unrelated seeds, the same parts give the same seed on every
    machine and Python version.
    """
    digest = hashlib.blake2b("\x1f".join(str(part) for part in parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator_of(*parts: int | str) -> torch.Generator:
    """A CPU generator seeded by seed_of(*parts)."""
    return torch.Generator().manual_seed(seed_of(*parts))


@dataclass(frozen=True)
class SampleGenerators:
    """One generator per sample of a batch; build with `SampleGenerators.of(seed, indices)`."""

    generators: tuple[torch.Generator, ...]

    @classmethod
    def of(cls, seed: int, indices: Sequence[int]) -> SampleGenerators:
        """Generators for the samples with these indices under this seed."""
        return cls(tuple(generator_of(seed, "sample", index) for index in indices))

    def __len__(self) -> int:
        return len(self.generators)


Randomness = torch.Generator | SampleGenerators


def normal(
    shape: Sequence[int],
    generator: Randomness,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Standard normal noise of the given shape, (batch, *event)."""
    return _draw(torch.randn, shape, generator, dtype, device)


def uniform(
    shape: Sequence[int],
    generator: Randomness,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Uniform numbers in [0, 1) of the given shape, (batch, *event)."""
    return _draw(torch.rand, shape, generator, dtype, device)


def _draw(
    draw: Callable[..., Tensor],
    shape: Sequence[int],
    generator: Randomness,
    dtype: torch.dtype,
    device: torch.device | str,
) -> Tensor:
    if isinstance(generator, SampleGenerators):
        require(
            shape[0] == len(generator), f"a batch of {shape[0]} needs {shape[0]} generators, but {len(generator)} came"
        )
        event = list(shape[1:])
        rows = [draw(event, generator=one, dtype=dtype) for one in generator.generators]
        return (torch.stack(rows) if rows else torch.empty(0, *event, dtype=dtype)).to(device)
    return draw(list(shape), generator=generator, dtype=dtype, device=generator.device).to(device)
