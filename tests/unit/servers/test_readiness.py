"""Both ways of waiting for sockets do the same, on both event loops."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing

import pytest
import structlog

from thingpass.servers.readiness import LoopReadiness, Readiness, make_readiness

PATIENCE_S = 10


@pytest.fixture(params=[LoopReadiness, make_readiness])
async def readiness(request: pytest.FixtureRequest) -> AsyncIterator[Readiness]:
    made: Readiness = request.param(asyncio.get_running_loop())
    yield made
    made.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with closing(ours), closing(theirs):
        yield ours, theirs


async def until(fact: Callable[[], bool]) -> None:
    for _ in range(PATIENCE_S * 1000):
        if fact():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it did not come to that")


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_reader_is_called_until_it_has_read(
    readiness: Readiness, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    calls = 0

    def ready() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            ours.recv(100)

    readiness.add_reader(ours.fileno(), ready)
    await turns()
    assert calls == 0
    theirs.send(b"x")
    await until(lambda: calls == 3)
    await turns()
    assert calls == 3
    readiness.remove_reader(ours.fileno())
    theirs.send(b"x")
    await turns()
    assert calls == 3


async def test_reader_and_writer_come_and_go_apart(
    readiness: Readiness, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    fd, seen = ours.fileno(), list[str]()
    readiness.add_reader(fd, lambda: seen.append(f"read {len(ours.recv(100))}"))
    readiness.add_writer(fd, lambda: (seen.append("write"), readiness.remove_writer(fd))[0])
    await until(lambda: seen == ["write"])
    theirs.send(b"abc")
    await until(lambda: seen == ["write", "read 3"])
    readiness.add_writer(fd, lambda: (seen.append("again"), readiness.remove_writer(fd))[0])
    readiness.remove_reader(fd)
    await until(lambda: seen[-1] == "again")
    theirs.send(b"abc")
    await turns()
    assert len(seen) == 3
    readiness.remove_reader(fd)
    readiness.remove_writer(fd)


async def test_later_callback_takes_the_place_of_the_first(
    readiness: Readiness, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    first, second = list[bytes](), list[bytes]()
    readiness.add_reader(ours.fileno(), lambda: first.append(ours.recv(100)))
    readiness.add_reader(ours.fileno(), lambda: second.append(ours.recv(100)))
    theirs.send(b"x")
    await until(lambda: second == [b"x"])
    assert first == []
    readiness.remove_reader(ours.fileno())


async def test_peer_that_hangs_up_is_told_to_the_reader(
    readiness: Readiness, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    seen = list[bytes]()

    def ready() -> None:
        seen.append(ours.recv(100))
        readiness.remove_reader(ours.fileno())

    readiness.add_reader(ours.fileno(), ready)
    theirs.close()
    await until(lambda: seen == [b""])


@pytest.mark.skipif(sys.platform != "linux", reason="epoll is Linux's")
async def test_one_callback_that_fails_does_not_keep_the_others_from_theirs() -> None:
    readiness = make_readiness(asyncio.get_running_loop())
    pairs = [socket.socketpair() for _ in range(20)]
    read = list[int]()

    def reader(number: int) -> Callable[[], None]:
        def ready() -> None:
            pairs[number][0].recv(10)
            if number % 2:
                raise RuntimeError("a fault")
            read.append(number)

        return ready

    with structlog.testing.capture_logs() as logs:
        for number, (ours, theirs) in enumerate(pairs):
            readiness.add_reader(ours.fileno(), reader(number))
            theirs.send(b"x")
        await until(lambda: len(read) == 10)
    assert len(logs) == 10
    for ours, theirs in pairs:
        readiness.remove_reader(ours.fileno())
        ours.close()
        theirs.close()
    readiness.close()


@pytest.mark.skipif(sys.platform != "linux", reason="epoll is Linux's")
async def test_callback_that_another_one_took_away_is_not_called() -> None:
    readiness = make_readiness(asyncio.get_running_loop())
    one, other = socket.socketpair(), socket.socketpair()
    calls = list[str]()

    def reader(name: str, mine: socket.socket, its: socket.socket) -> Callable[[], None]:
        def ready() -> None:
            calls.append(name)
            mine.recv(10)
            readiness.remove_reader(its.fileno())

        return ready

    readiness.add_reader(one[0].fileno(), reader("one", one[0], other[0]))
    readiness.add_reader(other[0].fileno(), reader("other", other[0], one[0]))
    one[1].send(b"x")
    other[1].send(b"x")
    await until(lambda: bool(calls))
    await turns()
    assert len(calls) == 1
    readiness.close()
    for each in (*one, *other):
        each.close()
