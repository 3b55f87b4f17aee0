"""Every error that is raised on purpose is the library's own, which the command line tells in one line."""

import ast
from pathlib import Path

import pytest

import ebbtide.errors

SOURCE = Path(ebbtide.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
OWN = {"EbbtideError", "TrainingStopped"}
OTHERS = {
    "cli/options.py": {"SystemExit"},  # help has been printed, and nothing is left to do
    "cli/parsing.py": {
        "ValueError"
    },  # as int() and float() say that a word is no number; the option is named above them
    "json_files.py": {"ValueError"},  # what a hook of json's reader says; the file is named where it is caught
    "cli/evaluate.py": {"AssertionError"},  # a bug if it is ever seen
    "cli/train.py": {"KeyboardInterrupt"},  # the way out of training, caught by the command
}
"""What else a file may raise, and why."""


def raised(tree: ast.AST) -> set[str]:
    """The names of what is raised anew; what was caught, or a function's own makes of it that says so, is no matter."""
    found = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise) and node.exc is not None]
    names = {ast.unparse(one.func if isinstance(one, ast.Call) else one) for one in found}
    caught = {node.name for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler) and node.name}
    makers = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.returns is not None]
    made = {node.name for node in makers if ast.unparse(node.returns) in OWN}
    return {name for name in names if name not in caught and name.removeprefix("self.") not in made}


def named(path: Path) -> str:
    return str(path.relative_to(SOURCE))


@pytest.mark.parametrize("path", FILES, ids=named)
def test_only_errors_of_the_library_are_raised(path):
    assert raised(ast.parse(path.read_text())) <= OWN | OTHERS.get(named(path), set())


def test_own_errors_are_those_that_the_command_line_tells():
    assert all(issubclass(getattr(ebbtide.errors, name), ebbtide.errors.EbbtideError) for name in OWN)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("raise ValueError('no')", {"ValueError"}),
        ("raise TypeError", {"TypeError"}),
        ("try:\n    f()\nexcept OSError as error:\n    raise RuntimeError from error", {"RuntimeError"}),
        ("try:\n    f()\nexcept OSError as error:\n    raise error", set()),
        ("try:\n    f()\nexcept OSError:\n    raise", set()),
        ("def f() -> EbbtideError: ...\nraise f()", set()),
        ("def f() -> ValueError: ...\nraise f()", {"f"}),
    ],
)
def test_what_is_raised_is_seen(source, found):
    assert raised(ast.parse(source)) == found
