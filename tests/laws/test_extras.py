"""What an error message tells users to install is there to be installed, and dev pulls nothing that it should not."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
TEXTS = [*(ROOT / "src" / "ebbtide").rglob("*.py"), ROOT / "README.md", *(ROOT / "docs").glob("*.md")]


def asked_for(text: str) -> set[str]:
    """The extras of ebbtide[a,b] that a text names."""
    return {name.strip() for names in re.findall(r"ebbtide\[([\w, -]+)\]", text) for name in names.split(",")}


def test_every_extra_that_is_named_exists():
    named = {str(path): asked_for(path.read_text()) for path in TEXTS}
    assert {name: found - set(EXTRAS) for name, found in named.items() if found - set(EXTRAS)} == {}
    assert {"inception", "ode", "hf", "tensorboard"} <= set().union(*named.values())


def test_inception_is_for_those_who_ask_for_it():
    """torch-fidelity pulls torchvision, which has to fit the torch that is installed."""
    wanted = [requirement for extra in ("dev", *asked_for(" ".join(EXTRAS["dev"]))) for requirement in EXTRAS[extra]]
    assert any("pytest" in requirement for requirement in wanted)
    assert not any("fidelity" in requirement or "torchvision" in requirement for requirement in wanted)
    assert EXTRAS["inception"] == ["torch-fidelity>=0.3"]
