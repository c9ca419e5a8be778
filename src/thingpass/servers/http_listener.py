"""The HTTP listener: uvicorn inside our own event loop, on a socket that we opened."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from thingpass.servers.mqtt_listeners import listening_socket

START_TIMEOUT_S: Final = 10.0
STOP_TIMEOUT_S: Final = 2  # how long requests in flight may take after the server was told to stop


class _EmbeddedUvicorn(uvicorn.Server):
    """Signals belong to whoever owns the process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpListener:
    def __init__(self, application: ASGIApp, *, bind: str, port: int) -> None:
        self._application = application
        self._bind = bind
        self._wanted_port = port
        self._server: _EmbeddedUvicorn | None = None
        self._task: asyncio.Task[None] | None = None
        self.port = port

    async def start(self) -> None:
        """Raises Unavailable when the address cannot be had."""
        sock = listening_socket(self._bind, self._wanted_port)
        self.port = sock.getsockname()[1]
        config = uvicorn.Config(
            self._application,
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,  # the house's logging is set up already
            log_level="warning",  # starting and stopping is said by the command, not here
            access_log=False,
            server_header=False,
            proxy_headers=False,  # a header must not be able to name another peer address
            timeout_graceful_shutdown=STOP_TIMEOUT_S,
            timeout_keep_alive=30,
        )
        self._server = _EmbeddedUvicorn(config)
        self._task = asyncio.create_task(self._server.serve(sockets=[sock]), name="http")
        async with asyncio.timeout(START_TIMEOUT_S):
            while not self._server.started:
                if self._task.done():
                    self._task.result()
                await asyncio.sleep(0.005)

    async def stop(self) -> None:
        if self._server is None or self._task is None:
            return
        self._server.should_exit = True
        await asyncio.wait((self._task,), timeout=STOP_TIMEOUT_S + 1)
        if not self._task.done():
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
