"""Each part is what the recipe says, and the weights are what the seed says."""

from dataclasses import fields, replace

import pytest
import torch

from ebbtide.conditions import Condition
from ebbtide.errors import EbbtideError
from ebbtide.guidance import Clipped
from ebbtide.levels import KINDS
from ebbtide.networks import Mlp, UNet, UpsideDown
from ebbtide.recipes.build import (
    build_data,
    build_network,
    build_objective,
    build_schedule,
    build_settings,
    build_trainee,
    guided,
    outputs_of,
)
from ebbtide.recipes.recipe import (
    DataRecipe,
    NetworkRecipe,
    ObjectiveRecipe,
    SamplingRecipe,
    ScheduleRecipe,
    TrainingRecipe,
)
from ebbtide.recipes.samplers import build_sampler
from ebbtide.samplers import Ancestral, Ddim
from ebbtide.schedules import NormalSchedule, betas_of_level
from ebbtide.training import FitSettings

SCHEDULES = {
    "normal": {},
    "cosine": {},
    "sigmoid": {},
    "linear": {},
    "lecture": {},
    "constant": {"beta": 0.1},
    "list": {"betas": (0.1, 0.2, 0.5, 0.9)},
}
SMALL = NetworkRecipe(channels=8, width=16, depth=1)


def times_of(schedule):
    return torch.linspace(0, 1, (schedule.steps or 20) + 1, dtype=torch.float64)


@pytest.mark.parametrize("steps", [None, 4])
@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_goes_from_clean_data_to_more_and_more_noise(name, steps):
    schedule = build_schedule(ScheduleRecipe(name=name, steps=steps, **SCHEDULES[name]))
    level = schedule.level(times_of(schedule))
    assert (level.alpha[0], level.sigma[0]) == (1.0, 0.0)
    assert (level.alpha.diff() < 0).all()
    assert torch.allclose(level.alpha**2 + level.sigma**2, torch.ones_like(level.alpha))
    if steps is not None:
        assert schedule.steps == steps


def test_the_tables_are_those_of_their_names():
    def betas(**options):
        schedule = build_schedule(ScheduleRecipe(**options))
        return betas_of_level(schedule.level(times_of(schedule)[1:]))

    assert torch.allclose(betas(name="linear"), torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64))
    assert torch.allclose(betas(name="lecture")[[0, 999]], torch.tensor([1.2e-4, 0.0201], dtype=torch.float64))
    assert torch.allclose(betas(name="constant", beta=0.3, steps=5), torch.full((5,), 0.3, dtype=torch.float64))
    listed = torch.tensor(SCHEDULES["list"]["betas"], dtype=torch.float64)
    assert torch.allclose(betas(name="list", betas=SCHEDULES["list"]["betas"]), listed)


@pytest.mark.parametrize("name", ["cosine", "sigmoid"])
def test_a_table_of_a_continuous_schedule_is_nearly_that_schedule(name):
    table = build_schedule(ScheduleRecipe(name=name, steps=500))
    whole = build_schedule(ScheduleRecipe(name=name))
    t = torch.arange(1, 10, dtype=torch.float64) / 10
    assert torch.allclose(table.level(t).sigma, whole.level(t).sigma, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"name": "cosine", "betas": (0.1,)}, "only 'list' takes them"),
        ({"name": "list"}, "betas"),
        ({"name": "list", "betas": (0.1, 1.0)}, "between 0 and 1"),
        ({"name": "list", "betas": (0.1, 0.2), "steps": 3}, "leave steps out"),
        ({"name": "constant", "beta": 0.0}, "beta=0"),
        ({"name": "constant", "beta": 1.0}, "beta=1"),
    ],
)
def test_betas_that_make_no_schedule_are_refused(options, says):
    with pytest.raises(EbbtideError, match=says):
        build_schedule(ScheduleRecipe(**options))


def test_auto_takes_a_unet_for_images_and_an_mlp_for_vectors():
    assert isinstance(build_network(SMALL, (1, 8, 8), 0, 0), UNet)
    assert isinstance(build_network(SMALL, (2,), 0, 0), Mlp)


@pytest.mark.parametrize(("name", "shape"), [("unet", (2,)), ("hourglass", (2,)), ("mlp", (1, 8, 8))])
def test_a_network_for_another_kind_of_data_is_refused(name, shape):
    with pytest.raises(EbbtideError, match="unet and hourglass want images, mlp vectors"):
        build_network(replace(SMALL, name=name), shape, 0, 0)


@pytest.mark.parametrize("shape", [(2,), (1, 3, 3)])
def test_an_upside_down_network_takes_vectors_and_images_and_all_its_options(shape):
    recipe = replace(SMALL, name="upside-down")
    plain = build_network(recipe, shape, 0, 0)
    assert isinstance(plain, UpsideDown)
    for changed in ({"width": 32}, {"depth": 2}, {"dropout": 0.5}):
        assert str(build_network(replace(recipe, **changed), shape, 0, 0)) != str(plain)
    assert build_network(recipe, shape, 3, 0).embedding.classes == 3


def test_an_upside_down_network_is_no_choice_for_examples_that_it_cannot_widen():
    with pytest.raises(EbbtideError, match="width=16 came for examples of 64 numbers"):
        build_network(replace(SMALL, name="upside-down"), (1, 8, 8), 0, 0)


@pytest.mark.parametrize(("name", "shape"), [("unet", (1, 8, 8)), ("mlp", (2,)), ("upside-down", (2, 2, 2))])
def test_a_network_of_several_outputs_answers_with_as_many_times_the_channels(name, shape):
    network = build_network(replace(SMALL, name=name), shape, 0, 0, outputs=2)
    answer = network(torch.zeros(3, *shape), torch.ones(3), Condition())
    assert answer.shape == (3, 2 * shape[0], *shape[1:])


def test_a_patch_must_divide_the_picture():
    with pytest.raises(EbbtideError, match=r"network\.patch=3"):
        build_network(replace(SMALL, patch=3), (1, 8, 8), 0, 0)


@pytest.mark.parametrize("shape", [(2,), (1, 8, 8)])
def test_the_seed_alone_decides_the_first_weights(shape):
    def weights(seed):
        network = build_network(SMALL, shape, 3, seed)
        return torch.cat([value.detach().flatten() for value in network.parameters()])

    torch.manual_seed(1)
    state, first = torch.get_rng_state(), weights(0)
    assert torch.equal(torch.get_rng_state(), state), "the caller's generator was used"
    torch.manual_seed(2)
    assert torch.equal(weights(0), first)
    assert not torch.equal(weights(1), first)


@pytest.mark.parametrize(("option", "value"), [("dropout", 0.5), ("width", 32), ("depth", 2), ("channels", 16)])
@pytest.mark.parametrize("shape", [(2,), (1, 8, 8)])
def test_the_options_of_a_network_reach_it(option, value, shape):
    mine = {"dropout"} | ({"width", "depth"} if shape == (2,) else {"channels"})
    changed = str(build_network(replace(SMALL, **{option: value}), shape, 0, 0)) != str(
        build_network(SMALL, shape, 0, 0)
    )
    assert changed == (option in mine)


@pytest.mark.parametrize("predicts", KINDS)
@pytest.mark.parametrize("measured", [None, *KINDS])
def test_every_kind_can_be_predicted_and_measured(predicts, measured):
    recipe = ObjectiveRecipe(predicts=predicts, measured=measured, drop_labels=0.25)
    objective = build_objective(recipe, build_schedule(ScheduleRecipe()))
    assert (objective.predicts, objective.measured, objective.drop_condition) == (predicts, measured, 0.25)
    x0 = torch.randn(6, 2, generator=torch.Generator().manual_seed(0))
    losses = objective(build_network(SMALL, (2,), 0, 0), x0, Condition(), torch.Generator().manual_seed(0))
    assert torch.isfinite(losses.values).all()
    assert (losses.values > 0).all()


TABLE = ScheduleRecipe(name="linear", steps=20)
REFUSED = {
    "a drawn target for the whole noise": (TABLE, {"predicts": "eps", "target": "sampled"}, "target='sampled' came"),
    "a drawn target with a weight": (
        TABLE,
        {"predicts": "previous", "target": "sampled", "weight": "bound"},
        "nothing else changed",
    ),
    "a drawn target measured otherwise": (
        TABLE,
        {"predicts": "previous", "target": "sampled", "measured": "eps"},
        "nothing else changed",
    ),
    "a drawn target with a variance": (
        TABLE,
        {"predicts": "step_noise", "target": "sampled", "variance": "learned"},
        "nothing else changed",
    ),
    "a weight on errors of the noise": (TABLE, {"weight": "bound", "measured": "eps"}, "it weighs errors of x0"),
    "another weight on errors of the score": (TABLE, {"weight": "min-snr", "measured": "score"}, "errors of x0"),
    "steps without a table": (ScheduleRecipe(), {"predicts": "previous"}, "--schedule.steps 1000"),
    "steps that are measured without a table": (ScheduleRecipe(), {"measured": "step_noise"}, "--schedule.steps 1000"),
    "drawn steps without a table": (
        ScheduleRecipe(name="cosine"),
        {"predicts": "step_noise", "target": "sampled"},
        "--schedule.steps 1000",
    ),
    "a variance of steps without a table": (ScheduleRecipe(), {"variance": "learned"}, "--schedule.steps 1000"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_loss_that_makes_no_sense_is_refused(case):
    schedule, options, says = REFUSED[case]
    with pytest.raises(EbbtideError, match=says):
        build_objective(ObjectiveRecipe(**options), build_schedule(schedule))


@pytest.mark.parametrize("weight", ["bound", "min-snr"])
def test_a_weight_is_on_errors_of_the_data_whether_or_not_that_is_said(weight):
    objectives = [
        build_objective(ObjectiveRecipe(predicts="eps", weight=weight, measured=measured), build_schedule(TABLE))
        for measured in (None, "x0")
    ]
    assert [objective.measured for objective in objectives] == ["x0", "x0"]


@pytest.mark.parametrize(("variance", "outputs"), [("fixed", 1), ("learned", 2)])
def test_a_learned_variance_takes_as_many_channels_again(variance, outputs):
    assert outputs_of(ObjectiveRecipe(variance=variance)) == outputs


def test_the_samplers_are_what_the_recipe_says():
    assert build_sampler(SamplingRecipe(sampler="ddim", eta=0.3)) == Ddim(eta=0.3)
    assert build_sampler(SamplingRecipe(sampler="ancestral", variance="step")) == Ancestral(variance="step")


@pytest.mark.parametrize(
    ("clip", "image", "expected"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_estimates_are_held_within_the_range_of_images_only(clip, image, expected):
    objective = build_objective(ObjectiveRecipe(), build_schedule(ScheduleRecipe()))
    denoiser = guided(
        objective.denoiser(build_network(SMALL, (2,), 0, 0)), SamplingRecipe(clip=clip), (0.0, 1.5) if image else None
    )
    assert isinstance(denoiser, Clipped) == expected
    if expected:
        assert (denoiser.low, denoiser.high) == (0.0, 1.5)


def test_every_setting_of_the_loop_is_the_recipes():
    """Each field that both know by one name, changed to something that is not its default."""
    changed = {
        "batch": 33,
        "accumulate": 3,
        "rate": 0.7,
        "warmup": 9,
        "decay": 0.9,
        "clip": 5.0,
        "updates": 77,
        "seed": 5,
    }
    settings = build_settings(TrainingRecipe(**changed, minutes=0.5))
    assert {name: getattr(settings, name) for name in changed} == changed
    assert settings.seconds == 30.0
    assert {field.name for field in fields(FitSettings)} == {*changed, "seconds"}


@pytest.mark.parametrize(("optimizer", "kinds"), [("adamw", ["AdamW"]), ("muon", ["Muon", "AdamW"])])
def test_the_optimizer_and_the_average_are_the_recipes(optimizer, kinds):
    recipe = TrainingRecipe(optimizer=optimizer, rate=0.25, weight_decay=0.125, half_life=77)
    trainee = build_trainee(recipe, build_network(SMALL, (2,), 0, 0))
    parts = getattr(trainee.optimizer, "parts", (trainee.optimizer,))
    assert [type(part).__name__ for part in parts] == kinds
    groups = trainee.optimizer.param_groups
    assert all((group["lr"], group["weight_decay"]) == (0.25, 0.125) for group in groups)
    assert trainee.average.half_life == 77
    assert sum(len(group["params"]) for group in groups) == len(list(trainee.network.parameters()))


def test_pixels_have_mean_0_and_variance_1_unless_a_range_is_given():
    whole = build_data(DataRecipe())
    x0 = whole.batch(range(len(whole))).x0
    assert x0.mean().abs() < 1e-5
    assert (x0.double().var(correction=0) - 1).abs() < 1e-5
    held_out = build_data(DataRecipe(), "test", whole.range)
    assert held_out.range == whole.range != build_data(DataRecipe(), "test").range
    given = build_data(DataRecipe(low=-1.0, high=1.0))
    assert (given.range.low, given.range.high) == (-1.0, 1.0)


def test_half_a_range_is_refused():
    with pytest.raises(EbbtideError, match="both of them or neither"):
        build_data(DataRecipe(low=-1.0))


def test_the_normal_schedule_is_that_of_the_recipe():
    assert build_schedule(ScheduleRecipe(name="normal", mean=0.5, std=2.0)) == NormalSchedule(mean=0.5, std=2.0)


def test_data_is_read_as_the_recipe_says():
    whole = build_data(DataRecipe())
    few = build_data(DataRecipe(size=4, colour="rgb", labels=False, limit=7, low=0.0, high=2.0, flip=True))
    assert few.event_shape == (3, 4, 4)
    assert (len(few), few.labels, few.flip) == (7, None, True)
    assert few.batch(range(7)).x0.min() >= 0.0
    assert 1.5 < few.batch(range(7)).x0.max() <= 2.0
    assert whole.classes == tuple("0123456789")
    assert not torch.equal(whole.batch(range(7)).x0, build_data(DataRecipe(), "test").batch(range(7)).x0)


def test_a_preset_without_data_says_how_to_give_it_some():
    with pytest.raises(EbbtideError, match="--data FOLDER"):
        build_data(DataRecipe(source=""))
