"""Corruptions by name: every one is built, joined ones follow one another, and a run keeps where sampling begins."""

import shutil

import pytest
import torch

from ebbtide.conditions import Condition
from ebbtide.corruptions import CoinFlips, ColdCorruption, GaussianCorruption, PixelByPixel
from ebbtide.degradations import Composed
from ebbtide.errors import EbbtideError
from ebbtide.recipes.corruptions import CORRUPTIONS, build_corruption, build_degradation, objective_of
from ebbtide.recipes.recipe import CorruptionRecipe, ObjectiveRecipe, Recipe
from ebbtide.recipes.run import START, open_run
from parts import noise, seeded
from trials import cold_run, everything_in, relabelled, small, trained

SHAPE, LIMITS = (1, 12, 12), (-0.5, 2.0)
X0 = LIMITS[0] + 2.5 * noise(3, *SHAPE, dtype=torch.float32).sigmoid()


def recipe(name, **options):
    other = "digits" if "animorph" in name else ""
    return Recipe(corruption=CorruptionRecipe(name=name, other=other, **options))


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_every_name_is_built_and_wears_pictures_away(name):
    corruption = build_corruption(recipe(name), SHAPE, LIMITS)
    kinds = {"gaussian": GaussianCorruption, "naive": CoinFlips, "naive-pixelwise": PixelByPixel}
    assert isinstance(corruption, kinds.get(name, ColdCorruption))
    worn = [corruption.corrupt(X0, torch.full((3,), t, dtype=torch.float64), seeded(0)).xt for t in (0.0, 0.5, 1.0)]
    assert torch.equal(worn[0], X0)
    away = [(x - X0).abs().mean() for x in worn]
    assert 0 < away[1] <= away[2] * 1.2


def test_joined_degradations_are_one_after_the_other():
    joined = build_degradation(CorruptionRecipe(name="pixelate+fade"), SHAPE)
    assert isinstance(joined, Composed)
    t = torch.full((3,), 0.6, dtype=torch.float64)
    one = build_degradation(CorruptionRecipe(name="pixelate"), SHAPE)(X0, t, ())
    two = build_degradation(CorruptionRecipe(name="fade"), SHAPE)(one, t, ())
    torch.testing.assert_close(joined(X0, t, joined.draw(X0.shape, seeded(0))), two)
    whole = build_corruption(recipe("pixelate+fade"), SHAPE, LIMITS)
    assert not whole.chance(X0.shape)
    assert build_corruption(recipe("pixelate+snow"), SHAPE, LIMITS).chance(X0.shape)


def test_the_objective_follows_the_corruption():
    for name, predicts in (("gaussian", "v"), ("naive", "previous"), ("blur", "x0")):
        asked = Recipe(corruption=CorruptionRecipe(name=name), objective=ObjectiveRecipe(predicts=predicts))
        objective = objective_of(asked, SHAPE, LIMITS)
        losses = objective(lambda x, t, condition: x, X0, Condition(), seeded(0))
        assert losses.values.isfinite().all()


def test_a_damaged_start_is_told(tmp_path):
    run = tmp_path / "run"
    shutil.copytree(cold_run("cold-blur"), run)
    assert open_run(run).start() is not None
    relabelled(run / START, "I32")
    before = everything_in(run)
    with pytest.raises(EbbtideError, match=r"start\.safetensors is damaged \(its .* is int32"):
        open_run(run).denoiser()
    with pytest.raises(EbbtideError, match=r"start\.safetensors is damaged"):
        trained(small("cold-blur", updates=7), run, resume=True)
    assert everything_in(run) == before
    (run / START).write_bytes(b"nonsense")
    with pytest.raises(EbbtideError, match=r"start\.safetensors is damaged"):
        open_run(run).start()
    (run / START).unlink()
    denoiser = open_run(run).denoiser()
    with pytest.raises(EbbtideError, match="has not been fitted"):
        denoiser.corruption.prior((1, 1, 8, 8), seeded(0))
