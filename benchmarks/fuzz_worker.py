"""The process that does the cases of fuzz.py: reads their names from stdin, answers with what was seen, a line each."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

from ebbtide.errors import EbbtideError
from fuzz import MOST_MEMORY
from fuzz_cases import KINDS, Case, Seeds, asked

BEGINS = ("os.system", "subprocess.Popen", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "pty.spawn")
BEGINS += ("socket.connect", "socket.getaddrinfo", "pickle.find_class", "webbrowser.open")
"""What would be code of others that runs, or a connection."""
CHANGES = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "shutil.rmtree")


class Watch:
    """What Python is about to do, by its audit events (PEP 578), while a case is done."""

    def __init__(self, allowed: tuple[Path, ...]) -> None:
        self.allowed = tuple(map(str, allowed))
        self.seen: list[str] | None = None
        sys.addaudithook(self._hook)

    def _hook(self, event: str, values: tuple[Any, ...]) -> None:
        if self.seen is None:
            return
        if event in BEGINS:
            self.seen.append(f"{event} {str(values)[:200]}")
        elif event in CHANGES or (event == "open" and _writes(values)):
            for place in values[: 2 if event in ("os.rename", "os.link") else 1]:
                if isinstance(place, str | bytes | os.PathLike) and not self._may(place):
                    self.seen.append(f"{event} {os.fsdecode(place)[:200]}")

    def _may(self, place: str | bytes | os.PathLike[str]) -> bool:
        path = os.path.abspath(os.fsdecode(place))
        return path == os.devnull or path.startswith(self.allowed)


def _writes(values: tuple[Any, ...]) -> bool:
    mode, flags = values[1], values[2]
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)) if isinstance(flags, int) else False


def highest_memory() -> float:
    """MiB that this process has held at once since the last `forget_memory`."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) / 1024


def forget_memory() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every file, and other things as None."""
    found: dict[str, bytes | None] = {}
    for path in folder.rglob("*"):
        found[str(path.relative_to(folder))] = path.read_bytes() if path.is_file() else None
    return found


def changed(before: Mapping[str, bytes | None], after: Mapping[str, bytes | None], case: Case) -> Iterator[str]:
    """What is new, gone or other, where nothing may be."""
    for name in sorted(before.keys() | after.keys()):
        may = any(entry == "*" or name == entry or name.startswith(f"{entry}/") for entry in case.may_write)
        if name in before and name not in after:
            yield f"deleted: {name}"
        elif not may and (name not in before or before[name] != after[name]):
            yield f"{'changed' if name in before else 'new'}: {name}"


def outcome_of(case: Case, folder: Path, watch: Watch | None = None) -> tuple[str, str]:
    """How a case ends, in a word, and what was said."""
    before, home = contents(folder), Path.cwd()
    os.chdir(folder)
    if watch is not None:
        watch.seen = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            case.work()
        outcome, said = "worked", ""
    except EbbtideError as error:
        outcome, said = "refused", str(error)
        if not said or len(said) > 5000:
            outcome = "no message" if not said else "a message of pages"
    except MemoryError:
        outcome, said = "memory", traceback.format_exc(limit=-6)
    except BaseException:
        outcome, said = "traceback", traceback.format_exc(limit=-8)
    finally:
        os.chdir(home)
        begun = watch.seen if watch is not None and watch.seen else []
        if watch is not None:
            watch.seen = None
    spoilt = [*begun, *changed(before, contents(folder), case)]
    return ("something done", "\n".join([said, *spoilt[:10]])) if spoilt else (outcome, said)


class Bench:
    """The seeds, and the highest memory that healthy input of each kind takes."""

    def __init__(self, workshop: Path) -> None:
        (workshop / "beside").mkdir(exist_ok=True)
        (workshop / "beside" / "a file").write_text("that nobody may touch")
        self.workshop = workshop
        shutil.rmtree(workshop / "seeds", ignore_errors=True)
        self.seeds = Seeds.made(workshop / "seeds")
        # the classifier that evaluate and race compare in takes its time: it is kept for all cases
        asked("evaluate", self.seeds.run, "--samples", "64", "--bits", "0")
        self.watch = Watch((workshop / "case", workshop / "tmp", workshop / "cache"))
        self.healthy: dict[str, float] = {}
        for kind in KINDS:
            for number in range(6):
                found = self.do(kind, 0, number, spoil=False)
                if found["outcome"] != "worked":
                    raise RuntimeError(f"healthy input of {kind}: {found}")
                self.healthy[kind] = max(self.healthy.get(kind, 0.0), found["memory"])

    def do(self, kind: str, seed: int, number: int, spoil: bool = True) -> dict[str, Any]:
        folder = self.workshop / "case" / "in" / "there"
        shutil.rmtree(self.workshop / "case", ignore_errors=True)
        folder.mkdir(parents=True)
        case = KINDS[kind][0](self.seeds, folder, Random(f"{seed} {number} {kind}"), spoil)
        beside = contents(self.workshop / "beside")
        forget_memory()
        held = highest_memory()
        started = time.monotonic()
        outcome, said = outcome_of(case, folder, self.watch if spoil else None)
        seconds, memory = time.monotonic() - started, highest_memory()
        share = memory / max(self.healthy.get(kind, 0.0), held)
        if spoil and share > MOST_MEMORY:
            outcome, said = "memory", f"{memory:.0f} MiB, of healthy {self.healthy[kind]:.0f} MiB\n{said}"
        if contents(self.workshop / "beside") != beside:
            outcome, said = "something done", "beside the case"
        return {"outcome": outcome, "said": said, "seconds": seconds, "memory": share if spoil else memory}


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")  # nothing that is printed may come between
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    bench = Bench(Path(sys.argv[1]))
    print("ready", file=sys.stderr, flush=True)
    print(json.dumps({"outcome": "ready", "said": ""}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(bench.do(**json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
