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
    {"files", "conditions", "randomness"},
    {"gaussian"},
    {"levels"},
    {"schedules"},
    {"times"},
    {"corruptions"},
    {"networks", "data"},
    {"denoisers"},
    {"guidance"},
    {"samplers", "likelihood"},
    {"objectives"},
    {"training"},
    {"evaluation"},
    {"recipes"},
    {"cli"},
    {"__main__"},
]
HEIGHT = {part: height for height, floor in enumerate(FLOORS) for part in floor}
# parts that may know even less than their floor allows
KNOWS_ONLY = {
    "networks": {"errors", "conditions"},
    "data": {"errors", "conditions", "randomness", "files"},
    "evaluation": {"errors", "files"},
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


@pytest.mark.parametrize("path", FILES, ids=named)
def test_nothing_that_is_loaded_can_run_code(path):
    tree = ast.parse(path.read_text())
    modules = {name.split(".")[0] for name in imports_of(path)}
    assert not modules & {"pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            assert node.id not in ("eval", "exec", "pickle")
        if isinstance(node, ast.Attribute):
            assert ast.unparse(node) != "torch.load"
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            assert ast.unparse(node.value) == "False"
