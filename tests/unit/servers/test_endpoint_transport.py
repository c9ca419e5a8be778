"""The transport over an endpoint: what asyncio's protocols rely on, on a real pair of sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable

import pytest

from thingpass.servers.deadlines import DeadlineWheel
from thingpass.servers.endpoint_transport import HIGH_WATER_BYTES, LINGER_S, STALL_S, EndpointTransport
from thingpass.tls.endpoint import Endpoint, PlainChannel

PATIENCE_S = 10


class Recorder(asyncio.Protocol):
    def __init__(self) -> None:
        self.calls: list[str] = []
        self.received = b""
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.fail = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.calls.append("made")

    def data_received(self, data: bytes) -> None:
        if self.fail:
            raise ValueError("a fault of the protocol class")
        self.received += data

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)


class Pair:
    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        ours, self.peer = socket.socketpair()
        ours.setblocking(False)
        self.peer.setblocking(False)
        self.protocol = Recorder()
        self.ended: list[EndpointTransport] = []
        self.transport = EndpointTransport(
            loop,
            DeadlineWheel(),
            Endpoint(ours, PlainChannel(ours)),
            extra={"peername": ("192.0.2.1", 7)},
            on_end=self.ended.append,
        )
        self.transport.start(self.protocol)

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.peer, data)

    async def until(self, fact: Callable[[], bool]) -> None:
        for _ in range(PATIENCE_S * 1_000):
            if fact():
                return
            await asyncio.sleep(0.001)
        raise AssertionError("it did not happen in time")

    async def read_all(self) -> bytes:
        data = b""
        async with asyncio.timeout(PATIENCE_S):
            while part := await asyncio.get_running_loop().sock_recv(self.peer, 65_536):
                data += part
        return data


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    made = Pair()
    yield made
    made.transport.abort()
    made.peer.close()


async def test_reads_and_tells_where_it_comes_from(pair: Pair) -> None:
    await pair.send(b"hello")
    await pair.until(lambda: pair.protocol.received == b"hello")
    assert pair.protocol.calls == ["made"]
    assert pair.transport.get_extra_info("peername") == ("192.0.2.1", 7)


async def test_paused_reading_leaves_the_bytes_in_the_socket(pair: Pair) -> None:
    pair.transport.pause_reading()
    pair.transport.pause_reading()
    await pair.send(b"later")
    await asyncio.sleep(0.02)
    assert not pair.transport.is_reading()
    assert pair.protocol.received == b""
    pair.transport.resume_reading()
    await pair.until(lambda: pair.protocol.received == b"later")


async def test_writing_pauses_and_resumes_and_nothing_is_lost(pair: Pair) -> None:
    data = bytes(range(256)) * 20_000  # 5 MB, more than the sockets hold
    pair.transport.write(data)
    assert pair.transport.get_write_buffer_size() > HIGH_WATER_BYTES
    pair.transport.write(b"the end")
    pair.transport.close()
    pair.transport.write(b"too late")
    assert await pair.read_all() == data + b"the end"
    assert pair.protocol.calls == ["made", "pause", "resume"]
    assert await pair.protocol.lost is None


async def test_close_reads_the_rest_away_and_ends(pair: Pair) -> None:
    pair.transport.write(b"answer")
    pair.transport.close()
    pair.transport.close()
    assert await pair.protocol.lost is None
    await pair.send(b"x" * 10_000)  # would be answered by a reset if the socket were closed
    assert await pair.read_all() == b"answer"
    assert pair.ended == []
    pair.peer.close()
    await pair.until(lambda: pair.ended == [pair.transport])
    assert pair.protocol.received == b""


async def test_a_peer_that_never_closes_is_waited_for_so_long_and_no_longer(pair: Pair) -> None:
    pair.transport.close()
    now = asyncio.get_running_loop().time()
    deadline = pair.transport.deadline()
    assert deadline is not None
    assert now < deadline <= now + LINGER_S
    pair.transport.overdue(deadline)
    assert pair.ended == [pair.transport]
    assert pair.transport.deadline() is None


async def test_a_peer_that_takes_nothing_is_cut(pair: Pair) -> None:
    pair.transport.write(b"x" * 5_000_000)
    now = asyncio.get_running_loop().time()
    deadline = pair.transport.deadline()
    assert deadline is not None
    assert deadline <= now + STALL_S
    pair.transport.overdue(deadline)
    assert isinstance(await pair.protocol.lost, ConnectionError)
    assert pair.ended == [pair.transport]
    assert pair.transport.get_write_buffer_size() < 200_000  # what waited is let go


async def test_the_peers_end_closes(pair: Pair) -> None:
    pair.peer.shutdown(socket.SHUT_WR)
    assert await pair.protocol.lost is None
    await pair.until(lambda: pair.ended == [pair.transport])


async def test_abort_ends_at_once(pair: Pair) -> None:
    pair.transport.write(b"x" * 5_000_000)
    pair.transport.abort()
    assert pair.ended == [pair.transport]
    assert await pair.protocol.lost is None
    pair.transport.abort()
    assert pair.ended == [pair.transport]


async def test_a_fault_of_the_protocol_class_ends_this_connection_alone(pair: Pair) -> None:
    pair.protocol.fail = True
    await pair.send(b"x")
    assert isinstance(await pair.protocol.lost, ConnectionError)
    assert pair.ended == [pair.transport]
