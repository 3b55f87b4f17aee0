"""ebbtide COMMAND ...: finds the command, and turns every error of the user's into one line and exit code 2."""

from __future__ import annotations

import importlib
import io
import os
import sys
import traceback
from collections.abc import Sequence

from ebbtide.cli.paper import filled
from ebbtide.cli.standard_output import complain, silence
from ebbtide.errors import EbbtideError, near_misses, printable

NO_MEMORY = "there is not enough memory for this: ask for less at once (smaller pictures, batches, networks, files)"
LONGEST_LINE = 2000
"""Characters of a refusal."""
TORCH_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")

BUG = "ebbtide: this is a mistake in ebbtide: please report it with the lines above, the command and its version"

EXIT_CODES = {
    0: "done",
    1: "a mistake in ebbtide: a traceback, please report it",
    2: "wrong input, or what the machine refuses: one line says what, and what to do",
    3: "the doctor found something wrong",
    130: "stopped (Ctrl-C, kill, a closed terminal); training leaves a checkpoint",
}

COMMANDS = {
    "train": ("ebbtide.cli.train", "learn from data: ebbtide train PRESET|RECIPE.json|RUN [--data SOURCE] [--out RUN]"),
    "sample": ("ebbtide.cli.sample", "draw new pictures: ebbtide sample RUN -n 100"),
    "restore": (
        "ebbtide.cli.restore",
        "wear real pictures away and bring them back: ebbtide restore RUN a.png --level 0.5",
    ),
    "corrupt": ("ebbtide.cli.corrupt", "what a corruption does to pictures: ebbtide corrupt digits --corruption blur"),
    "samplers": ("ebbtide.cli.race", "list the samplers with their orders and costs: ebbtide samplers"),
    "race": ("ebbtide.cli.race", "which sampler is best for a run: ebbtide race RUN"),
    "evaluate": ("ebbtide.cli.evaluate", "how good a run is, with floors and standard errors: ebbtide evaluate RUN"),
    "doctor": ("ebbtide.cli.doctor", "what is wrong with a run, a recipe or data: ebbtide doctor RUN|RECIPE|DATA"),
    "bits": ("ebbtide.cli.bits", "what an example costs, in bits: ebbtide bits RUN"),
    "info": ("ebbtide.cli.show", "what a run is and how far it came: ebbtide info RUN"),
    "report": ("ebbtide.cli.show", "one HTML page about a run: ebbtide report RUN"),
}


def overview() -> str:
    """What `ebbtide --help` prints."""
    from ebbtide import __version__

    lines = [
        f"ebbtide {__version__}: generative models that learn to undo a corruption",
        "",
        "usage: ebbtide COMMAND ...    (ebbtide COMMAND --help explains one)",
        "",
        *(f"  {name:8}  {about}" for name, (_, about) in COMMANDS.items()),
        "",
        "to begin:",
        "  ebbtide train digits              a few minutes; `ebbtide train` lists all presets",
        "  ebbtide sample runs/digits -n 100",
        "",
        "exit codes:",
        *(f"  {code:<4}  {meaning}" for code, meaning in EXIT_CODES.items()),
    ]
    return filled("\n".join(lines))


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point; leaves with one of the exit codes."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):  # what it cannot show is escaped
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = _run(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
        sys.exit(code)
    except KeyboardInterrupt:
        complain("ebbtide: stopped")
        sys.exit(130)
    except BrokenPipeError:  # `| head` has read enough
        silence(sys.stdout)
        sys.exit(0)
    except Exception as error:
        message = _in_words(error)
        if message is None:
            complain("".join(traceback.format_exception(error)).rstrip())
            complain(BUG)
            sys.exit(1)
        complain(f"ebbtide: {_one_line(message)}")
        sys.exit(2)


def _one_line(message: str) -> str:
    """Whatever a library put into the message, and nothing in it that commands a terminal."""
    line = printable(" ".join(message.split()))
    if len(line) > LONGEST_LINE:  # it repeats what was typed, and that was pages
        line = f"{line[: LONGEST_LINE // 2]} ... {line[-LONGEST_LINE // 4 :]}"
    return line


def _in_words(error: Exception) -> str | None:
    """What the user can mend about it; None: nothing, it is a mistake in ebbtide."""
    match error:
        case EbbtideError():
            return str(error)
        case MemoryError():
            return NO_MEMORY
        case RuntimeError() if any(words in str(error) for words in TORCH_NO_MEMORY):
            return NO_MEMORY
        case OSError():  # a place that cannot be read or written, wherever that shows
            place = "" if error.filename is None else f"{os.fsdecode(error.filename)[:200]}: "
            return f"{place}{error.strerror or error}"
    return None


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "--help-all", "help"):
        print(overview())
        return 0
    if arguments[0] in ("-V", "--version"):
        from ebbtide import __version__

        print(f"ebbtide {__version__}")
        return 0
    name = arguments[0]
    if name not in COMMANDS:
        known = list(COMMANDS)
        raise EbbtideError(f"there is no command {name!r}.{near_misses(name, known)} Commands: {', '.join(known)}")
    module = importlib.import_module(COMMANDS[name][0])
    return getattr(module, name)(arguments[1:])
