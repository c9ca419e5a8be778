"""A store that fails, or changes what it says, just when the first device of a profile connects."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.raw_mqtt import PATIENCE_S, RawClient, connect, publish
from thingpass.app import Server
from thingpass.bus.messages import DeviceRemoved
from thingpass.devices.devices import DeviceService
from thingpass.errors import Unavailable
from thingpass.settings import load_settings
from thingpass.store.rows import DeviceProfile
from thingpass.store.sqlite.store import SqliteStore

TOKEN = "a-token-of-the-test"


@pytest.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    """A server in this process, with MQTT without TLS; one device knows the token."""
    stores: list[SqliteStore] = []
    opened = SqliteStore.open

    async def open_and_note(store: SqliteStore) -> None:
        stores.append(store)
        await opened(store)

    monkeypatch.setattr(SqliteStore, "open", open_and_note)
    flags = {
        "data_dir": str(tmp_path / "data"),
        "listeners.bind": "127.0.0.1",
        "listeners.http_port": "0",
        "listeners.mqtts_port": "0",
        "listeners.mqtt_port": "0",
    }
    server = Server(load_settings(config_file=None, flags=flags, environ={"HOME": str(tmp_path)}))
    await server.start()
    store = stores[0]
    tenant = (await store.list_tenants())[0]
    await DeviceService(store, server._bus, server._clock).add(tenant.id, "pump", access_token=TOKEN)
    yield server
    await server.stop()


def in_a_thread(work: Callable[[RawClient], list[bytes]], server: Server) -> asyncio.Future[list[bytes]]:
    """The client blocks, and the server is in this thread."""

    def run() -> list[bytes]:
        with RawClient(
            socket.create_connection(("127.0.0.1", server.addresses.mqtt_port), PATIENCE_S)
        ) as client:
            return work(client)

    return asyncio.ensure_future(asyncio.to_thread(run))


async def test_store_that_fails_is_a_refusal_and_the_next_try_works(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_store: SqliteStore, _profile_id: str) -> DeviceProfile | None:
        raise Unavailable("The disk is gone.")

    def try_once(client: RawClient) -> list[bytes]:
        client.send(connect(4, client_id="x", user_name=TOKEN))
        return [client.read_packet(), b"" if client.is_closed_by_server() else b"stays"]

    with monkeypatch.context() as patched:
        patched.setattr(SqliteStore, "find_profile", fail)
        assert await in_a_thread(try_once, server) == [b"\x20\x02\x00\x03", b""]

    def send(client: RawClient) -> list[bytes]:
        client.send(connect(4, client_id="x", user_name=TOKEN), publish(b'{"a":1}', version=4))
        return [client.read_packet(), client.read_packet()]

    assert await in_a_thread(send, server) == [b"\x20\x02\x00\x00", b"\x40\x02\x00\x01"]


async def test_credentials_that_go_meanwhile_let_nobody_in(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device is removed between the decision and the reading of its profile."""
    find = SqliteStore.find_profile
    removed = asyncio.Event()

    async def find_slowly(store: SqliteStore, profile_id: str) -> DeviceProfile | None:
        if not removed.is_set():
            removed.set()
            tenant = (await store.list_tenants())[0]
            device = await store.find_device_by_name(tenant.id, "pump")
            assert device is not None
            await store.remove_device(device.id)
            server._bus.publish(DeviceRemoved(device_id=device.id, credentials_ids=(TOKEN,)))
        return await find(store, profile_id)

    monkeypatch.setattr(SqliteStore, "find_profile", find_slowly)

    def try_once(client: RawClient) -> list[bytes]:
        client.send(connect(4, client_id="x", user_name=TOKEN))
        return [client.read_packet()]

    (answer,) = await in_a_thread(try_once, server)
    assert answer == b"\x20\x02\x00\x05"
