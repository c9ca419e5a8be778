"""How long a connection that asks for an identity lives, and how many there may be, in this process."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.raw_mqtt import connect, publish, reason_code
from thingpass.app import Server
from thingpass.servers import provisioning_session
from thingpass.settings import ListenerSettings, Settings

PATIENCE_S = 20.0


@pytest.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    """Where such connections last half a second, and two may be open."""
    monkeypatch.setattr(provisioning_session, "LASTS_S", 0.5)
    monkeypatch.setattr(provisioning_session, "MOST_SESSIONS", 2)
    listeners = ListenerSettings(bind="127.0.0.1", http_port=0, mqtts_port=0)
    server = Server(Settings(data_dir=tmp_path / "data", listeners=listeners))
    await server.start()
    yield server
    await server.stop()


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, server: Server, version: int = 5) -> Client:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        client = cls(*await asyncio.open_connection("127.0.0.1", server.addresses.mqtts_port, ssl=context))
        client.writer.write(connect(version, user_name="provision"))
        return client

    async def read(self) -> bytes:
        """A packet shorter than 128 bytes, or b"" at the end."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                head = await self.reader.readexactly(2)
                return head + await self.reader.readexactly(head[1])
            except asyncio.IncompleteReadError:
                return b""


@pytest.mark.parametrize("asks", [False, True])
async def test_connection_ends_by_itself_whether_it_asked_or_not(server: Server, asks: bool) -> None:
    client = await Client.open(server)
    assert reason_code(await client.read()) == 0
    if asks:
        client.writer.write(
            publish(
                b'{"provisionDeviceKey":"k","provisionDeviceSecret":"s"}', topic="/provision/request", qos=0
            )
        )
        assert b"NOT_FOUND" in await client.read()
    goodbye = await client.read()
    assert (goodbye[0], reason_code(goodbye)) == (0xE0, 0xA0)
    assert await client.read() == b""
    client.writer.close()


async def test_places_are_bounded_and_come_free(server: Server) -> None:
    clients = [await Client.open(server, 4) for _ in range(3)]
    codes = [(await client.read())[3] for client in clients]
    assert sorted(codes) == [0, 0, 3]
    for client in clients:
        assert await client.read() == b""
    again = await Client.open(server, 4)
    assert (await again.read())[3] == 0
    again.writer.close()
    for client in clients:
        client.writer.close()
