"""The number of threads, chosen by trying: against costs that are made up, and in torch itself."""

import contextlib
import random
from types import SimpleNamespace

import pytest
import torch

from ebbtide import threads
from ebbtide.threads import Trials, choose, paced


def quiet(number, now, luck):
    return 0.08 / number**0.6 * luck.uniform(0.9, 1.1)


def beside_one(number, now, luck):
    """Two cores, one of them shared: now and then all threads wait for the one that was put aside."""
    return 0.085 if number == 1 else luck.choice([0.06, 0.3, 0.4])


def beside_many(number, now, luck):
    return 0.09 if number == 1 else 5.0 * number


def turns_busy(number, now, luck):
    return (quiet if now < 30 else beside_one)(number, now, luck)


def turns_quiet(number, now, luck):
    return (beside_one if now < 30 else quiet)(number, now, luck)


def crowded(number, now, luck):
    """Many cores, of which eight are best for so small a work."""
    return 0.1 / number + 0.0015 * number


def pieces_in(seconds, cost, plan):
    """How many pieces are done in so much time, asking the plan for the number of threads before each."""
    luck, now, done = random.Random(1), 0.0, 0
    number = next(plan)
    while now < seconds:
        taken = cost(number, now, luck)
        now, done = now + taken, done + 1
        number = plan.send(taken)
    return done


def fixed(number):
    while True:
        yield number


@pytest.mark.parametrize("most", [2, 64])
@pytest.mark.parametrize("cost", [quiet, beside_one, beside_many, turns_busy, turns_quiet, crowded])
@pytest.mark.parametrize("first", [1, "most"])
def test_it_comes_near_the_best_fixed_number(cost, most, first):
    seconds = 240  # long enough for one piece of ten minutes' waiting not to be all of it
    numbers = [1, 2] if most == 2 else [1, 2, 4, 8, 16, 32, 64]
    if cost is beside_many and most == 64:
        numbers, most = [1, 2, 4], 4
    best = max(pieces_in(seconds, cost, fixed(number)) for number in numbers)
    found = pieces_in(seconds, cost, choose(most if first == "most" else 1, most, Trials()))
    assert found >= best / 1.25


def test_one_slow_piece_is_enough_to_try_again():
    plan = choose(2, 2, Trials())
    number, tried = next(plan), []
    for _ in range(40):
        number = plan.send(0.1 / number)
    assert number == 2
    for _ in range(3):
        tried.append(number)
        number = plan.send(5.0 if number == 2 else 0.1)
    assert tried == [2, 1, 1]


def test_a_later_plan_does_not_pay_again_for_what_another_found():
    """Two threads are held up for five seconds by each try: only the first work of a process begins with one."""
    trials, tries, present = Trials(), [], 2
    for _ in range(3):
        plan, now, twos = choose(present, 2, trials), 0.0, 0
        number = next(plan)
        while now < 15:
            taken = 5.0 if number == 2 else 0.09
            now, twos, present = now + taken, twos + (number == 2), number
            number = plan.send(taken)
        tries.append(twos)
    assert tries == [1, 0, 0]


@pytest.fixture
def machine(monkeypatch):
    """A machine of four cores whose threads cost nothing, and plans of the test's own."""
    state = SimpleNamespace(threads=4, plans=threads._Plans())
    monkeypatch.setattr(torch, "get_num_threads", lambda: state.threads)
    monkeypatch.setattr(torch, "set_num_threads", lambda number: setattr(state, "threads", number))
    monkeypatch.setattr(threads, "_plans", state.plans)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    return state


def seen(machine, pieces=12):
    """The numbers of threads that a work is computed with."""
    found = []
    work = paced(lambda x: found.append(machine.threads), "work")
    for _ in range(pieces):
        work(torch.zeros(1))
    return found


def test_a_loop_is_tried_with_fewer_threads(machine):
    assert {2, 4} <= set(seen(machine)) <= {1, 2, 4}


def test_the_users_number_is_kept(machine, monkeypatch):
    seen(machine)
    torch.set_num_threads(3)
    assert set(seen(machine)) == {3}
    torch.set_num_threads(machine.plans.ours)
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert len(set(seen(machine))) == 1


def test_other_devices_are_left_alone(machine):
    for _ in range(12):
        with threads.piece("work", "meta"):
            assert machine.threads == 4


def test_a_piece_that_raises_is_not_counted(machine):
    found = []
    for bad in (True, True, False, False):
        with contextlib.suppress(KeyError), threads.piece("work"):
            found.append(machine.threads)
            if bad:
                raise KeyError
    assert found == [2, 2, 2, 4]
