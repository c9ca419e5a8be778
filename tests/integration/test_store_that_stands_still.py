"""A store that does not commit for a while, or fails: what devices are answered, and that nothing is lost."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.device import Device, make_device
from tests.integration.test_device_api import HttpDevice
from tests.raw_mqtt import open_session, publish, reason_code
from tests.running_server import RunningServer

StartServer = Callable[..., RunningServer]


@contextlib.contextmanager
def standing_still(server: RunningServer) -> Iterator[None]:
    """Another program holds the database's one place for writers."""
    with contextlib.closing(sqlite3.connect(server.directory / "data" / "thingpass.db", timeout=30)) as other:
        other.isolation_level = None
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def wait_for_backlog(server: RunningServer, messages: int) -> None:
    deadline = time.monotonic() + 10
    wanted = f"\nthingpass_backlog_messages {float(messages)}\n"
    while wanted not in httpx.get(f"{server.url}/metrics", trust_env=False).text:
        assert time.monotonic() < deadline, f"the backlog is not {messages} messages"
        time.sleep(0.02)


def test_full_backlog_is_503_over_http_and_patience_over_mqtt(start: StartServer) -> None:
    server = start(environ={"THINGPASS_STORE_BACKLOG_MESSAGES": "2"})
    device, http_device = make_device(server, server.directory), HttpDevice(server)
    with contextlib.closing(http_device.client), open_session(device) as client:
        with standing_still(server):
            client.send(*(publish(b'{"n":%d}' % number, packet_id=number) for number in (1, 2)))
            wait_for_backlog(server, 2)
            answer = http_device.post("telemetry", b'{"n":1}')
            assert (answer.status_code, answer.json()["mend"]) == (503, "Send it again later.")
            client.send(publish(b'{"n":3}', packet_id=3))
        assert [client.read_packet() for _ in range(3)] == [b"\x40\x02\x00" + bytes((n,)) for n in (1, 2, 3)]
        assert http_device.post("telemetry", b'{"n":4}').status_code == 200
    assert (device.latest(), http_device.latest()) == ({"n": 3}, {"n": 4})


def test_what_could_not_be_stored_is_never_acknowledged(start: StartServer) -> None:
    """The device API reference, 2.3, case C. The store gives up after five seconds."""
    server = start()
    mqtt_5, mqtt_3 = (make_device(server, server.directory) for _ in range(2))
    http_device = HttpDevice(server)
    with (
        contextlib.closing(http_device.client),
        open_session(mqtt_5) as client,
        open_session(mqtt_3, 4) as older,
        ThreadPoolExecutor() as threads,
        standing_still(server),
    ):
        client.send(publish(b'{"n":1}'))
        older.send(publish(b'{"n":1}', qos=2, version=4))
        url = f"{server.url}/api/v1/{http_device.token}/telemetry"
        posted = threads.submit(httpx.post, url, content=b'{"n":1}', trust_env=False, timeout=60)
        goodbye = client.read_packet()
        assert (goodbye[0], reason_code(goodbye)) == (0xE0, 0x89)
        assert older.is_closed_by_server()
        assert posted.result(60).status_code == 503
    for device in (mqtt_5, mqtt_3):
        assert device.latest() == {}
        send_again(device)
        assert device.latest() == {"n": 2}


def send_again(device: Device) -> None:
    with open_session(device) as client:
        client.send(publish(b'{"n":2}'))
        assert client.read_packet() == b"\x40\x02\x00\x01"
