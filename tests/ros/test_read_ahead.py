# SPDX-License-Identifier: Apache-2.0
"""Reading ahead: in order, not too far, and never in the way of an end."""

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from ros_nodes.read_ahead import ReadAhead


def counting(
    made: list[int], count: int, *, closed: threading.Event | None = None
) -> Iterator[int]:
    """Yield numbers and note that they were made."""
    try:
        for number in range(count):
            made.append(number)
            yield number
    finally:
        if closed is not None:
            closed.set()


def test_items_come_in_order_and_once() -> None:
    """Whatever the size of the queue."""
    for size in (1, 3, 100):
        with closing(ReadAhead(range(50), size)) as ahead:
            assert list(ahead) == list(range(50))
    with closing(ReadAhead([], 3)) as ahead:
        assert list(ahead) == []


def test_reader_runs_ahead_by_a_bounded_number() -> None:
    """Three wait, and one is in the reader's hand; each taken makes place for one."""
    made: list[int] = []
    full = threading.Event()

    def watched() -> Iterator[int]:
        for number in counting(made, 100):
            if number == 3:
                full.set()
            yield number

    with closing(ReadAhead(watched(), 3)) as ahead:
        assert full.wait(5.0)
        items = iter(ahead)
        assert next(items) == 0
        assert len(made) <= 6


def test_error_of_the_reader_comes_after_its_items() -> None:
    """What was read before it is still good."""

    def breaking() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("broken here")

    items = iter(ReadAhead(breaking(), 10))
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(ValueError, match="broken here"):
        next(items)


def test_close_frees_a_reader_that_waits_for_a_place() -> None:
    """The generator is run to its end by the thread that ran it: a bag is closed there."""
    closed, made = threading.Event(), list[int]()
    ahead = ReadAhead(counting(made, 10**9, closed=closed), 2)
    assert next(iter(ahead)) == 0
    ahead.close()
    assert len(made) < 10 and list(ahead) == []
    assert closed.wait(5.0)


def test_close_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that hangs keeps no node from its end."""
    monkeypatch.setattr("ros_nodes.read_ahead.CLOSING", 0.1)
    go = threading.Event()

    def hangs() -> Iterator[int]:
        go.wait(20.0)
        yield 1

    ahead = ReadAhead(hangs(), 2)
    closer = threading.Thread(target=ahead.close, daemon=True)
    closer.start()
    closer.join(5.0)
    assert not closer.is_alive() and not go.is_set()
    go.set()


def test_close_frees_a_taker_that_waits_for_an_item() -> None:
    """A slow source does not hold up the end of the node."""
    go = threading.Event()

    def slow() -> Iterator[int]:
        go.wait(10.0)
        yield 1

    ahead = ReadAhead(slow(), 2)
    taken: list[int] = []
    taker = threading.Thread(target=lambda: taken.extend(ahead))
    taker.start()
    closer = threading.Thread(target=ahead.close)
    closer.start()
    taker.join(5.0)
    assert not taker.is_alive() and taken == []
    go.set()
    closer.join(5.0)
    assert not closer.is_alive()
