"""What the README and docs say is so."""

import re
from pathlib import Path

import pytest
import torch

from ebbtide.data import MIXTURE

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_example_runs_as_printed_and_its_samples_are_as_likely_as_true_ones(capsys):
    block = README.split("<!-- example:begin -->")[1].split("<!-- example:end -->")[0]
    code = re.search(r"```python\n(.*?)```", block, re.DOTALL).group(1)
    assert len([line for line in code.splitlines() if line.strip() and not line.startswith(("import", "from"))]) <= 10
    names = {}
    exec(code, names)
    printed = float(re.search(r"-?\d+\.\d+", capsys.readouterr().out.split(":")[1]).group())

    generator = torch.Generator().manual_seed(0)
    component = torch.multinomial(MIXTURE.weights, 20_000, replacement=True, generator=generator)
    noise = torch.randn(20_000, 2, generator=generator, dtype=torch.float64)
    true = names["oracle"].log_prob(MIXTURE.means[component] + MIXTURE.std * noise, torch.tensor(0.0))
    spread = float(true.std()) / 1000**0.5
    # Fifty steps of an order-one sampler leave a small error beside the statistical one.
    assert abs(printed - float(true.mean())) < 5 * spread + 0.1


def test_the_floor_plan_names_every_room():
    plan = README.split("## Floor plan")[1]
    rooms = [path.name for path in (ROOT / "src/ebbtide").iterdir() if path.name not in ("__init__.py", "py.typed")]
    missing = [room for room in rooms if not room.startswith(("__", ".")) and room not in plan]
    assert not missing


@pytest.mark.parametrize(
    "page",
    ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))],
)
def test_every_file_that_a_page_names_exists(page):
    text = (ROOT / page).read_text()
    named = re.findall(r"`((?:tests|src|docs|benchmarks)/[\w./-]+)`", text)
    links = re.findall(r"\]\((?!http)([\w./-]+)\)", text)
    folder = (ROOT / page).parent
    missing = [name for name in named if not (ROOT / name).exists()]
    missing += [link for link in links if not (folder / link).exists()]
    assert not missing


def test_every_item_of_the_lectures_is_on_the_map():
    text = (ROOT / "docs/lectures.md").read_text()
    covered = set()
    for letter, first, last in re.findall(r"^\| ([A-L])(\d+)(?:-[A-L](\d+))? \|", text, re.MULTILINE):
        covered |= {f"{letter}{number}" for number in range(int(first), int(last or first) + 1)}
    counts = {"A": 5, "B": 5, "C": 8, "D": 8, "E": 12, "F": 4, "G": 8, "H": 5, "I": 8, "J": 3, "K": 2, "L": 5}
    assert covered == {f"{letter}{number}" for letter, last in counts.items() for number in range(1, last + 1)}
