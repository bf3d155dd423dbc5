# SPDX-License-Identifier: Apache-2.0
"""The slot keeps the newest and the worker outlives what it is given."""

import threading
import time
from collections.abc import Callable

import pytest

from ros_nodes.life.slot import LatestSlot, Worker

pytestmark = pytest.mark.ros


def wait_until(condition: Callable[[], bool], timeout: float = 5.0) -> None:
    """Wait for another thread."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.001)


def collecting(slot: LatestSlot[int], **words: object) -> tuple[Worker[int], list, list]:
    """Make a worker that keeps what it handled and what went wrong."""
    handled: list[int] = []
    errors: list[Exception] = []
    worker = Worker(
        slot, words.get("handle", handled.append), on_error=errors.append, name="tested"
    )
    return worker, handled, errors


def test_slot_keeps_the_newest_and_counts_the_rest() -> None:
    """Of 1, 2, 3 put and none taken, 3 is left and two were dropped."""
    slot = LatestSlot[int]()
    assert [slot.put(number) for number in (1, 2, 3)] == [False, True, True]
    assert slot.dropped == 2
    assert slot.take(0) == 3
    assert slot.take(0) is None
    assert slot.put(4) is False and slot.dropped == 2


def test_a_slot_of_two_keeps_their_order_and_drops_the_oldest() -> None:
    """Of 1, 2, 3 put and none taken, 2 and 3 are left, in order."""
    slot = LatestSlot[int](2)
    assert [slot.put(number) for number in (1, 2, 3)] == [False, False, True]
    assert [slot.take(0), slot.take(0), slot.take(0)] == [2, 3, None]
    assert slot.dropped == 1


def test_slot_forgets_on_clear_without_counting() -> None:
    """A cleared item was not stale, it was unwanted."""
    slot = LatestSlot[int]()
    slot.put(1)
    slot.clear()
    assert slot.take(0) is None and slot.dropped == 0


def test_slot_holds_items_that_are_false() -> None:
    """0 and an empty list are items like any other."""
    slot = LatestSlot[object]()
    slot.put(0)
    assert slot.put([]) is True
    assert slot.take(0) == []


def test_closed_slot_takes_nothing_and_lets_waiters_go() -> None:
    """Whoever waits gets None at once; what is put then is gone; opened, it begins empty."""
    slot = LatestSlot[int]()
    slot.put(1)
    slot.close()
    assert slot.put(2) is False and slot.take(5) is None and slot.dropped == 0
    slot.open()
    assert slot.take(0) is None
    taken: list[object] = []
    waiter = threading.Thread(target=lambda: taken.append(slot.take(30)))
    waiter.start()
    slot.close()
    waiter.join(5)
    assert taken == [None]


def test_worker_hears_every_item_that_it_has_time_for() -> None:
    """An idle worker misses nothing and keeps the order."""
    slot = LatestSlot[int]()
    worker, handled, errors = collecting(slot)
    worker.start()
    for number in range(20):
        slot.put(number)
        wait_until(lambda count=number + 1: len(handled) == count)
    assert worker.stop()
    assert handled == list(range(20)) and errors == [] and slot.dropped == 0


def test_worker_goes_on_after_an_error() -> None:
    """What one item does is told and does not touch the next."""
    slot = LatestSlot[int]()
    halves: list[float] = []
    worker, _, errors = collecting(slot, handle=lambda number: halves.append(1 / number))
    worker.start()
    slot.put(0)
    wait_until(lambda: len(errors) == 1)
    slot.put(2)
    wait_until(lambda: halves == [0.5])
    assert worker.stop()
    assert isinstance(errors[0], ZeroDivisionError)


def test_busy_worker_drops_what_is_stale() -> None:
    """Of all that came while it worked, it takes the last."""
    slot, gate, handled = LatestSlot[int](), threading.Event(), []

    def handle(number: int) -> None:
        handled.append(number)
        gate.wait(5)

    worker, _, _ = collecting(slot, handle=handle)
    worker.start()
    slot.put(0)
    wait_until(lambda: handled == [0])
    for number in range(1, 6):
        slot.put(number)
    gate.set()
    wait_until(lambda: len(handled) == 2)
    assert worker.stop()
    assert handled == [0, 5] and slot.dropped == 4


def test_stop_waits_for_the_item_at_work_and_takes_no_other() -> None:
    """When stop returns, nothing is being handled and no thread is left."""
    slot, begun, done = LatestSlot[int](), threading.Event(), []

    def handle(number: int) -> None:
        begun.set()
        time.sleep(0.1)
        done.append(number)

    worker, _, _ = collecting(slot, handle=handle)
    worker.start()
    slot.put(1)
    assert begun.wait(5)
    slot.put(2)
    assert worker.stop() and done == [1]
    assert "tested" not in [thread.name for thread in threading.enumerate()]


def test_stop_gives_up_on_a_worker_that_hangs() -> None:
    """It says so; one started anew waits for the item at work and takes all that come later."""
    slot, gate, handled = LatestSlot[int](), threading.Event(), []

    def handle(number: int) -> None:
        handled.append((number, threading.current_thread()))
        if number == 0:
            gate.wait(5)

    worker, _, _ = collecting(slot, handle=handle)
    worker.start()
    slot.put(0)
    wait_until(lambda: len(handled) == 1)
    assert worker.stop(timeout=0.05) is False
    worker.start()
    slot.put(1)
    time.sleep(0.05)
    assert len(handled) == 1
    gate.set()
    wait_until(lambda: len(handled) == 2)
    assert handled[0][1] is not handled[1][1]
    assert worker.stop()
    handled[0][1].join(5)
    assert not handled[0][1].is_alive()


def test_worker_starts_and_stops_any_number_of_times() -> None:
    """A second start or stop is no error; what came while stopped is not handled later."""
    slot = LatestSlot[int]()
    worker, handled, _ = collecting(slot)
    assert worker.stop()
    for round_ in range(3):
        worker.start()
        worker.start()
        slot.put(round_)
        wait_until(lambda count=round_ + 1: len(handled) == count)
        assert worker.stop() and worker.stop()
        slot.put(99)
    assert handled == [0, 1, 2]
    assert "tested" not in [thread.name for thread in threading.enumerate()]
