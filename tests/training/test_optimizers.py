"""Muon against torch's own, and against the singular value decomposition; several optimizers as one."""

import copy

import pytest
import torch
from torch import nn

from ebbtide.errors import EbbtideError
from ebbtide.networks import UNet
from ebbtide.training.optimizers import Muon, Together, muon_for, orthogonalised
from parts import noise, seeded


def parameter(*shape, seed=0):
    return nn.Parameter(noise(*shape, seed=seed, dtype=torch.float32))


def stepped(optimizer, parameters, count=5, seed=7):
    """The parameters after some updates with gradients that the seed alone decides."""
    generator = seeded(seed)
    for _ in range(count):
        for one in parameters:
            one.grad = torch.randn(one.shape, generator=generator)
        optimizer.step()
    return parameters


@pytest.mark.parametrize(("rows", "columns"), [(3, 3), (16, 40), (96, 864)])
@pytest.mark.parametrize("spread", [1.0, 10.0])
def test_singular_values_come_near_1_and_directions_stay(rows, columns, spread):
    u, _, v = torch.linalg.svd(noise(rows, columns, dtype=torch.float32), full_matrices=False)
    values = torch.logspace(0, -torch.log10(torch.tensor(spread)), rows)
    (found,) = orthogonalised([u @ torch.diag(values) @ v])
    inner = u.mT @ found @ v.mT
    assert (inner.diagonal() > 0.65).all()
    assert (inner.diagonal() < 1.25).all()
    assert (inner - torch.diag(inner.diagonal())).abs().max() < 0.02


def test_many_at_once_are_as_each_alone():
    matrices = [noise(8, columns, seed=columns, dtype=torch.float32) for columns in (8, 20, 100)]
    for together, matrix in zip(orthogonalised(matrices), matrices, strict=True):
        torch.testing.assert_close(together, orthogonalised([matrix])[0], rtol=1e-4, atol=1e-5)


def test_a_gradient_of_zero_moves_nothing():
    weight = parameter(8, 8)
    before = weight.detach().clone()
    weight.grad = torch.zeros_like(weight)
    Muon([weight]).step()
    assert torch.equal(weight, before)


@pytest.mark.parametrize("shape", [(16, 48), (48, 16), (32, 32)])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_a_matrix_moves_as_torchs_muon_moves_it(shape, weight_decay):
    ours, theirs = [parameter(*shape)], [parameter(*shape)]
    before = ours[0].detach().clone()
    stepped(Muon(ours, lr=0.01, weight_decay=weight_decay), ours)
    options = {"weight_decay": weight_decay, "adjust_lr_fn": "match_rms_adamw"}
    stepped(torch.optim.Muon(theirs, lr=0.01, **options), theirs)
    # theirs multiplies in bf16, which holds two digits
    assert (ours[0] - theirs[0]).norm() < 0.02 * (theirs[0] - before).norm()


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_a_kernel_moves_as_its_matrix_does_in_any_memory(memory):
    start = noise(16, 8, 3, 3, dtype=torch.float32)
    kernel = nn.Parameter(start.clone().contiguous(memory_format=memory))
    matrix = nn.Parameter(start.clone().flatten(1))
    one, other = Muon([kernel], lr=0.01), Muon([matrix], lr=0.01)
    generator = seeded(1)
    for _ in range(3):
        gradient = torch.randn(16, 8, 3, 3, generator=generator)
        kernel.grad = gradient.contiguous(memory_format=memory)
        matrix.grad = gradient.flatten(1)
        one.step()
        other.step()
    torch.testing.assert_close(kernel.detach().flatten(1), matrix.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(16, 48), (48, 16)])
def test_steps_are_as_long_as_adamws(shape):
    """Root mean square about 0.2 rate, whatever the shape."""
    weight = parameter(*shape)
    before = weight.detach().clone()
    stepped(Muon([weight], lr=1.0), [weight], count=1)
    length = (weight.detach() - before).square().mean().sqrt()
    assert 0.13 < length < 0.25


def test_vectors_are_refused():
    with pytest.raises(EbbtideError, match="vectors"):
        Muon([parameter(5)])


def test_what_has_no_gradient_stays():
    moved, left = parameter(8, 8), parameter(8, 8, seed=1)
    before = left.detach().clone()
    optimizer = Muon([moved, left])
    moved.grad = torch.ones_like(moved)
    optimizer.step()
    assert torch.equal(left, before)
    assert len(optimizer.state) == 1


def network():
    torch.manual_seed(0)
    made = UNet(1, patch=2, channels=16, multipliers=(1, 2), blocks=1, attention=(False, False), classes=3)
    return made.train()


def test_every_parameter_is_in_one_optimizer_and_in_the_right_one():
    unet = network()
    muon, adamw = muon_for(unet, rate=0.1).parts
    matrices = {id(p) for group in muon.param_groups for p in group["params"]}
    rest = {id(p) for group in adamw.param_groups for p in group["params"]}
    assert matrices | rest == {id(p) for p in unet.parameters()}
    assert not matrices & rest
    assert id(unet.embedding.label.weight) in rest  # a table of vectors
    assert id(unet.last.weight) in rest  # four rows
    assert id(unet.middle[0].residual.conv_in.weight) in matrices
    assert all(p.ndim > 1 for group in muon.param_groups for p in group["params"])


def test_a_network_without_matrices_is_all_adamws():
    (only,) = muon_for(nn.Linear(2, 2), rate=0.1).parts
    assert isinstance(only, torch.optim.AdamW)


def test_together_they_do_what_each_would_do_alone():
    a, b, c, d = parameter(16, 16), parameter(16), parameter(16, 16), parameter(16)
    together = Together([Muon([a], lr=0.1), torch.optim.AdamW([b], lr=0.1, fused=True)])
    stepped(together, [a, b])
    muon, adamw = Muon([c], lr=0.1), torch.optim.AdamW([d], lr=0.1, fused=True)
    generator = seeded(7)
    for _ in range(5):
        for one in (c, d):
            one.grad = torch.randn(one.shape, generator=generator)
        muon.step()
        adamw.step()
    assert torch.equal(a, c)
    assert torch.equal(b, d)


def test_a_rate_set_on_the_whole_reaches_the_parts():
    a, b = parameter(16, 16), parameter(16)
    before = a.detach().clone(), b.detach().clone()
    together = Together([Muon([a]), torch.optim.AdamW([b], weight_decay=0.0)])
    for group in together.param_groups:
        group["lr"] = 0.0
    stepped(together, [a, b])
    assert torch.equal(a, before[0])
    assert torch.equal(b, before[1])


def test_a_saved_state_goes_on_exactly():
    """Also after loading: the parts must see the state that was loaded, and the rates that are set afterwards."""
    first, second = network(), network()
    one = muon_for(first, rate=0.01)
    stepped(one, list(first.parameters()), count=3)
    other = muon_for(second, rate=0.5)
    second.load_state_dict(first.state_dict())
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    for optimizer in (one, other):
        for group in optimizer.param_groups:
            group["lr"] = 0.02
    stepped(one, list(first.parameters()), count=3, seed=8)
    stepped(other, list(second.parameters()), count=3, seed=8)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    "wrong", [{"lr": -1.0}, {"lr": float("nan")}, {"momentum": 1.0}, {"momentum": -0.1}, {"weight_decay": float("inf")}]
)
def test_numbers_that_lead_nowhere_are_refused(wrong):
    with pytest.raises(EbbtideError, match="came, expected"):
        Muon([parameter(3, 4)], **wrong)


@pytest.mark.parametrize("wrong", [{"rate": -1.0}, {"rate": 0.1, "weight_decay": -1.0}, {"rate": 0.1, "narrowest": 0}])
def test_numbers_that_lead_nowhere_are_refused_for_a_whole_network(wrong):
    with pytest.raises(EbbtideError, match="came, expected"):
        muon_for(nn.Linear(2, 2), **wrong)
