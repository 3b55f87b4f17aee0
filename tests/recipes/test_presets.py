"""Every preset can be found and built; a name that is nearly right is answered with the right one."""

import json
from dataclasses import replace

import pytest
import torch

from ebbtide.conditions import Condition
from ebbtide.corruptions import fit_start
from ebbtide.data import BUILT_IN
from ebbtide.errors import EbbtideError
from ebbtide.grids import uniform_grid
from ebbtide.recipes.as_json import to_json
from ebbtide.recipes.build import build_network, build_settings
from ebbtide.recipes.corruptions import objective_of
from ebbtide.recipes.presets import PRESETS, find_recipe
from ebbtide.recipes.recipe import check
from ebbtide.recipes.samplers import build_sampler, check_sampler
from ebbtide.samplers import generate


@pytest.mark.parametrize("name", PRESETS)
def test_it_is_found_by_its_name_and_is_within_all_bounds(name):
    recipe = find_recipe(name)
    assert recipe.name == name
    assert check(recipe) is recipe
    assert PRESETS[name].about
    assert recipe.data.source in ("", *BUILT_IN)


@pytest.mark.parametrize("name", PRESETS)
def test_its_parts_fit_together(name):
    """One loss and one sampling step on an example of the shape that it is meant for."""
    recipe = find_recipe(name)
    shape = PRESETS[name].shape
    limits = (-1.0, 1.0) if len(shape) == 3 else None
    start = fit_start(torch.randn(50, *shape, generator=torch.Generator().manual_seed(0)), components=1)
    objective = objective_of(recipe, shape, limits, start)
    network = build_network(recipe.network, shape, 10, seed=0)
    condition = Condition(label=torch.tensor([3, -1]))
    losses = objective(network, torch.zeros(2, *shape), condition, torch.Generator().manual_seed(0))
    assert torch.isfinite(losses.values).all()
    grid = uniform_grid(objective.corruption, recipe.sampling.steps)
    check_sampler(recipe.sampling.sampler, recipe.objective.predicts, objective.corruption)
    sampler = build_sampler(recipe.sampling)
    step = next(generate(objective.denoiser(network), sampler, grid, shape, range(2), seed=0))
    assert torch.isfinite(step.x).all()


@pytest.mark.parametrize("name", PRESETS)
def test_it_ends_by_a_budget_of_its_own(name):
    settings = build_settings(find_recipe(name).training)
    assert (settings.updates is None) != (settings.seconds is None)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("slip", ["lost", "doubled", "swapped"])
def test_a_slip_of_the_finger_is_answered_with_the_name(name, slip):
    wrong = {"lost": name[:2] + name[3:], "doubled": name[:3] + name[2:], "swapped": name[1] + name[0] + name[2:]}[slip]
    with pytest.raises(EbbtideError) as raised:
        find_recipe(wrong)
    guess = str(raised.value).split("Did you mean ")[1].split("?")[0]
    assert name in guess.split(" or ")


def test_a_name_like_none_is_answered_with_all_of_them():
    with pytest.raises(EbbtideError) as raised:
        find_recipe("qqqq")
    assert "Did you mean" not in str(raised.value)
    assert all(name in str(raised.value) for name in PRESETS)


def test_a_json_file_is_a_recipe_too(tmp_path):
    recipe = replace(PRESETS["digits"].recipe, name="mine")
    for name in ("mine.json", "mine"):
        (tmp_path / name).write_text(json.dumps(to_json(recipe)))
        assert find_recipe(str(tmp_path / name)) == recipe


def test_a_json_file_that_is_not_there_is_no_preset_misspelt(tmp_path):
    with pytest.raises(EbbtideError, match="expected a JSON file"):
        find_recipe(str(tmp_path / "mine.json"))
