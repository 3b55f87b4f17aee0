"""The way in: what can be done is listed, what cannot is answered in one line with exit code 2."""

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ebbtide
from ebbtide.cli import main as main_module
from ebbtide.cli.bits import BitsOptions
from ebbtide.cli.corrupt import CorruptOptions
from ebbtide.cli.doctor import DoctorOptions
from ebbtide.cli.evaluate import EvaluateOptions
from ebbtide.cli.main import COMMANDS, EXIT_CODES
from ebbtide.cli.race import RaceOptions, SamplersOptions
from ebbtide.cli.restore import RestoreOptions
from ebbtide.cli.sample import SampleOptions
from ebbtide.cli.show import InfoOptions, ReportOptions
from ebbtide.cli.train import TrainOptions
from ebbtide.errors import EbbtideError
from ebbtide.recipes.presets import PRESETS
from ebbtide.recipes.recipe import Recipe
from trials import call, grey_run, point_run, refusal

OPTIONS = {
    "samplers": SamplersOptions,
    "race": RaceOptions,
    "bits": BitsOptions,
    "train": TrainOptions,
    "corrupt": CorruptOptions,
    "sample": SampleOptions,
    "restore": RestoreOptions,
    "evaluate": EvaluateOptions,
    "doctor": DoctorOptions,
    "info": InfoOptions,
    "report": ReportOptions,
}


def options_of(kind, prefix="--"):
    """The options that the fields of a dataclass become, but for those without a name of their own."""
    for field in dataclasses.fields(kind):
        if dataclasses.is_dataclass(field.default):
            yield from options_of(type(field.default), f"{prefix}{field.name}.")
        elif f"{prefix}{field.name}" not in ("--run", "--target", "--images", "--recipe", "--sources"):
            yield prefix + field.name.replace("_", "-")


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_the_overview_lists_every_command(arguments, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    outcome = call(*arguments)
    assert outcome.code == 0
    assert outcome.err == ""
    assert max(map(len, outcome.out.splitlines())) <= 80
    for name in COMMANDS:
        assert re.search(rf"^  {name} ", outcome.out, re.MULTILINE)


def test_the_version_is_the_packages():
    assert call("--version").out == f"ebbtide {ebbtide.__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_explains_all_its_options(name):
    outcome = call(name, "--help-all")
    assert outcome.code == 0
    assert outcome.err == ""
    words = set(re.findall(r"--?[a-z][a-z0-9.-]*", outcome.out))
    missing = [option for option in options_of(OPTIONS[name]) if option not in words and f"{option}" not in outcome.out]
    assert missing == []
    assert "Traceback" not in outcome.out


def test_every_field_of_the_recipe_is_an_option_of_train():
    words = set(re.findall(r"--[a-z][a-z0-9.-]*", call("train", "--help-all").out))
    assert set(options_of(Recipe)) - words == set()
    assert {"--training.batch", "--sampling.eta", "--data.source"} <= set(options_of(Recipe))


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_a_page_as_wide_as_a_narrow_terminal_and_says_where_the_rest_is(name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = call(name, "--help").out.splitlines()
    assert lines[0].startswith(f"usage: ebbtide {name}")
    assert len(lines) <= 48
    assert max(map(len, lines)) <= 80
    assert ("--help-all" in "\n".join(lines)) == (name == "train")
    assert max(map(len, call(name, "--help-all").out.splitlines())) <= 80


def test_the_short_help_of_train_has_examples_and_every_preset_but_no_field_of_the_recipe():
    text = call("train", "--help").out
    assert all(re.search(rf"\b{name}\b", text) for name in PRESETS)
    assert "\n  ebbtide train digits " in text
    assert "--training.batch" not in text


@pytest.mark.parametrize("name", PRESETS)
def test_the_help_of_a_preset_shows_its_own_defaults(name):
    text = " ".join(call("train", name, "--help-all").out.split())
    assert f"(default: {PRESETS[name].recipe.training.batch})" in text
    assert f"(default: {name})" in text


def test_the_presets_are_listed_where_none_is_named():
    outcome = call("train")
    assert outcome.code == 2
    assert all(name in outcome.out for name in PRESETS)


@pytest.mark.parametrize(("word", "near"), [("trian", "train"), ("smaple", "sample"), ("repot", "report")])
def test_an_unknown_command_is_answered_with_the_nearest(word, near):
    line = refusal(word)
    assert f"there is no command {word!r}" in line
    assert f"Did you mean {near}" in line
    assert all(name in line for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_what_the_parser_cannot_read_ends_with_2_and_no_traceback(name):
    outcome = call(name, *(["digits"] if name == "train" else []), "--no-such-option")
    assert outcome.code == 2
    assert "no-such-option" in outcome.err
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize("name", ["sample", "evaluate", "doctor", "info", "report"])
def test_a_run_must_be_named(name):
    outcome = call(name)
    assert outcome.code == 2
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize("name", ["train", "sample", "restore", "evaluate", "doctor", "bits", "race"])
def test_every_command_that_computes_says_where_and_refuses_a_gpu_that_is_not_there(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    target = "moons" if name in ("train", "doctor") else point_run() if name == "bits" else grey_run()
    more = ("--examples", 1) if name == "restore" else ()
    assert "device cuda came, but" in refusal(name, target, "--device", "cuda", *more)
    assert list(tmp_path.iterdir()) == []


def command_that_raises(monkeypatch, error):
    class Module:
        @staticmethod
        def info(arguments):
            raise error

    monkeypatch.setattr(main_module.importlib, "import_module", lambda name: Module)
    return call("info", "x")


def test_a_message_of_many_lines_is_still_one_line(monkeypatch):
    outcome = command_that_raises(monkeypatch, EbbtideError("one\n  two\n\nthree"))
    assert (outcome.code, outcome.err) == (2, "ebbtide: one two three\n")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(13, "Permission denied", "some/file"), "some/file: Permission denied"),
        (OSError(36, "File name too long", "x" * 5000), "x: File name too long"),
        (OSError(40, "Too many levels of symbolic links", b"loop\xff"), "loop\\xff: Too many levels"),
        (OSError("cannot identify"), "cannot identify"),
        (MemoryError(), "not enough memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "not enough memory"),
        (EbbtideError("\x1b[2Jdone\x07"), "\\x1b[2Jdone\\x07"),
    ],
)
def test_what_the_machine_refuses_is_one_line_too(monkeypatch, error, said):
    outcome = command_that_raises(monkeypatch, error)
    assert outcome.code == 2
    assert said in outcome.err
    assert outcome.err.count("\n") == 1
    assert outcome.err[:-1].isprintable()
    assert len(outcome.err) < 400


def test_a_message_that_repeats_pages_is_cut_in_its_middle():
    line = refusal("x" * 50_000)
    assert len(line) < 2000
    assert line.endswith("report\n")


def test_ctrl_c_is_no_traceback(monkeypatch):
    outcome = command_that_raises(monkeypatch, KeyboardInterrupt())
    assert (outcome.code, outcome.err) == (130, "ebbtide: stopped\n")


@pytest.mark.parametrize("error", [ZeroDivisionError(), RuntimeError("shapes cannot be multiplied"), ValueError("x")])
def test_a_bug_is_a_traceback_that_asks_to_be_reported(monkeypatch, error):
    outcome = command_that_raises(monkeypatch, error)
    assert outcome.code == 1
    assert "Traceback" in outcome.err
    assert f"{type(error).__name__}: {error}".rstrip(": ") in outcome.err
    assert "please report it" in outcome.err.splitlines()[-1]


def test_the_exit_codes_are_told():
    text = call("--help").out
    assert re.findall(r"^  (\d+) ", text, re.MULTILINE) == ["0", "1", "2", "3", "130"]
    assert re.search(r"^  3 .*doctor", text, re.MULTILINE)
    table = re.findall(
        r"^\| (\d+) \| (.*) \|$", (Path(__file__).parents[2] / "docs/command-line.md").read_text(), re.MULTILINE
    )
    assert [(int(code), meaning) for code, meaning in table] == list(EXIT_CODES.items())


def test_the_program_is_installed_and_quick_to_say_what_it_can():
    """Without torch: the overview and a wrong command are answered before anything heavy is imported."""
    program = Path(sys.executable).with_name("ebbtide")
    code = "import sys; from ebbtide.cli.main import overview; overview(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": "src"}).returncode == 0
    done = subprocess.run([program, "smaple"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
