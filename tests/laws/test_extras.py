"""What an error message tells users to install is there to be installed; the library alone does the main job; and dev
pulls nothing that it should not."""

import ast
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
MODULES = {"pillow": "PIL", "scikit-learn": "sklearn"}
TEXTS = [*(ROOT / "src" / "ebbtide").rglob("*.py"), ROOT / "README.md", *(ROOT / "docs").glob("*.md")]


def asked_for(text: str) -> set[str]:
    """The extras of ebbtide[a,b] that a text names."""
    return {name.strip() for names in re.findall(r"ebbtide\[([\w, -]+)\]", text) for name in names.split(",")}


def test_every_extra_that_is_named_exists():
    named = {str(path): asked_for(path.read_text()) for path in TEXTS}
    assert {name: found - set(EXTRAS) for name, found in named.items() if found - set(EXTRAS)} == {}
    assert {"inception", "ode", "hf", "tensorboard"} <= set().union(*named.values())


def imported_at_once(path: Path) -> set[str]:
    """The packages that a file imports when it is imported itself: not in functions, not for types alone."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.FunctionDef | ast.If):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "ebbtide").split(".")[0])
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text()))
    return found


def test_what_is_imported_at_once_comes_with_the_library():
    """So the demo runs where nothing but the library was installed."""
    core = {re.match(r"[\w-]+", requirement).group() for requirement in PROJECT["dependencies"]}
    allowed = {MODULES.get(name, name) for name in core} | sys.stdlib_module_names | {"ebbtide"}
    files = (ROOT / "src" / "ebbtide").rglob("*.py")
    assert {path.name: found - allowed for path in files if (found := imported_at_once(path)) - allowed} == {}
    assert "torch" in imported_at_once(ROOT / "src" / "ebbtide" / "levels.py")


def test_inception_is_for_those_who_ask_for_it():
    """torch-fidelity pulls torchvision, which has to fit the torch that is installed."""
    wanted = [requirement for extra in ("dev", *asked_for(" ".join(EXTRAS["dev"]))) for requirement in EXTRAS[extra]]
    assert any("pytest" in requirement for requirement in wanted)
    assert not any("fidelity" in requirement or "torchvision" in requirement for requirement in wanted)
    assert EXTRAS["inception"] == ["torch-fidelity>=0.3"]
