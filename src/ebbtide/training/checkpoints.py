"""Checkpoints that are never half there: written beside, fsynced, renamed. Tensors in safetensors, the rest in JSON.

    checkpoints/step-00000500/   network.safetensors  average.safetensors  optimizer.safetensors  state.json

A kill at any moment leaves either the old set or the new one; nothing that is loaded can run code.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ebbtide.errors import EbbtideError, require
from ebbtide.files import clear_disk_errors, sync

FORMAT = 1
"""Version of the files' layout; another one is refused, never guessed at."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Named groups of named tensors, and a state that is plain JSON."""

    step: int
    tensors: Mapping[str, Mapping[str, Tensor]]
    state: Mapping[str, Any]


def save(folder: Path, checkpoint: Checkpoint, keep: int) -> Path:
    """Write the checkpoint under `folder` and delete all but the last `keep`; returns where it is."""
    target = folder / f"step-{checkpoint.step:08d}"
    with clear_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for left_over in [*folder.glob(".writing-*"), *folder.glob(".old-*")]:
            shutil.rmtree(left_over)
        writing = folder / f".writing-{target.name}"
        writing.mkdir()
        try:
            for name, group in checkpoint.tensors.items():
                plain = {key: tensor.detach().cpu().contiguous() for key, tensor in group.items()}
                save_file(plain, writing / f"{name}.safetensors")
            state = {"format": FORMAT, "step": checkpoint.step, **checkpoint.state}
            (writing / "state.json").write_text(json.dumps(state, indent=1))
            for path in writing.iterdir():
                sync(path)
            sync(writing)
        except BaseException:
            shutil.rmtree(writing, ignore_errors=True)
            raise
        if target.exists():
            _delete(target)
        writing.rename(target)
        sync(folder)
        for old in everything(folder)[:-keep]:
            _delete(old)
    return target


def _delete(path: Path) -> None:
    """Delete a checkpoint so that a kill never leaves half of one under its name."""
    old = path.with_name(f".old-{path.name}")
    path.rename(old)
    shutil.rmtree(old)


def everything(folder: Path) -> list[Path]:
    """All whole checkpoints, oldest first."""
    return sorted(path for path in folder.glob("step-*") if (path / "state.json").is_file())


def latest(folder: Path) -> Path:
    """The newest checkpoint; an error if there is none."""
    found = everything(folder)
    if not found:
        raise EbbtideError(f"no checkpoint in {folder}: train the run first, or name another run")
    return found[-1]


def load(path: Path, names: tuple[str, ...]) -> Checkpoint:
    """Read a checkpoint with the named groups of tensors."""
    try:
        state = json.loads((path / "state.json").read_text())
        found = state.get("format")
        require(
            found == FORMAT,
            f"checkpoint {path} has format {found!r}, but this ebbtide reads format {FORMAT}: "
            "use the version of ebbtide that wrote it",
        )
        tensors = {name: load_file(path / f"{name}.safetensors") for name in names}
        return Checkpoint(step=state["step"], tensors=tensors, state=state)
    except EbbtideError:
        raise
    except (OSError, ValueError, KeyError, AttributeError, SafetensorError) as error:
        raise EbbtideError(
            f"checkpoint {path} cannot be read ({error!r}): delete that folder to use the one before it, or train again"
        ) from None
