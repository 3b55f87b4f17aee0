"""Where sampling begins: the fitted mixture has the moments of what it was fitted to, and survives a file."""

import pytest
import torch
from safetensors.torch import load, save

from ebbtide.corruptions import Start, fit_start
from ebbtide.corruptions.start import MOST_FITTED, MOST_NUMBERS, examples_for
from ebbtide.errors import EbbtideError
from ebbtide.randomness import SampleGenerators, normal
from parts import noise, seeded


def two_colours(count=4000):
    """Plain pictures, dark or light: one direction, two heaps."""
    shade = torch.where(noise(count, 1, 1, 1) > 0.3, 0.8, -0.5) + 0.02 * normal((count, 1, 1, 1), seeded(5))
    return shade.expand(count, 1, 4, 4).contiguous()


def test_two_heaps_are_found_and_nothing_between_them():
    x1 = two_colours()
    start = fit_start(x1, components=2, spread=0.0)
    drawn = start.draw((20_000, 1, 4, 4), seeded(1)).mean((1, 2, 3))
    light = (x1.mean((1, 2, 3)) > 0).double().mean()
    assert abs((drawn > 0.15).double().mean() - light) < 4 * (light * (1 - light) / 20_000) ** 0.5 + 1e-3
    assert ((drawn > -0.3) & (drawn < 0.6)).double().mean() < 1e-3
    assert start.basis.shape[0] == 1


def test_mean_and_covariance_are_the_datas_own():
    mixing = noise(3, 12)
    x1 = (noise(6000, 3) @ mixing + 1.0).reshape(6000, 3, 2, 2)
    start = fit_start(x1, spread=0.0)
    drawn = start.draw((40_000, 3, 2, 2), seeded(2)).flatten(1).double()
    rows = x1.flatten(1).double()
    scale = rows.std(0).max()
    assert (drawn.mean(0) - rows.mean(0)).abs().max() < 0.03 * scale
    assert (drawn.T.cov() - rows.T.cov()).abs().max() < 0.05 * scale**2


def test_the_noise_has_the_spread_that_was_asked_for():
    x1 = torch.full((10, 1, 3, 3), 0.25) + 1e-7 * noise(10, 1, 3, 3)
    drawn = fit_start(x1, spread=0.01).draw((5000, 1, 3, 3), seeded(3))
    assert drawn.std() == pytest.approx(0.01, rel=0.02)
    assert drawn.mean() == pytest.approx(0.25, abs=1e-3)


def test_a_seed_names_a_start_in_any_batch():
    start = fit_start(two_colours(500))
    whole = start.draw((6, 1, 4, 4), SampleGenerators.of(7, range(6)))
    part = start.draw((2, 1, 4, 4), SampleGenerators.of(7, range(3, 5)))
    torch.testing.assert_close(whole[3:5], part)


def test_a_file_keeps_it_whole():
    start = fit_start(two_colours(500))
    again = Start.of(load(save(start.tensors())), 16)
    assert torch.equal(again.draw((4, 1, 4, 4), seeded(0)), start.draw((4, 1, 4, 4), seeded(0)))


def test_wrong_input_is_refused():
    start = fit_start(two_colours(100))
    with pytest.raises(EbbtideError, match="samples of 9 numbers"):
        start.draw((1, 1, 3, 3), seeded(0))
    for options, said in (({"components": 0}, "components=0"), ({"spread": -1.0}, "spread=-1.0")):
        with pytest.raises(EbbtideError, match=said):
            fit_start(two_colours(10), **options)
    with pytest.raises(EbbtideError, match="1 examples"):
        fit_start(two_colours(1))


def test_large_pictures_take_no_more_memory_than_small_ones():
    assert examples_for(784) == MOST_FITTED
    assert examples_for(3 * 256 * 256) * 3 * 256 * 256 <= MOST_NUMBERS
    x1 = noise(40, 3, 1, 1, dtype=torch.float32).expand(40, 3, 96, 96)
    start = fit_start(x1, spread=0.0)
    assert start.basis.shape == (3, 3 * 96 * 96)
    assert start.draw((2, 3, 96, 96), seeded(0)).var((2, 3)).max() < 1e-6


@pytest.mark.parametrize("name", Start.__dataclass_fields__)
def test_tensors_that_are_no_start_are_refused_by_name(name):
    """Whichever is missing, of another type or shape, or not finite: bytes that are read as something else."""
    good = fit_start(two_colours(100)).tensors()
    value = good[name]
    for wrong in (None, value.view(torch.int32), value.double(), value[None], value + float("nan")):
        tensors = {key: tensor for key, tensor in (good | {name: wrong}).items() if tensor is not None}
        with pytest.raises(EbbtideError, match=f"its {name} |lacks .*{name}|its (means|cholesky) "):
            Start.of(tensors, 16)


def test_a_start_of_other_examples_or_of_no_law_is_refused():
    good = fit_start(two_colours(100)).tensors()
    spread = torch.tensor(-1.0)
    for tensors, numbers, said in (
        (good, 9, "its basis is float32 .*, expected float32 "),
        (good | {"weights": 3 * good["weights"]}, 16, "its weights sum to 3"),
        (good | {"weights": good["weights"] - 1}, 16, "its weights sum to "),
        (good | {"spread": spread}, 16, "its spread is -1"),
        (good | {"more": spread}, 16, "has also more"),
        ({}, 16, "lacks basis, centre, cholesky"),
    ):
        with pytest.raises(EbbtideError, match=said):
            Start.of(tensors, numbers)
