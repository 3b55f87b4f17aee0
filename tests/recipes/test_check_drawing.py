"""What can be drawn is known from the recipe: nothing is refused after training that could be before it."""

from dataclasses import replace
from itertools import product

import pytest

from ebbtide.errors import EbbtideError
from ebbtide.recipes.draw import check_drawing, draw_all
from ebbtide.recipes.objectives import with_objective
from ebbtide.recipes.recipe import SamplingRecipe, ScheduleRecipe
from ebbtide.recipes.run import DataFacts, Run
from ebbtide.recipes.samplers import SAMPLERS
from ebbtide.recipes.train import train
from trials import small

POINTS = {
    "continuous": small("swiss-roll"),
    "a table": replace(small("swiss-roll"), schedule=ScheduleRecipe(name="linear", steps=20)),
    "previous": with_objective(replace(small("swiss-roll"), schedule=ScheduleRecipe(name="linear", steps=20)), "mean"),
    "hybrid": with_objective(replace(small("swiss-roll"), schedule=ScheduleRecipe(name="linear", steps=20)), "hybrid"),
}
FACTS = DataFacts(name="points", event_shape=(2,), classes=(), examples=10, range=(0.0, 1.0))


@pytest.mark.parametrize("name", POINTS)
def test_what_is_found_to_fit_before_training_can_be_drawn_and_only_that(tmp_path, name):
    """Any sampler, with an untrained network in the trained one's place."""
    differ = []
    for sampler, grid in (*product(SAMPLERS, ["auto"]), ("unipc", "measured"), ("ddim", "measured")):
        variance = "learned" if name == "hybrid" else "posterior"
        sampling = SamplingRecipe(sampler=sampler, grid=grid, steps=3, variance=variance)
        run = Run(path=tmp_path, recipe=replace(POINTS[name], sampling=sampling), data=FACTS, machine={})
        said = []
        for way in (check_drawing, lambda run: draw_all(run, run.wrap(run.network().eval()), 2)):
            try:
                way(run)
                said.append(None)
            except EbbtideError as error:
                said.append(str(error))
        if said[0] != said[1]:
            differ.append((sampler, grid, said))
    assert not differ


@pytest.mark.parametrize(
    ("name", "sampling", "said"),
    [
        ("continuous", {"variance": "learned", "sampler": "ancestral"}, "variance='learned' came for a network"),
        ("continuous", {"eta": 0.5, "sampler": "dpm2m"}, "eta=0.5 came with the sampler dpm2m"),
        ("continuous", {"threshold": 0.99}, "threshold=0.99 came for points"),
        ("a table", {"steps": 21}, "21 sampling steps came, but the model was made with 20"),
        ("previous", {"sampler": "heun"}, "between its times"),
        ("short", {"grid": "measured"}, "3 points came"),
    ],
)
def test_what_could_not_be_drawn_is_refused_before_training_begins(tmp_path, name, sampling, said):
    short = replace(POINTS["a table"], schedule=ScheduleRecipe(name="linear", steps=3))
    recipe = {**POINTS, "short": short}[name]
    recipe = replace(recipe, sampling=replace(recipe.sampling, **{"steps": 3, **sampling}))
    with pytest.raises(EbbtideError, match=said):
        next(train(recipe, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_estimates_of_a_degradation_are_always_held(tmp_path):
    recipe = small("cold-blur")
    with pytest.raises(EbbtideError, match=r"sampling\.clip=False came"):
        next(train(replace(recipe, sampling=replace(recipe.sampling, clip=False)), tmp_path / "run"))
    assert not (tmp_path / "run").exists()
