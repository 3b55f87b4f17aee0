"""Device and precision: what is asked for is what is used."""

import json

import pytest
import torch
from accelerate.state import AcceleratorState

from ebbtide.errors import EbbtideError
from ebbtide.training.machine import (
    accelerator_of,
    compiled,
    describe,
    device_of,
    in_precision,
    is_compiled,
    native_bf16,
    product_rate,
)


@pytest.mark.parametrize("first", ["fp32", "bf16"])
@pytest.mark.parametrize("second", ["fp32", "bf16"])
def test_one_process_may_train_in_one_precision_after_another(first, second):
    AcceleratorState._reset_state()
    for precision in (first, second):
        accelerator = accelerator_of(precision)
        network = accelerator.prepare(torch.nn.Sequential(torch.nn.Linear(4, 4)))
        inside: list[torch.dtype] = []
        network[0].register_forward_hook(lambda module, given, out, seen=inside: seen.append(out.dtype))
        network(torch.zeros(1, 4, device=accelerator.device))
        assert inside == [torch.bfloat16 if precision == "bf16" else torch.float32]
        assert describe(accelerator)["precision"] == precision


def test_auto_is_bf16_only_where_the_machine_has_it():
    assert describe(accelerator_of("auto"))["precision"] == ("bf16" if native_bf16() else "fp32")


def test_without_hardware_for_it_auto_is_fp32(monkeypatch):
    monkeypatch.setattr("ebbtide.training.machine.native_bf16", lambda device: False)
    assert describe(accelerator_of("auto"))["precision"] == "fp32"


def seen(monkeypatch, gpus):
    """A machine with so many GPUs, as far as torch can tell."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpus > 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)


@pytest.mark.parametrize(
    ("gpus", "wanted", "expected"),
    [(0, "auto", "cpu"), (0, "cpu", "cpu"), (2, "auto", "cuda"), (2, "cpu", "cpu"), (2, "cuda:01", "cuda:1")],
)
def test_the_device_is_the_one_that_is_asked_for(monkeypatch, gpus, wanted, expected):
    seen(monkeypatch, gpus)
    assert device_of(wanted) == expected


@pytest.mark.parametrize(
    ("gpus", "wanted", "said"),
    [
        (0, "cuda", "give cpu or auto"),
        (0, "cuda:0", "give cpu or auto"),
        (2, "cuda:2", "the last GPU that torch sees is cuda:1"),
        *((2, word, "expected auto, cpu, cuda, cuda:N or mps") for word in ("gpu", "cuda:", "cuda:-1", "cpu:0", "")),
        (2, "cdua", "Did you mean cuda"),
    ],
)
def test_a_device_that_is_not_there_is_refused_in_a_line(monkeypatch, gpus, wanted, said):
    seen(monkeypatch, gpus)
    with pytest.raises(EbbtideError, match=said):
        device_of(wanted)


def test_training_is_on_the_device_that_is_asked_for():
    assert accelerator_of("fp32", "cpu").device == torch.device("cpu")
    assert accelerator_of("fp32").device.type == device_of()


def test_one_gpu_is_not_for_several_processes(monkeypatch):
    seen(monkeypatch, 2)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(EbbtideError, match="share all GPUs"):
        accelerator_of("fp32", "cuda:1")


@pytest.mark.parametrize("precision", ["fp16", "BF16", ""])
def test_another_precision_is_refused(precision):
    unchecked = getattr(accelerator_of, "__wrapped__", accelerator_of)
    with pytest.raises((EbbtideError, TypeError), match="precision"):
        unchecked(precision)


def test_the_description_is_plain_json():
    machine = describe(accelerator_of("fp32"))
    assert json.loads(json.dumps(machine)) == machine
    assert machine["processes"] == 1
    assert machine["torch"] == torch.__version__


def test_sampling_is_in_the_precision_of_training():
    layer = torch.nn.Linear(8, 8)
    inside: list[torch.dtype] = []
    layer.register_forward_hook(lambda module, given, out: inside.append(out.dtype))
    x = torch.randn(2, 8)
    exact, coarse = in_precision(layer, "fp32")(x), in_precision(layer, "bf16")(x)
    assert inside == [torch.float32, torch.bfloat16]
    assert torch.equal(exact, layer(x))
    assert torch.allclose(exact, coarse.float(), atol=0.05)


@pytest.mark.parametrize("bf16", [False, True])
def test_the_product_rate_is_of_this_world(bf16):
    """More than a pocket calculator's, less than all accelerators' of the year."""
    assert 1e8 < product_rate(bf16, sizes=(64, 128)) < 1e17


def test_a_cpu_compiles_only_where_it_is_asked_to():
    for wanted, expected in (("auto", False), ("off", False), ("on", True)):
        network = torch.nn.Linear(2, 2)
        assert compiled(network, wanted) is None
        assert is_compiled(network) == expected


def test_without_a_compiler_training_goes_on_and_says_so(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    network = torch.nn.Linear(2, 2)
    assert "apt install g++" in compiled(network, "on")
    assert not is_compiled(network)


def test_bf16_of_the_cpu_is_not_that_of_the_gpu_beside_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    assert native_bf16("cuda")
    assert native_bf16()
    assert not native_bf16("cpu")
