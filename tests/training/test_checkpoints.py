"""A checkpoint is whole or not there, whatever happens while it is written, and comes back bit for bit."""

import errno
import json
import shutil

import pytest
import torch
from safetensors import SafetensorError

from ebbtide.errors import EbbtideError
from ebbtide.training import checkpoints
from ebbtide.training.checkpoints import Checkpoint, everything, latest, load, save

NAMES = ("network", "optimizer")


def checkpoint_of(step: int) -> Checkpoint:
    generator = torch.Generator().manual_seed(step)
    network = {
        "weight": torch.randn(4, 3, 2, 2, generator=generator).to(memory_format=torch.channels_last),
        "view": torch.randn(6, 5, generator=generator).t()[1:],
        "half": torch.randn(7, generator=generator).bfloat16(),
        "odd": torch.tensor([float("nan"), float("inf"), -0.0, 1e-45]),
        "count": torch.tensor(step),
    }
    optimizer = {"0.step": torch.tensor(float(step)), "0.exp_avg": torch.randn(9, generator=generator).double()}
    state = {"counters": {"step": step, "seconds": 0.1 + step}, "bins": [None, 1 / 3]}
    return Checkpoint(step=step, tensors={"network": network, "optimizer": optimizer}, state=state)


def bits(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def assert_same(got: Checkpoint, expected: Checkpoint) -> None:
    assert got.step == expected.step
    for group, tensors in expected.tensors.items():
        assert got.tensors[group].keys() == tensors.keys()
        for name, value in tensors.items():
            found = got.tensors[group][name]
            assert (found.dtype, found.shape, bits(found)) == (value.dtype, value.shape, bits(value)), name
    assert {name: got.state[name] for name in expected.state} == expected.state


def test_it_comes_back_bit_for_bit(tmp_path):
    assert_same(load(save(tmp_path, checkpoint_of(3), keep=1), NAMES), checkpoint_of(3))


def test_only_the_groups_that_are_asked_for_are_read(tmp_path):
    path = save(tmp_path, checkpoint_of(3), keep=1)
    (path / "optimizer.safetensors").unlink()
    assert set(load(path, ("network",)).tensors) == {"network"}


@pytest.mark.parametrize("keep", [1, 2, 5])
def test_the_last_few_are_kept(tmp_path, keep):
    for step in (1, 5, 20, 100, 99_999_999):
        save(tmp_path, checkpoint_of(step), keep)
    kept = [load(path, NAMES).step for path in everything(tmp_path)]
    assert kept == [1, 5, 20, 100, 99_999_999][-keep:]
    assert load(latest(tmp_path), NAMES).step == 99_999_999
    assert len(list(tmp_path.iterdir())) == keep


def test_the_same_step_again_replaces_it(tmp_path):
    save(tmp_path, checkpoint_of(3), keep=2)
    again = Checkpoint(step=3, tensors=checkpoint_of(8).tensors, state={"again": True})
    save(tmp_path, again, keep=2)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000003"]
    assert_same(load(latest(tmp_path), NAMES), again)


def test_nothing_but_safetensors_and_json_is_written(tmp_path):
    save(tmp_path, checkpoint_of(3), keep=1)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".safetensors", ".json"}
    assert len(files) == 3


FULL = OSError(errno.ENOSPC, "No space left on device")
FULL_IN_RUST = SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


@pytest.mark.parametrize(
    ("function", "call", "error"),
    [
        *(("save_file", call, error) for call in (0, 1) for error in (FULL, FULL_IN_RUST)),
        *(("sync", call, FULL) for call in (0, 2, 3)),
    ],
)
def test_a_full_disk_leaves_what_was_saved_before_and_says_so(tmp_path, monkeypatch, function, call, error):
    for step in (1, 2):
        save(tmp_path, checkpoint_of(step), keep=2)
    real, calls = getattr(checkpoints, function), []

    def failing(*arguments):
        calls.append(arguments)
        if len(calls) == call + 1:
            raise error
        return real(*arguments)

    monkeypatch.setattr(checkpoints, function, failing)
    with pytest.raises(EbbtideError, match="the disk is full"):
        save(tmp_path, checkpoint_of(3), keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000001", "step-00000002"]
    for step, path in enumerate(everything(tmp_path), 1):
        assert_same(load(path, NAMES), checkpoint_of(step))
    save(tmp_path, checkpoint_of(3), keep=2)
    assert_same(load(latest(tmp_path), NAMES), checkpoint_of(3))


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("function", ["save_file", "sync"])
@pytest.mark.parametrize("call", range(4))
def test_a_kill_while_writing_leaves_what_was_saved_before(tmp_path, monkeypatch, function, call):
    save(tmp_path, checkpoint_of(1), keep=1)
    real, calls = getattr(checkpoints, function), []

    def dying(*arguments):
        calls.append(arguments)
        if len(calls) == call + 1:
            raise Killed
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, function, dying)
        patch.setattr(checkpoints.shutil, "rmtree", lambda *a, **k: None)  # a killed process tidies nothing up
        with pytest.raises(Killed):
            _ = [save(tmp_path, checkpoint_of(step), keep=1) for step in (2, 3)]
    found = latest(tmp_path)
    assert_same(load(found, NAMES), checkpoint_of(int(found.name[-2:])))
    save(tmp_path, checkpoint_of(4), keep=1)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000004"], "what a kill left was not cleaned up"


@pytest.mark.parametrize("lost", ["state.json", "network.safetensors"])
def test_a_kill_while_deleting_the_old_leaves_no_half_checkpoint(tmp_path, monkeypatch, lost):
    save(tmp_path, checkpoint_of(1), keep=1)

    def dying(path, **options):
        (path / lost).unlink()
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.shutil, "rmtree", dying)
        with pytest.raises(Killed):
            save(tmp_path, checkpoint_of(2), keep=1)
    assert [load(path, NAMES).step for path in everything(tmp_path)] == [2]
    save(tmp_path, checkpoint_of(3), keep=1)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000003"]


def cut(path, share=0.5):
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


DAMAGE = {
    "tensors cut short": lambda path: cut(path / "network.safetensors", 0.9),
    "header cut short": lambda path: cut(path / "network.safetensors", 0.01),
    "no bytes": lambda path: (path / "network.safetensors").write_bytes(b""),
    "another kind of file": lambda path: (path / "network.safetensors").write_bytes(b"\x80\x04pickle" * 100),
    "file gone": lambda path: (path / "optimizer.safetensors").unlink(),
    "state cut short": lambda path: cut(path / "state.json"),
    "state in bytes": lambda path: (path / "state.json").write_bytes(b"\xff\xfe\x00\x81"),
    "state is a list": lambda path: (path / "state.json").write_text("[]"),
    "state without step": lambda path: (path / "state.json").write_text(json.dumps({"format": checkpoints.FORMAT})),
    "all gone": lambda path: shutil.rmtree(path),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_one_error_that_names_the_checkpoint(tmp_path, damage):
    path = save(tmp_path, checkpoint_of(1), keep=1)
    DAMAGE[damage](path)
    with pytest.raises(EbbtideError, match="cannot be read") as raised:
        load(path, NAMES)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("version", [0, checkpoints.FORMAT + 1, None, "1"])
def test_another_format_is_refused(tmp_path, version):
    path = save(tmp_path, checkpoint_of(1), keep=1)
    state = json.loads((path / "state.json").read_text()) | {"format": version}
    (path / "state.json").write_text(json.dumps(state))
    with pytest.raises(EbbtideError, match=f"has format {version!r}"):
        load(path, NAMES)


def test_a_folder_without_checkpoints_says_what_to_do(tmp_path):
    with pytest.raises(EbbtideError, match="train"):
        latest(tmp_path / "nowhere")
