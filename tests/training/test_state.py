"""A trainee that became a checkpoint and came back goes on as if nothing had been in between."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

from ebbtide.conditions import Condition
from ebbtide.errors import EbbtideError
from ebbtide.networks import UNet
from ebbtide.recipes.build import build_trainee
from ebbtide.recipes.recipe import TrainingRecipe
from ebbtide.training import Trainee
from ebbtide.training.average import Average
from ebbtide.training.checkpoints import load, save
from ebbtide.training.state import GROUPS


def trainee_of(seed: int, channels: int = 8) -> Trainee:
    """A small network in channels-last memory, as images need it, with its optimizer."""
    torch.manual_seed(seed)
    network = UNet(1, channels=channels, multipliers=(1, 1), blocks=1, attention=(False, True))
    return build_trainee(TrainingRecipe(half_life=20), network)


def update(trainee: Trainee, number: int) -> None:
    generator = torch.Generator().manual_seed(number)
    x = torch.randn(4, 1, 8, 8, generator=generator)
    loss = F.mse_loss(trainee.network(x, torch.rand(4, generator=generator), Condition()), x)
    trainee.optimizer.zero_grad()
    loss.backward()
    trainee.optimizer.step()
    trainee.counters.step += 1
    trainee.counters.images += 4
    trainee.counters.seconds += 0.1
    trainee.average.update(trainee.network, batch=4, images=trainee.counters.images)
    trainee.bins.add(loss.detach().expand(4), torch.rand(4, generator=generator))


@pytest.mark.parametrize("stop", [0, 1, 3])
def test_it_goes_on_exactly(tmp_path, stop):
    uninterrupted, stopped, resumed = trainee_of(0), trainee_of(0), trainee_of(1)
    for number in range(stop):
        update(stopped, number)
    resumed.restore(load(save(tmp_path, stopped.checkpoint(), keep=1), GROUPS))
    for number in range(stop, 6):
        update(resumed, number)
    for number in range(6):
        update(uninterrupted, number)
    expected, got = uninterrupted.checkpoint(), resumed.checkpoint()
    for group in GROUPS:
        assert expected.tensors[group].keys() == got.tensors[group].keys()
        for name, value in expected.tensors[group].items():
            assert torch.equal(value, got.tensors[group][name]), f"{group}/{name}"
    assert json.dumps(got.state) == json.dumps(expected.state)


def test_a_checkpoint_in_hand_is_the_whole_of_the_trainee():
    trainee = trainee_of(0)
    update(trainee, 0)
    checkpoint = trainee.checkpoint()
    named = dict(trainee.network.named_parameters())
    assert checkpoint.tensors["network"].keys() == checkpoint.tensors["average"].keys() >= named.keys()
    for parameter, index in zip(*_numbered(trainee.optimizer), strict=True):
        kept = {key.split(".")[1] for key in checkpoint.tensors["optimizer"] if key.split(".")[0] == str(index)}
        assert kept == set(trainee.optimizer.state[parameter])
        assert kept in ({"momentum"}, {"step", "exp_avg", "exp_avg_sq"})


def _numbered(optimizer):
    """The parameters in the order in which a state's keys count them."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return parameters, range(len(parameters))


def test_weights_of_another_network_are_refused(tmp_path):
    path = save(tmp_path, trainee_of(0, channels=16).checkpoint(), keep=1)
    with pytest.raises(EbbtideError, match="do not fit"):
        trainee_of(0).restore(load(path, GROUPS))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A checkpoint after one update."""
    trainee = trainee_of(0)
    update(trainee, 0)
    return save(tmp_path_factory.mktemp("saved"), trainee.checkpoint(), keep=1)


def in_state(change):
    def spoil(path):
        state = json.loads((path / "state.json").read_text())
        change(state)
        (path / "state.json").write_text(json.dumps(state))

    return spoil


def in_tensors(group, change):
    def spoil(path):
        file = path / f"{group}.safetensors"
        tensors = load_file(file)
        name = max(tensors, key=lambda name: tensors[name].numel())
        change(tensors, name)
        save_file(tensors, file)

    return spoil


def put(value):
    return lambda tensors, name: tensors.update({name: value(tensors[name])})


CHANGES = {
    "missing": lambda tensors, name: tensors.pop(name),
    "unknown": lambda tensors, name: tensors.update(more=torch.zeros(1)),
    "renamed": lambda tensors, name: tensors.update({f"{name}x": tensors.pop(name)}),
    "of another shape": put(lambda value: value.flatten()),
    "of another type": put(lambda value: value.double()),
    "read as whole numbers": put(lambda value: value.view(torch.int32)),
    "NaN": put(lambda value: value * float("nan")),
    "infinite": put(lambda value: value / 0),
}
SPOILT = {
    **{f"{group} {what}": in_tensors(group, change) for group in GROUPS for what, change in CHANGES.items()},
    "another step": in_state(lambda state: state.update(step=7)),
    "a step in words": in_state(lambda state: state.update(step="1")),
    "counters of another step": in_state(lambda state: state["counters"].update(step=9)),
    "counters that run backwards": in_state(lambda state: state["counters"].update(images=-4)),
    "more skipped than tried": in_state(lambda state: state["counters"].update(skipped=2)),
    "a counter in words": in_state(lambda state: state["counters"].update(seconds="long")),
    "an unknown counter": in_state(lambda state: state["counters"].update(hours=3)),
    "no counters": in_state(lambda state: state.pop("counters")),
    "no bins": in_state(lambda state: state.pop("bins")),
    "fewer bins": in_state(lambda state: state["bins"]["losses"].pop()),
    "bins that are no numbers": in_state(lambda state: state["bins"].update(losses=[None] * 20)),
    "no groups": in_state(lambda state: state.pop("optimizer")),
    "other groups": in_state(lambda state: state["optimizer"][0].update(params=[99])),
    "groups of another kind": in_state(lambda state: state.update(optimizer=[3])),
}


@pytest.mark.parametrize("what", SPOILT)
def test_what_contradicts_the_recipe_or_itself_is_one_line_that_names_the_checkpoint(tmp_path, saved, what):
    path = shutil.copytree(saved, tmp_path / saved.name)
    SPOILT[what](path)
    with pytest.raises(EbbtideError) as raised:
        trainee_of(0).restore(load(path, GROUPS))
    said = str(raised.value)
    assert str(path) in said
    assert "delete that" in said
    assert "\n" not in said


def test_the_optimizers_settings_are_the_recipes_not_the_files(tmp_path, saved):
    path = shutil.copytree(saved, tmp_path / saved.name)
    in_state(lambda state: state["optimizer"][0].update(momentum="x", lr=1e9))(path)
    trainee = trainee_of(0)
    trainee.restore(load(path, GROUPS))
    assert trainee.optimizer.param_groups[0]["momentum"] == 0.95
    update(trainee, 1)


class Remembering(torch.optim.SGD):
    """Keeps a number that is no tensor."""

    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter]["calls"] = 1


def test_an_optimizer_whose_state_files_cannot_hold_is_refused_not_forgotten():
    network = nn.Linear(1, 1)
    trainee = Trainee(network, Remembering(network.parameters(), lr=0.1), Average(network, 10))
    trainee.optimizer.step()
    with pytest.raises(EbbtideError, match="calls"):
        trainee.checkpoint()
