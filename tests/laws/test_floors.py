"""The house stands: imports point down, networks know torch only, and nothing that is loaded can run code."""

import ast
from pathlib import Path

import pytest

import ebbtide

SOURCE = Path(ebbtide.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))

# from the ground up; parts of one floor do not know one another
FLOORS = [
    {"errors"},
    {"files", "tensors", "conditions", "waist", "randomness", "moments", "threads"},
    {"json_files"},
    {"gaussian", "brownian"},
    {"levels"},
    {"schedules"},
    {"times", "sde"},
    {"grids"},
    {"degradations"},
    {"corruptions"},
    {"networks", "data"},
    {"denoisers"},
    {"guidance"},
    {"samplers", "likelihood"},
    {"objectives"},
    {"training"},
    {"evaluation"},
    {"doctor"},
    {"recipes"},
    {"cli"},
    {"__main__"},
]
HEIGHT = {part: height for height, floor in enumerate(FLOORS) for part in floor}
# parts that may know even less than their floor allows
KNOWS_ONLY = {
    "networks": {"errors", "conditions", "waist"},
    "data": {"errors", "conditions", "randomness", "files", "json_files"},
    "degradations": {"errors", "randomness"},
    "evaluation": {"errors", "files", "json_files", "moments"},
}


def part_of(path: Path) -> str:
    """The module or package of the top level that a file belongs to."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    """Every module that a file imports anywhere in it, in full."""
    found = set()
    package = ["ebbtide", *path.relative_to(SOURCE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return found


def parts_imported(path: Path) -> set[str]:
    names = [name.split(".") for name in imports_of(path)]
    return {name[1] for name in names if name[0] == "ebbtide" and len(name) > 1 and not name[1].startswith("__")}


def named(path: Path) -> str:
    return str(path.relative_to(SOURCE))


@pytest.mark.parametrize("path", FILES, ids=named)
def test_imports_point_down(path):
    part = part_of(path)
    if part == "__init__":
        return
    assert part in HEIGHT, f"{part} has no floor: say in FLOORS where it lives"
    for other in parts_imported(path) - {part}:
        assert HEIGHT[other] < HEIGHT[part], f"{named(path)} imports {other}, which does not lie below it"
        assert other in KNOWS_ONLY.get(part, {other}), f"{named(path)} imports {other}: {part} must not know it"


def test_the_package_itself_imports_no_part():
    assert parts_imported(SOURCE / "__init__.py") == set()


def test_networks_are_torch_only():
    allowed = {"torch", "jaxtyping", "ebbtide", "__future__", "math", "collections", "dataclasses", "typing"}
    for path in (SOURCE / "networks").rglob("*.py"):
        assert {name.split(".")[0] for name in imports_of(path)} <= allowed


def test_no_arrow_is_missed():
    """The reader of imports sees the known arrows of a file with many of them."""
    assert {"conditions", "corruptions", "levels"} <= parts_imported(SOURCE / "denoisers" / "estimate.py")
    assert "denoisers" in parts_imported(SOURCE / "samplers" / "loop.py")


@pytest.mark.parametrize("path", FILES, ids=named)
def test_files_stay_short_and_have_a_subject(path):
    assert len(path.read_text().splitlines()) <= 320
    assert path.stem not in ("utils", "helpers", "common", "misc")


def dangers(tree: ast.AST) -> list[str]:
    """What could run code that a file brings along, as it is written in the source.

    torch.load is allowed where it is called with the literal keyword weights_only=True, and in no other form.
    """
    torches, found = {"torch"}, []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            torches |= {alias.asname for alias in node.names if alias.asname and alias.name.split(".")[0] == "torch"}
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
            from_torch = (node.module or "").split(".")[0] == "torch"
            torches |= {alias.asname or alias.name for alias in node.names if from_torch}
            found += [f"import {alias.name}" for alias in node.names if from_torch and alias.name in (*LOADERS, "*")]
        else:
            names = []
        found += [f"import {name}" for name in names if name.split(".")[0] in CODE_LOADERS]
    safe = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call) and _loads_weights_only(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in ("eval", "exec", "pickle"):
            found.append(node.id)
        if isinstance(node, ast.Attribute) and node.attr in LOADERS and id(node) not in safe:
            found += [ast.unparse(node)] if _root(node) in torches else []
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "vars", "__import__"):
            found += [ast.unparse(node)] if any(_root(argument) in torches for argument in node.args) else []
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False":
            found.append(ast.unparse(node))
    return found


CODE_LOADERS = {"pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
LOADERS = ("load", "unsafe_load", "load_state_dict_from_url")


def _loads_weights_only(call: ast.Call) -> bool:
    keywords = {keyword.arg: keyword.value for keyword in call.keywords}
    literal = keywords.get("weights_only")
    return ast.unparse(call.func) == "torch.load" and isinstance(literal, ast.Constant) and literal.value is True


def _root(node: ast.AST) -> str | None:
    """The name that a chain of attributes begins with."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


@pytest.mark.parametrize("path", FILES, ids=named)
def test_nothing_that_is_loaded_can_run_code(path):
    assert dangers(ast.parse(path.read_text())) == []


DANGEROUS = [
    "import pickle",
    "import pickle as safe",
    "import joblib.numpy_pickle",
    "from dill import loads",
    "from marshal import *",
    "eval(text)",
    "run = exec",
    "import torch\ntorch.load(file)",
    "import torch\ntorch.load(file, weights_only=False)",
    "import torch\ntorch.load(file, weights_only=flag)",
    "import torch\ntorch.load(file, weights_only=1)",
    "import torch\ntorch.load(file, 'cpu', True)",
    "import torch\ntorch.load(file, **options)",
    "import torch\ntorch.load(file, **{'weights_only': True})",
    "import torch\nread = torch.load",
    "import torch\nread = partial(torch.load, weights_only=True)",
    "import torch\nread(torch.load, weights_only=True)",
    "import torch\ntorch.load(torch.load(file), weights_only=True)",
    "import torch\ntorch.load(file, weights_only=True)\ntorch.load(file)",
    "import torch\ntorch.serialization.load(file, weights_only=True)",
    "import torch\ntorch.hub.load(repository, name)",
    "import torch\ntorch.jit.load(file)",
    "import torch\ngetattr(torch, 'load')(file)",
    "import torch as t\nt.load(file)",
    "from torch import load",
    "from torch import load as read",
    "from torch import *",
    "from torch.serialization import load",
    "from torch import hub\nhub.load(repository, name)",
    "from torch import serialization as s\ns.load(file)",
    "from torch.hub import load_state_dict_from_url",
    "import torch\ntorch.hub.load_state_dict_from_url(url)",
    "import numpy\nnumpy.load(file, allow_pickle=True)",
    "import numpy\nnumpy.load(file, allow_pickle=flag)",
]


@pytest.mark.parametrize("source", DANGEROUS)
def test_what_could_run_code_is_seen(source):
    assert dangers(ast.parse(source)) != []


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.load(file, map_location='cpu', weights_only=True)",
        "import torch\ntorch.save(torch.load(file, weights_only=True), other)",
        "import numpy\nnumpy.load(file, allow_pickle=False)",
        "checkpoints.load(path, names)\nnetwork.load_state_dict(state)\ngetattr(module, name)",
    ],
)
def test_what_cannot_run_code_is_allowed(source):
    assert dangers(ast.parse(source)) == []
