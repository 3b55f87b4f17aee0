"""How many threads torch computes with, on a CPU: chosen by trying, at the start and again and again.

Two threads are up to twice as fast as one where two cores are free. Where another process has one of them, both wait
for the one that was put aside, at every operation: then one thread is faster, at times by a factor of fifty. Nobody
knows beforehand which it will be, and it changes while a run goes on; so work that comes in equal pieces (updates,
network evaluations) is timed, and now and then one is computed with half as many threads, or twice as many.

A number that was set by the user is kept: by OMP_NUM_THREADS or MKL_NUM_THREADS in the environment, as torchrun does,
or by torch.set_num_threads.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

WORSE = 1.1
"""A number of threads whose first piece takes this many times the best one's ends the search in its direction."""
NEAR = 2.0
"""Those within this factor of the best are tried more often, as single pieces are unequally lucky."""
ROUNDS = 2
"""How often."""
FALLEN = 1.25
"""How many times as long as usual the last pieces take together, when it is time to try again."""
LAST = 5
"""Pieces by which that is judged."""
SHARE = 0.04
"""Of all time, what trying may cost when nothing has changed, beside the best number of threads from the first on."""
SHARE_FALLEN = 0.2
"""The same, after the speed has fallen."""


@dataclass
class Trials:
    """What the plans of a process share. lost: the seconds that the last trial of any of them cost; None before it."""

    lost: float | None = None


def choose(first: int, most: int, trials: Trials) -> Generator[int, float, None]:
    """A plan: yields how many threads the next piece is computed with, and is sent how many seconds that took.

    The first plan of a process tries at once; a later one begins with what the others found, and tries when that has
    earned what trying cost last. Trying climbs: from the present number by halves, then by doubles up to `most`, as
    long as that is no slower; the best are tried `ROUNDS` times more, and the least mean wins.
    The very first piece warms up caches and is not counted; it has half the threads, as more can be much slower.
    """
    now = first
    yield max(1, first // 2) if trials.lost is None else now
    usual = present = yield now
    while True:
        if trials.lost is not None:
            present = yield from _as_it_is(now, usual, trials.lost)
        times = {now: [present]}
        for climb in (lambda n: n // 2, lambda n: min(2 * n, most)):
            best = min(times, key=lambda n: times[n][0])
            number = climb(best)
            while number >= 1 and number not in times:
                times[number] = [(yield number)]
                if times[number][0] > WORSE * times[best][0]:
                    break
                best, number = number, climb(number)
        quickest = min(taken[0] for taken in times.values())
        near = [number for number, taken in times.items() if taken[0] <= NEAR * quickest]
        if len(near) > 1:
            for _ in range(ROUNDS):
                for number in near:
                    times[number].append((yield number))
        now = min(near, key=lambda n: statistics.fmean(times[n]))
        usual = statistics.fmean(times[now])
        trials.lost = sum(max(0.0, seconds - usual) for taken in times.values() for seconds in taken)


def _as_it_is(now: int, usual: float, lost: float) -> Generator[int, float, float]:
    """Pieces in the same number of threads until it is time to try again; returns what the last one took."""
    spent, last = 0.0, deque[float](maxlen=LAST)
    while True:
        present = yield now
        spent += present
        last.append(present)
        fallen = sum(last) > FALLEN * LAST * usual  # one piece is enough, if it is slow enough
        if spent > lost / SHARE + LAST * usual or (fallen and spent > lost / SHARE_FALLEN):
            return present


class _Plans:
    """A plan for each kind of piece, and the number of threads that was set last."""

    def __init__(self) -> None:
        self.most: int | None = None
        self.ours: int | None = None
        self.trials = Trials()
        self.next: dict[Hashable, tuple[Generator[int, float, None], int]] = {}

    @contextlib.contextmanager
    def piece(self, kind: Hashable) -> Iterator[None]:
        present = torch.get_num_threads()
        if self.most is None:
            self.most = self.ours = present
        if self.most == 1 or present != self.ours or _set_outside():
            yield
            return
        if kind not in self.next:
            plan = choose(present, self.most, self.trials)
            self.next[kind] = (plan, next(plan))
        plan, number = self.next[kind]
        if number != present:
            torch.set_num_threads(number)
            self.ours = number
        started = time.perf_counter()
        yield  # a piece that raises is not counted
        self.next[kind] = (plan, plan.send(time.perf_counter() - started))


_plans = _Plans()


def _set_outside() -> bool:
    return any(name in os.environ for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"))


def piece(kind: Hashable, device: torch.device | str = "cpu") -> contextlib.AbstractContextManager[None]:
    """Compute what stands in this `with` in the number of threads that is fastest now.

    kind: names the work; all pieces of a kind are equal. device: on any other than the CPU nothing is done.
    """
    return _plans.piece(kind) if torch.device(device).type == "cpu" else contextlib.nullcontext()


def paced(answer: Callable[..., Any], name: str) -> Callable[..., Any]:
    """A function of a tensor, each call a piece; its kind is the name, the function and the tensor's shape."""
    this = object()

    def timed(x: torch.Tensor, *rest: Any) -> Any:
        with piece((name, this, tuple(x.shape)), x.device):
            return answer(x, *rest)

    return timed
