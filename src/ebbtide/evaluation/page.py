"""The pieces of a page that needs nothing from outside: HTML with its style and its pictures within."""

import base64
import io
import struct
from collections.abc import Callable, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from PIL import Image

from ebbtide.errors import EbbtideError
from ebbtide.json_files import read_json

# The policy forbids every script and every request, whatever might slip into the page.
PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>$title</title>
<style>
$style</style>
</head>
<body>
$body
</body>
</html>
""")

DAMAGED = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
"""What may be raised where a file of JSON holds other things than expected."""
LARGEST = 64 * 2**20
"""Bytes of a picture."""
SMALL = 800  # a picture up to this many pixels wide keeps hard edges where a screen enlarges it


def page(title: str, parts: Sequence[str]) -> bytes:
    """A whole page as UTF-8: the title is plain text, the parts are HTML."""
    style = files("ebbtide.evaluation").joinpath("report.css").read_text(encoding="utf-8")
    body = "\n".join(part for part in parts if part)
    return PAGE.substitute(title=escape(title), style=style, body=body).encode("utf-8", errors="replace")


def section(title: str, *parts: str) -> str:
    """A heading (plain text) and what stands below it (HTML)."""
    return f"<section>\n<h2>{escape(title)}</h2>\n" + "\n".join(parts) + "\n</section>"


def section_of(file: Path, title: str, draw: Callable[[Any], Sequence[str]]) -> str:
    """The section that is drawn from a file of JSON: its parts in HTML, or what is wrong with the file; nothing where
    there is no file."""
    if not file.is_file():
        return ""
    try:
        return section(title, *draw(read_json(file)))
    except EbbtideError as error:
        return section(title, sentence(error))
    except DAMAGED:
        return section(title, sentence(f"{file.name} is damaged and passed over: it holds other things than expected."))


def sentence(text: Any) -> str:
    """Quiet words, from plain text."""
    return f'<p class="quiet">{escape(str(text))}</p>'


def picture(source: Path | bytes, alt: str, caption: str = "", kind: str = "") -> str | None:
    """A figure with the picture inside, as a data URI; None where there is no whole picture.

    source: a file or its bytes, in PNG, GIF, JPEG or WebP. kind: a class of the style sheet.
    """
    try:
        if isinstance(source, Path):
            if not source.is_file() or source.stat().st_size > LARGEST:
                return None
            source = source.read_bytes()
        data = source
        with Image.open(io.BytesIO(data), formats=["PNG", "GIF", "JPEG", "WEBP"]) as image:
            (width, height), mime = image.size, Image.MIME[str(image.format)]
            image.verify()
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError):
        return None
    small = ' class="small"' if width <= SMALL and kind != "thumb" else ""
    scroll = ' tabindex="0"' if kind == "wide" else ""  # so that the keyboard can scroll it
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    uri = f"data:{mime};base64,{base64.b64encode(data).decode()}"
    return (
        f'<figure class="{escape(kind)}"{scroll}><img{small} src="{uri}" width="{width}" height="{height}" '
        f'alt="{escape(alt)}">{below}</figure>'
    )


def table(values: Mapping[str, Any]) -> str:
    """A nested dict as one table, the inner values indented below their names."""
    return "<table>\n" + "\n".join(_rows(values, 0)) + "\n</table>"


def numbers(values: Mapping[str, str]) -> str:
    """Key numbers, each with its name above."""
    cells = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>" for name, text in values.items())
    return f'<dl class="numbers">{cells}</dl>'


def duration(seconds: float | int) -> str:
    """Seconds in words: 12.3 s, 1 min 50 s, 3 h 5 min."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes = round(seconds) // 60
    return f"{minutes} min {round(seconds) % 60} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _rows(values: Mapping[str, Any], depth: int) -> list[str]:
    rows = []
    for name, value in values.items():
        head = f'<th scope="row" style="--depth: {depth}">{escape(str(name))}</th>'
        if isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
            value = {str(number): item for number, item in enumerate(value, 1)}
        if isinstance(value, dict) and value:
            rows.append(f'<tr class="group">{head.replace("<th", "<th colspan=2", 1)}</tr>')
            rows += _rows(value, depth + 1)
        else:
            rows.append(f"<tr>{head}<td>{escape(_words(value))}</td></tr>")
    return rows


def _words(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_words, value)) or "none"
    if value is None or value == {}:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)
