"""The last second of a connection, on real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator

import msgspec
import pytest

from thingpass.servers.deadlines import DeadlineWheel
from thingpass.servers.farewell import LASTS_S, Farewell
from thingpass.servers.readiness import Readiness, make_readiness
from thingpass.tls.endpoint import Endpoint, PlainChannel

DEADLINE_S = 10.0


class Services(msgspec.Struct, frozen=True):
    loop: asyncio.AbstractEventLoop
    readiness: Readiness
    wheel: DeadlineWheel


@pytest.fixture
async def services() -> AsyncIterator[Services]:
    loop = asyncio.get_running_loop()
    readiness = make_readiness(loop)
    yield Services(loop, readiness, DeadlineWheel())
    readiness.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    yield ours, theirs
    ours.close()
    theirs.close()


async def test_it_ends_when_the_peer_has_read_and_gone(
    services: Services, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    ended: asyncio.Future[str] = services.loop.create_future()
    ours.send(b"goodbye")
    Farewell(services, Endpoint(ours, PlainChannel(ours)), ended.set_result)
    theirs.send(b"unread")
    assert await services.loop.sock_recv(theirs, 100) == b"goodbye"
    assert await services.loop.sock_recv(theirs, 100) == b"", "our half is closed"
    assert not ended.done()
    theirs.close()
    assert await asyncio.wait_for(ended, DEADLINE_S) == "goodbye"
    assert ours.fileno() < 0


async def test_who_does_not_go_is_closed_in_time_and_once(
    services: Services, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, _ = pair
    ended: list[str] = []
    farewell = Farewell(services, Endpoint(ours, PlainChannel(ours)), ended.append)
    deadline = farewell.deadline()
    assert deadline is not None
    assert deadline <= services.loop.time() + LASTS_S
    farewell.overdue(deadline)
    farewell.end("the server stops")
    assert (ended, farewell.deadline(), ours.fileno()) == (["goodbye took too long"], None, -1)


async def test_our_half_stays_open_for_as_long_as_asked(
    services: Services, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    farewell = Farewell(services, Endpoint(ours, PlainChannel(ours)), lambda why: None, finish_after_s=0.001)
    with pytest.raises(BlockingIOError):
        theirs.recv(100)
    assert await asyncio.wait_for(services.loop.sock_recv(theirs, 100), DEADLINE_S) == b""
    farewell.end("done")
