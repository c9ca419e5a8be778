"""uvicorn's HTTP protocol with our bounds, on a real socket: who takes nothing of an answer is let go."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState

from thingpass.servers import http_protocol
from thingpass.servers.deadlines import DeadlineWheel
from thingpass.servers.http_protocol import HttpBounds, HttpProtocol

PATIENCE_S = 20.0
PIECE = bytes(200_000)
PIECES = 200  # more than sockets hold


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["method"] == "POST":
        while (message := await receive())["type"] == "http.request" and message["more_body"]:
            pass
    headers = [(b"content-length", b"%d" % (len(PIECE) * PIECES))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for _ in range(PIECES):
        await send({"type": "http.response.body", "body": PIECE, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


class Listening:
    def __init__(self, port: int, state: ServerState) -> None:
        self.port = port
        self.state = state

    def ask(self, rest_of_head: str = "") -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port), PATIENCE_S)
        sock.sendall(f"GET / HTTP/1.1\r\nHost: x\r\n{rest_of_head}\r\n".encode())
        return sock

    async def until_open(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while len(self.state.connections) != count:  # noqa: ASYNC110  # uvicorn tells nobody
                await asyncio.sleep(0.01)


@pytest.fixture
async def listening() -> AsyncIterator[Listening]:
    wheel, state = DeadlineWheel(), ServerState()
    wheel.start()
    config = Config(application, lifespan="off", log_config=None)
    config.load()
    bounds = HttpBounds(
        wheel=wheel,
        head_timeout_s=0.2,
        record=lambda fault, evidence: None,
        has_room=lambda: True,
        max_connections=10,
        stall_s=1.0,
    )
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: HttpProtocol(config, state, {}, bounds=bounds), "127.0.0.1", 0)
    yield Listening(server.sockets[0].getsockname()[1], state)
    server.close()
    await wheel.stop()


async def test_who_takes_nothing_of_an_answer_is_let_go(listening: Listening) -> None:
    with listening.ask():
        await listening.until_open(1)
        await listening.until_open(0)
    await asyncio.gather(*listening.state.tasks)


async def test_who_takes_it_slowly_gets_all_of_it(listening: Listening) -> None:
    """Two seconds for all, which is longer than a peer may take nothing."""
    loop = asyncio.get_running_loop()
    with listening.ask("Connection: close\r\n") as sock:
        sock.setblocking(False)
        size = 0
        while part := await loop.sock_recv(sock, 1_000_000):
            size += len(part)
            await asyncio.sleep(0.05)
    assert size > len(PIECE) * PIECES
    await listening.until_open(0)


async def test_who_sends_a_byte_now_and_then_is_let_go(
    listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No silence is as long as the bound, and the whole body is not sent in many times of it."""
    monkeypatch.setattr(http_protocol, "SILENCE_IN_BODY_S", 0.5)
    with socket.create_connection(("127.0.0.1", listening.port), PATIENCE_S) as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        await listening.until_open(1)
        async with asyncio.timeout(PATIENCE_S):
            with contextlib.suppress(ConnectionError):
                while listening.state.connections:
                    sock.send(b"x")
                    await asyncio.sleep(0.05)
        await listening.until_open(0)
    await asyncio.gather(*listening.state.tasks)
