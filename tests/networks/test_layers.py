"""The pieces that networks are built of, against their formulas written out."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ebbtide.conditions import Condition
from ebbtide.errors import EbbtideError
from ebbtide.networks.layers import (
    Embedding,
    ResidualBlock,
    SelfAttention,
    attended,
    group_norm,
    sinusoids,
    zeroed,
)
from parts import noise, perturbed


def images(*shape, seed=0):
    return noise(*shape, seed=seed, dtype=torch.float32)


@pytest.mark.parametrize("size", [5, 16, 64, 128])
def test_no_two_of_a_thousand_times_look_alike(size):
    seen = sinusoids(torch.arange(1001) / 1000, size)
    assert seen.shape == (1001, size)
    assert torch.pdist(seen).min() > 0.05


def test_sinusoids_turn_at_falling_frequencies_with_1000_t():
    t = torch.tensor([0.0, 0.013, 0.5, 1.0])
    seen = sinusoids(t, 8)
    for k in range(4):
        angle = 1000 * t.double() / 10_000 ** (k / 4)
        assert torch.allclose(seen[:, k].double(), angle.cos(), atol=1e-4)
        assert torch.allclose(seen[:, k + 4].double(), angle.sin(), atol=1e-4)


@pytest.mark.parametrize("channels", [*range(1, 9), 12, 30, 31, 64, 100, 128, 384])
def test_group_norm_divides_any_number_of_channels_evenly(channels):
    norm = group_norm(channels)
    groups = norm.num_groups
    assert groups <= 32
    assert groups == 1 or channels // groups >= 4
    x = 3 + 2 * images(4, channels, 5, 5)
    normal = norm(x).reshape(4, groups, -1)
    assert normal.mean(2).abs().max() < 1e-4
    assert (normal.var(2, correction=0) - 1).abs().max() < 1e-3


def test_a_zeroed_layer_gives_zero():
    assert (zeroed(nn.Linear(3, 2))(images(4, 3)) == 0).all()


def test_residual_blocks_and_attention_begin_as_the_identity():
    x = images(2, 8, 5, 4)
    assert torch.equal(ResidualBlock(8, 8, 16, 0.1)(x, images(2, 16)), x)
    assert torch.equal(SelfAttention(8, 2)(x), x)
    widened = ResidualBlock(8, 12, 16, 0.0)
    assert torch.equal(widened(x, images(2, 16)), widened.skip(x))


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_attention_is_softmax_of_q_k_over_root_d_times_v_in_every_head(heads):
    attention = perturbed(SelfAttention(8, heads), scale=0.3)
    x = images(2, 8, 3, 5)
    size = 8 // heads
    mixed = torch.zeros(2, 8, 15)
    pixels = nn.functional.conv2d(attention.norm(x), attention.qkv.weight, attention.qkv.bias).reshape(2, 24, 15)
    for head in range(heads):
        q, k, v = (pixels[:, part * 8 + head * size :][:, :size] for part in range(3))
        for one in range(15):
            scores = torch.stack([(q[:, :, one] * k[:, :, other]).sum(1) for other in range(15)], 1) / math.sqrt(size)
            share = scores.softmax(1)
            mixed[:, head * size : (head + 1) * size, one] = (share[:, None, :] * v).sum(2)
    expected = x + attention.out(mixed.reshape(2, 8, 3, 5))
    assert torch.allclose(attention(x), expected, rtol=1e-4, atol=1e-5)


def test_attention_knows_no_places():
    """Pixels that change places take their answers along."""
    attention = perturbed(SelfAttention(8, 2), scale=0.3)
    x, order = images(2, 8, 3, 4), torch.randperm(12, generator=torch.Generator().manual_seed(1))

    def moved(y):
        return y.flatten(2)[:, :, order].reshape(2, 8, 3, 4)

    assert torch.allclose(attention(moved(x)), moved(attention(x)), atol=1e-5)
    assert not torch.allclose(attention(x), x, atol=0.1)


@pytest.mark.parametrize("heads", [0, 3, -2])
def test_heads_that_do_not_divide_the_channels_are_refused(heads):
    with pytest.raises(EbbtideError, match="heads"):
        SelfAttention(8, heads)


def test_an_embedding_tells_times_and_labels_apart():
    embedding = perturbed(Embedding(12, 8, classes=3))
    t, same = torch.tensor([0.1, 0.1, 0.9]), torch.zeros(3, dtype=torch.long)
    by_time = embedding(t, Condition(label=same))
    assert torch.allclose(by_time[0], by_time[1])
    assert not torch.allclose(by_time[0], by_time[2], atol=1e-3)
    labels = torch.tensor([-1, 0, 1, 2])
    by_label = embedding(torch.full((4,), 0.3), Condition(label=labels))
    assert torch.pdist(by_label).min() > 1e-2
    assert torch.allclose(embedding(torch.full((4,), 0.3), Condition()), by_label[:1].expand(4, 12))


def test_an_embedding_without_classes_hears_no_label_and_refuses_fewer():
    embedding = Embedding(12, 8)
    t = torch.tensor([0.1, 0.7])
    assert torch.equal(embedding(t, Condition(label=torch.tensor([5, 6]))), embedding(t, Condition()))
    with pytest.raises(EbbtideError, match="classes"):
        Embedding(12, 8, classes=-1)


def test_the_residual_blocks_embedding_reaches_every_pixel_alike():
    block = perturbed(ResidualBlock(8, 8, 16, 0.0), scale=0.3)
    flat = torch.ones(1, 8, 9, 9) * images(1, 8, 1, 1)
    change = block(flat, images(1, 16, seed=1)) - block(flat, images(1, 16, seed=2))
    inner = change[:, :, 2:-2, 2:-2]
    assert inner.abs().max() > 1e-2
    assert torch.allclose(inner, inner[:, :, :1, :1].expand_as(inner), atol=1e-4)


@pytest.mark.parametrize("shape", [(2, 1, 1, 4), (2, 3, 16, 8), (1, 2, 49, 5)])
def test_attention_is_torchs_own_forward_and_backward(shape):
    q, k, v = (noise(*shape, seed=seed, dtype=torch.float32).requires_grad_() for seed in range(3))
    ours, theirs = attended(q, k, v), F.scaled_dot_product_attention(q, k, v)
    torch.testing.assert_close(ours, theirs)
    weights = noise(*shape, seed=9, dtype=torch.float32)
    for one, other in zip(
        torch.autograd.grad((ours * weights).sum(), (q, k, v)),
        torch.autograd.grad((theirs * weights).sum(), (q, k, v)),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_very_many_pixels_are_left_to_the_fused_kernel(monkeypatch):
    monkeypatch.setattr("ebbtide.networks.layers.MOST_SCORES", 3)
    q, k, v = (noise(1, 2, 9, 4, seed=seed, dtype=torch.float32) for seed in range(3))
    assert torch.equal(attended(q, k, v), F.scaled_dot_product_attention(q, k, v))
