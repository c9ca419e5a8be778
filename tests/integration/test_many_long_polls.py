"""Ten thousand requests that wait at the same time: no thread more, little memory, and an answer for each."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import httpx
import pytest

from tests.integration.test_device_long_polls import waiting
from tests.running_server import RunningServer

DEVICES = 1_250
FOR_ATTRIBUTES, FOR_CALLS = 6, 2  # of one device, which may have eight
REQUESTS = DEVICES * (FOR_ATTRIBUTES + FOR_CALLS)
FILES = REQUESTS + 500  # in the test's process, and in the server's
AT_ONCE = 100
PATIENCE_S = 60.0

T, R = TypeVar("T"), TypeVar("R")


@pytest.fixture
def many_files() -> Iterator[None]:
    """Both processes may open that many; a server inherits it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < FILES:
        pytest.skip(f"a process may open {hard} files here, {FILES} are needed: ulimit -Hn {FILES}")
    if soft != resource.RLIM_INFINITY and soft < FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Request(asyncio.Protocol):
    """One that waits; its answer is its first line and what stands behind the last."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._received = b""
        self.answer: asyncio.Future[tuple[bytes, bytes]] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(
            f"GET {self._path}?timeout=300000 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        self._received += data

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.answer.done():
            head, _, body = self._received.partition(b"\r\n\r\n")
            self.answer.set_result((head.partition(b"\r\n")[0], body))


@contextlib.asynccontextmanager
async def rest_of(server: RunningServer) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"X-Authorization": server.rest.headers["X-Authorization"]}
    async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=60, trust_env=False) as rest:
        yield rest


async def for_each(things: Iterable[T], do: Callable[[T], Awaitable[R]]) -> list[R]:
    """Some at a time."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(thing: T) -> R:
        async with room:
            return await do(thing)

    return await asyncio.gather(*map(one, things))


def status(server: RunningServer, field: str) -> int:
    for line in Path(f"/proc/{server.process.pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise AssertionError(f"no {field}")


async def until_waiting(server: RunningServer, count: int) -> None:
    await asyncio.to_thread(_until_waiting, server, count)


def _until_waiting(server: RunningServer, count: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while (seen := waiting(server)) != count:
        assert time.monotonic() < deadline, f"{seen} requests wait, not {count}"
        time.sleep(0.1)


async def test_ten_thousand(many_files: None, start: Callable[..., RunningServer]) -> None:
    server = start()
    host, port = urlsplit(server.url).hostname, urlsplit(server.url).port
    loop = asyncio.get_running_loop()
    async with rest_of(server) as rest:

        async def add(number: int) -> str:
            body = {"name": f"device {number}", "type": "default"}
            answer = await rest.post(f"/api/device?accessToken=token-{number}", json=body)
            return str(answer.raise_for_status().json()["id"]["id"])

        async def ask(path: str) -> Request:
            return (await loop.create_connection(lambda: Request(path), host, port))[1]

        async def share(device_id: str) -> None:
            url = f"/api/plugins/telemetry/DEVICE/{device_id}/attributes/SHARED_SCOPE"
            (await rest.post(url, json={"limit": 3})).raise_for_status()

        ids = await for_each(range(DEVICES), add)
        await until_waiting(server, 0)
        threads, memory_kb = status(server, "Threads"), status(server, "VmRSS")

        prefixes = [f"/api/v1/token-{n}" for n in range(DEVICES)]
        updates = [f"{prefix}/attributes/updates" for prefix in prefixes for _ in range(FOR_ATTRIBUTES)]
        calls = [f"{prefix}/rpc" for prefix in prefixes for _ in range(FOR_CALLS)]
        for_attributes = await for_each(updates, ask)
        for_calls = await for_each(calls, ask)
        await until_waiting(server, REQUESTS)
        assert status(server, "Threads") == threads
        each_kb = (status(server, "VmRSS") - memory_kb) / REQUESTS
        assert each_kb < 40, "docs/performance.md says what it was"

        await for_each(ids, share)
        async with asyncio.timeout(PATIENCE_S):
            answers = await asyncio.gather(*(request.answer for request in for_attributes))
        assert Counter(answers) == {(b"HTTP/1.1 200 OK", b'{"limit":3}'): len(updates)}
        await until_waiting(server, len(calls))
        assert status(server, "Threads") == threads

    await asyncio.to_thread(server.stop)  # within the time that it promises
    async with asyncio.timeout(PATIENCE_S):
        answers = await asyncio.gather(*(request.answer for request in for_calls))
    assert Counter(answers) == {(b"HTTP/1.1 408 Request Timeout", b""): len(calls)}
