"""What is printed stays what it is: no name is taken for markup, none commands the terminal."""

import io

import pytest
from rich.table import Table

from ebbtide.cli.options import Screen, styled

HOSTILE = "[/b] [red]x[/] [link=file:///x]y :smile: \\"
DANGEROUS = "\x1b[2J\x07\x9b31m\udcff\u202e"
SHOWN = "\\x1b[2J\\x07\\x9b31m\\xff\\u202e"


@pytest.mark.parametrize("way", ["text", "styled", "a table"])
def test_names_are_printed_as_they_are(way):
    out = io.StringIO()
    screen = Screen(file=out, highlight=False, soft_wrap=True, width=200)
    text = f"{HOSTILE}{DANGEROUS}"
    match way:
        case "text":
            screen.print(text)
        case "styled":
            screen.print(styled((text, "green"), text))
        case _:
            table = Table(text, box=None)
            table.add_row(text)
            screen.print(table)
    printed = out.getvalue().split("\n")
    assert {line.count(f"{HOSTILE}{SHOWN}") for line in printed if line} == ({2} if way == "styled" else {1})


def test_styles_are_for_terminals_and_lines_stay_lines():
    out = io.StringIO()
    Screen(file=out, force_terminal=True, color_system="standard").print(styled(("wrote", "green"), " a\nb"))
    assert out.getvalue() == "\x1b[32mwrote\x1b[0m a\nb\n"
