"""Checkpoints that are never half there: written beside, fsynced, renamed. Tensors in safetensors, the rest in JSON.

    checkpoints/step-00000500/   network.safetensors  average.safetensors  optimizer.safetensors  state.json

A kill at any moment leaves either the old set or the new one; nothing that is loaded can run code.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn

from ebbtide.errors import EbbtideError, require
from ebbtide.files import clear_disk_errors, sync
from ebbtide.json_files import finite_or_null, read_json, shown, typed
from ebbtide.tensors import check_tensors, layout_of, read_tensors

FORMAT = 1
"""Version of the files' layout; another one is refused, never guessed at."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Named groups of named tensors, and a state that is plain JSON."""

    step: int
    tensors: Mapping[str, Mapping[str, Tensor]]
    state: Mapping[str, Any]
    path: Path | None = None
    """Where it was read."""

    def told(self) -> contextlib.AbstractContextManager[None]:
        """Errors within name this checkpoint, and what to do."""
        return _named(self.path)


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
            (writing / "state.json").write_text(json.dumps(finite_or_null(state), indent=1))
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
    found = [path for path in folder.glob("step-*") if _step_of(path) is not None and (path / "state.json").is_file()]
    return sorted(found, key=lambda path: _step_of(path) or 0)


def _step_of(path: Path) -> int | None:
    digits = path.name.removeprefix("step-")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 20 else None


def latest(folder: Path) -> Path:
    """The newest checkpoint; an error if there is none."""
    found = everything(folder)
    if not found:
        raise EbbtideError(f"no checkpoint in {folder}: train the run first, or name another run")
    return found[-1]


def load(path: Path, names: tuple[str, ...]) -> Checkpoint:
    """Read a checkpoint with the named groups of tensors."""
    with _named(path):
        state = typed(dict[str, Any], read_json(path / "state.json"), "state.json")
    found = state.get("format")
    require(
        found == FORMAT,
        f"checkpoint {path} has format {shown(found)}, but this ebbtide reads format {FORMAT}: "
        "use the version of ebbtide that wrote it",
    )
    with _named(path):
        step = typed(int, state.get("step"), "step in state.json")
        require(step == _step_of(path), f"state.json says step {step}")
        tensors = {name: read_tensors(path / f"{name}.safetensors")[0] for name in names}
    return Checkpoint(step=step, tensors=tensors, state=state, path=path)


@contextlib.contextmanager
def _named(path: Path | None) -> Iterator[None]:
    """Errors within name the checkpoint, and what to do."""
    try:
        yield
    except EbbtideError as error:
        todo = "delete that folder to use the one before it, or train again"
        raise EbbtideError(f"checkpoint {path or ''} cannot be read ({error}): {todo}") from None


def load_weights(network: nn.Module, checkpoint: Checkpoint, name: str, finite: bool = True) -> None:
    """Give a network the weights of a checkpoint's group. finite: refuse NaN and infinite ones."""
    try:
        check_tensors(checkpoint.tensors[name], layout_of(network.state_dict()), finite)
    except EbbtideError as error:
        file = (checkpoint.path or Path()) / f"{name}.safetensors"
        raise EbbtideError(
            f"the weights of {file} do not fit the run's recipe: {error}. Restore both, or delete that checkpoint"
        ) from None
    network.load_state_dict(dict(checkpoint.tensors[name]))
