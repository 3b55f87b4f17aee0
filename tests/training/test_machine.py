"""Device and precision: what is asked for is what is used."""

import json

import pytest
import torch
from accelerate.state import AcceleratorState

from ebbtide.errors import EbbtideError
from ebbtide.training.machine import accelerator_of, describe, native_bf16


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
    monkeypatch.setattr("ebbtide.training.machine.native_bf16", lambda: False)
    assert describe(accelerator_of("auto"))["precision"] == "fp32"


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
