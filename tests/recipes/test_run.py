"""A run's folder is all that sampling needs; a folder that is no run, or a damaged one, is refused in one line."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from ebbtide.data import Dataset, load
from ebbtide.errors import EbbtideError
from ebbtide.recipes.as_json import FORMAT
from ebbtide.recipes.draw import draw_all
from ebbtide.recipes.run import DataFacts, Run, open_run, with_sampling
from ebbtide.training import checkpoints
from trials import colour_run, grey_run, last, network_of, pictures, point_run, small, trained


def test_what_is_written_is_what_is_read(tmp_path):
    run = Run(
        path=tmp_path / "run",
        recipe=small(dropout=0.25),
        data=DataFacts.of(load("digits")),
        machine={"device": "cpu", "cores": 2},
    )
    run.write()
    assert open_run(tmp_path / "run") == run


@pytest.mark.parametrize("source", ["digits", "moons"])
def test_labels_that_are_not_learned_are_no_classes(source):
    dataset = load(source)
    facts = DataFacts.of(dataset)
    assert facts.classes == dataset.classes != ()
    assert (facts.examples, facts.event_shape, facts.is_image) == (
        len(dataset),
        dataset.event_shape,
        source == "digits",
    )
    assert DataFacts.of(load(source, labels=False)).classes == ()
    assert DataFacts.of(Dataset(name="x", values=dataset.values, classes=())).classes == ()


def test_sampling_needs_nothing_but_the_folder(tmp_path):
    source = pictures(tmp_path / "pictures", 12, colour=True)
    out = tmp_path / "run"
    trained(small("images", source=str(source)), out)
    before = draw_all(open_run(out), open_run(out).denoiser(), 5)
    shutil.rmtree(source)
    moved = out.rename(tmp_path / "elsewhere")
    run = open_run(moved)
    assert torch.equal(draw_all(run, run.denoiser(), 5), before)
    assert run.to_bytes(before).shape == (5, 8, 8, 3)


@pytest.mark.parametrize("weights", ["average", "network"])
def test_a_denoiser_has_the_weights_that_are_asked_for(weights):
    expected = last(grey_run()).tensors[weights]
    network = network_of(open_run(grey_run()), weights)
    assert not network.training
    got = network.state_dict()
    assert all(torch.equal(got[name], value) for name, value in expected.items())
    other = last(grey_run()).tensors["network" if weights == "average" else "average"]
    assert not all(torch.equal(got[name], value) for name, value in other.items())


def test_other_sampling_changes_the_sampling_only():
    run = open_run(grey_run())
    sampling = replace(run.recipe.sampling, steps=17)
    assert with_sampling(run, sampling).recipe.sampling == sampling
    assert with_sampling(with_sampling(run, sampling), run.recipe.sampling) == run


def test_black_and_white_are_the_ends_of_the_runs_range():
    run = open_run(grey_run())
    for low, high in ((-1.0, 1.0), (0.0, 5.0)):
        other = replace(run, data=replace(run.data, range=(low, high)))
        x = torch.tensor([low, high, low - 9, high + 9]).reshape(1, 1, 2, 2)
        assert other.to_bytes(x).flatten().tolist() == [0, 255, 0, 255]


def test_pictures_have_their_channels_last():
    run = open_run(colour_run())
    x = torch.full((1, 3, 2, 2), run.data.value_range.low)
    x[0, 1, 0, 1] = run.data.value_range.high
    assert run.to_bytes(x)[0, 0, 1].tolist() == [0, 255, 0]


@pytest.fixture
def copied(tmp_path):
    """A run that may be spoilt."""
    return shutil.copytree(point_run(), tmp_path / "run")


def edited(run, **changes):
    path = run / "recipe.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


DAMAGE = {
    "cut short": lambda run: (run / "recipe.json").write_text((run / "recipe.json").read_text()[:200]),
    "bytes": lambda run: (run / "recipe.json").write_bytes(b"\xff\xfe\x81"),
    "a list": lambda run: (run / "recipe.json").write_text("[1, 2]"),
    "no data": lambda run: edited(run, data=None),
    "data without a range": lambda run: edited(
        run, data={"name": "x", "event_shape": [2], "classes": [], "examples": 1}
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_recipe_is_one_error_that_names_the_file(copied, damage):
    DAMAGE[damage](copied)
    with pytest.raises(EbbtideError, match="damaged") as raised:
        open_run(copied)
    assert str(copied / "recipe.json") in str(raised.value)


@pytest.mark.parametrize("version", [0, FORMAT + 1, None])
def test_another_format_is_refused(copied, version):
    edited(copied, format=version)
    with pytest.raises(EbbtideError, match=f"has format {version!r}"):
        open_run(copied)


def test_a_recipe_that_this_version_does_not_know_is_refused_by_the_field(copied):
    edited(copied, recipe={"training": {"updates": 3, "speed": 9}})
    with pytest.raises(EbbtideError, match="no field 'speed'"):
        open_run(copied)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(EbbtideError, match="there is no run"):
        open_run(tmp_path / "nowhere")
    with pytest.raises(EbbtideError, match="is no run"):
        open_run(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(EbbtideError, match="is no run"):
        open_run(tmp_path / "file")


def test_a_run_without_a_checkpoint_says_so(copied):
    shutil.rmtree(copied / "checkpoints")
    with pytest.raises(EbbtideError, match="no checkpoint"):
        open_run(copied).denoiser()


def test_a_checkpoint_of_another_network_is_refused(copied):
    run = open_run(copied)
    other = replace(run.recipe, network=replace(run.recipe.network, width=32))
    with pytest.raises(EbbtideError, match="do not fit"):
        replace(run, recipe=other).denoiser()


@pytest.mark.parametrize("weights", ["average", "network"])
def test_weights_that_are_not_finite_are_refused_by_their_file(copied, weights):
    file = checkpoints.latest(copied / "checkpoints") / f"{weights}.safetensors"
    tensors = load_file(file)
    save_file({name: value * float("nan") for name, value in tensors.items()}, file)
    with pytest.raises(EbbtideError, match="NaN") as raised:
        open_run(copied).denoiser(weights=weights)
    assert str(file) in str(raised.value)
    open_run(copied).denoiser(weights=weights, finite=False)


def test_checkpoints_are_those_named_by_a_step_the_largest_last(copied):
    found = checkpoints.latest(copied / "checkpoints")
    for name in ("step-", "step-x", "step-٣", "step-" + "9" * 40):
        shutil.copytree(found, found.with_name(name))
    shutil.copytree(found, found.with_name("step-100000000"))
    assert [path.name for path in checkpoints.everything(found.parent)] == [found.name, "step-100000000"]


FACTS = [
    ("event_shape", []),
    ("event_shape", [2, 2]),
    ("event_shape", [2.0]),
    ("event_shape", [0]),
    ("event_shape", [10**12]),
    ("event_shape", [2, 8, 8]),
    ("event_shape", "2"),
    ("classes", [1]),
    ("classes", "ab"),
    ("examples", 0),
    ("examples", "many"),
    ("range", [0.0]),
    ("range", [0.0, None]),
    ("name", None),
    ("more", 1),
]


@pytest.mark.parametrize(("name", "value"), FACTS)
def test_facts_about_data_that_cannot_be_are_refused(copied, name, value):
    edited(copied, data=json.loads((copied / "recipe.json").read_text())["data"] | {name: value})
    with pytest.raises(EbbtideError, match="damaged") as raised:
        open_run(copied)
    assert str(copied / "recipe.json") in str(raised.value)
    assert name in str(raised.value)
