"""Spoilt inputs of every kind are read correctly or refused in one line, and nothing else happens to any file.

The short form of benchmarks/fuzz.py, which does thousands in a process of its own and watches memory and processes too.
"""

import time
from random import Random

import pytest

from fuzz_cases import KINDS, Case, Seeds
from fuzz_worker import outcome_of
from mutations import PLAIN, spoilt_json
from trials import cold_run, grey_run

SLOW = ("evaluation", "doctor", "bits", "restoration")
COUNTS = {
    "picture in a folder": 40,
    "picture to restore, or a mask": 30,
    "array (npy, npz)": 40,
    "command line": 10,
    **{f"a run's {name}.json": 2 for name in SLOW},
}
USUAL = 6
LONGEST = 20.0


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    return Seeds.made(tmp_path_factory.mktemp("seeds") / "there", grey_run(), cold_run("cold-blur"))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in COUNTS or COUNTS[kind] > 2])
def test_what_is_healthy_is_read(tmp_path, seeds, kind):
    case = KINDS[kind][0](seeds, tmp_path, Random(0), False)
    assert outcome_of(case, tmp_path) == ("worked", "")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_spoilt_is_read_or_refused_in_a_line(tmp_path, seeds, kind):
    for number in range(COUNTS.get(kind, USUAL)):
        folder = tmp_path / str(number)
        folder.mkdir()
        case = KINDS[kind][0](seeds, folder, Random(f"test {number} {kind}"), True)
        started = time.monotonic()
        outcome, said = outcome_of(case, folder)
        assert outcome in ("worked", "refused"), f"case {number}: {said}"
        assert time.monotonic() - started < LONGEST, f"case {number}"


def raises(error):
    def work():
        raise error

    return work


@pytest.mark.parametrize(
    ("work", "may_write", "outcome"),
    [
        (raises(ZeroDivisionError()), (), "traceback"),
        (raises(SystemExit(1)), (), "traceback"),
        (raises(MemoryError()), (), "memory"),
        (lambda: open("new", "w").close(), (), "something done"),
        (lambda: open("new", "w").close(), ("new",), "worked"),
        (lambda: __import__("os").remove("kept"), ("*",), "something done"),
        (lambda: open("kept", "w").close(), ("new",), "something done"),
    ],
)
def test_what_may_not_be_is_seen(tmp_path, work, may_write, outcome):
    (tmp_path / "kept").write_text("here")
    assert outcome_of(Case(work, may_write), tmp_path)[0] == outcome


@pytest.mark.parametrize("spoil", [*PLAIN, spoilt_json], ids=lambda way: way.__name__)
def test_a_seed_names_a_mutation_and_few_leave_the_input_as_it_is(spoil):
    whole = b'{"a": [1, 2.5, {"b": "words"}], "c": null, "d": [true, 77]}' * (1 if spoil is spoilt_json else 4)
    made = [spoil(whole, Random(number)) for number in range(40)]
    assert made == [spoil(whole, Random(number)) for number in range(40)]
    assert sum(one != whole for one in made) >= 30
    assert len(set(made)) >= 10
