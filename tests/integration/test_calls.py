"""Calls to devices over real connections: REST on one side, a device by hand or with paho on the other."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from tests.device import Device, make_device
from tests.interop.paho_device import MQTT_3_1, MQTT_3_1_1, MQTT_5, PahoDevice
from tests.raw_mqtt import (
    connect,
    open_session,
    open_tls,
    puback,
    publish,
    reason_code,
    subscribe,
    taken_apart,
    text,
)
from tests.running_server import RunningServer, clean_environ

CALLS = "v1/devices/me/rpc/request/+"
MakeDevice = Callable[..., Device]
versions = pytest.mark.parametrize("version", [MQTT_3_1, MQTT_3_1_1, MQTT_5], ids=["3.1", "3.1.1", "5.0"])


def call(device: Device, *, path: str = "rpc/twoway", **body: Any) -> httpx.Response:
    """One REST call with a client of its own: several wait at the same time."""
    url = f"{device.server.url}/api/{path}/{device.id}"
    headers = device.server.rest.headers
    body = {"method": "setGpio", "params": {"pin": 7}, "timeout": 5000} | body
    return httpx.post(url, json=body, headers=headers, timeout=30, trust_env=False)


def call_later(device: Device, **body: Any) -> Future[httpx.Response]:
    _ = device.server.rest  # logged in on this thread: two at once would log in twice
    pool = ThreadPoolExecutor(1)
    future = pool.submit(call, device, **body)
    pool.shutdown(wait=False)
    return future


def kept(device: Device, rpc_id: str) -> dict[str, Any]:
    answer = device.server.rest.get(f"/api/rpc/persistent/{rpc_id}")
    answer.raise_for_status()
    return dict(answer.json())


def wait_for_status(device: Device, rpc_id: str, status: str, *, within_s: float = 10) -> dict[str, Any]:
    deadline = time.monotonic() + within_s
    while (found := kept(device, rpc_id))["status"] != status:
        assert time.monotonic() < deadline, f"the call is {found['status']} after {within_s} s, not {status}"
        time.sleep(0.02)
    return found


def far() -> int:
    """An expiration time in ten minutes."""
    return int(time.time() * 1000) + 600_000


@versions
@pytest.mark.parametrize("qos", [0, 1])
def test_two_way_call_brings_the_answer(
    device_with_certificate: MakeDevice, version: MQTTProtocolVersion, qos: int
) -> None:
    device = device_with_certificate()
    with PahoDevice(device, version=version) as paho:
        paho.subscribe(CALLS, qos=qos)
        for path in ("rpc/twoway", "plugins/rpc/twoway"):
            waiting = call_later(device, path=path, params={"pin": 7, "text": "ü"})
            message = paho.next_message()
            assert json.loads(message.payload) == {"method": "setGpio", "params": {"pin": 7, "text": "ü"}}
            assert message.qos == qos
            paho.publish(message.topic.replace("request", "response"), '{"value": [1, 2.50]}')
            answer = waiting.result(30)
            assert (answer.status_code, answer.text) == (200, '{"value": [1, 2.50]}')


def test_mqtt_5_is_told_where_to_answer_and_how_long(device_with_certificate: MakeDevice) -> None:
    device = device_with_certificate()
    with PahoDevice(device, version=MQTT_5) as paho:
        paho.subscribe(CALLS)
        waiting = call_later(device)
        message = paho.next_message()
        request_id = message.topic.rpartition("/")[2]
        properties: Any = message.properties
        assert properties.ResponseTopic == f"v1/devices/me/rpc/response/{request_id}"
        assert properties.CorrelationData == request_id.encode()
        assert 1 <= properties.MessageExpiryInterval <= 5
        paho.publish(properties.ResponseTopic, "1")
        assert waiting.result(30).json() == 1


@versions
def test_one_way_call_ends_when_the_device_has_it(
    device_with_certificate: MakeDevice, version: MQTTProtocolVersion
) -> None:
    device = device_with_certificate()
    with PahoDevice(device, version=version) as paho:
        paho.subscribe(CALLS)
        answer = call(device, path="rpc/oneway")
        assert (answer.status_code, answer.content) == (200, b"")
        assert json.loads(paho.next_message().payload)["method"] == "setGpio"


def test_a_device_that_comes_in_time_gets_the_call(device_with_certificate: MakeDevice) -> None:
    device = device_with_certificate()
    waiting = call_later(device, timeout=20_000)
    with PahoDevice(device) as paho:
        paho.subscribe(CALLS)
        message = paho.next_message()
        paho.publish(message.topic.replace("request", "response"), '"here"')
        assert waiting.result(30).json() == "here"


@pytest.mark.parametrize(
    ("path", "away", "silent"), [("rpc/twoway", 504, 504), ("plugins/rpc/twoway", 409, 408)]
)
def test_no_answer_in_time(device_with_certificate: MakeDevice, path: str, away: int, silent: int) -> None:
    device = device_with_certificate()
    # An expiration time is not raised to the shortest timeout, so nobody has to wait for 5 s here.
    assert call(device, path=path, expirationTime=int(time.time() * 1000) + 50).status_code == away
    with PahoDevice(device) as paho:
        paho.subscribe(CALLS)
        answer = call(device, path=path, expirationTime=int(time.time() * 1000) + 300)
        assert answer.status_code == silent
        assert answer.text.startswith("The device did not answer the call within 0.")
        # The late answer is acknowledged and dropped, as is one to a call that never was.
        paho.publish(paho.next_message().topic.replace("request", "response"), "1")
        paho.publish("v1/devices/me/rpc/response/99", "1")
        paho.publish("v1/devices/me/rpc/response/4294967295", "1")


@pytest.mark.parametrize(("reply", "status"), [("no json", 406), ("", 200), ("{", 406)])
def test_answers_that_are_no_json(device_with_certificate: MakeDevice, reply: str, status: int) -> None:
    device = device_with_certificate()
    with PahoDevice(device) as paho:
        paho.subscribe(CALLS)
        waiting = call_later(device)
        paho.publish(paho.next_message().topic.replace("request", "response"), reply)
        assert waiting.result(30).status_code == status


def test_every_subscribe_brings_what_is_not_answered(device_with_certificate: MakeDevice) -> None:
    device = device_with_certificate()
    with PahoDevice(device) as paho:
        paho.subscribe(CALLS)
        waiting = call_later(device, timeout=20_000)
        first = paho.next_message()
        paho.subscribe(CALLS)
        second = paho.next_message()
        assert (second.topic, second.payload) == (first.topic, first.payload)
    with PahoDevice(device) as paho:
        paho.subscribe(CALLS)
        third = paho.next_message()
        assert third.topic == first.topic
        paho.publish(third.topic.replace("request", "response"), "3")
        assert waiting.result(30).json() == 3


def test_calls_wait_for_the_receive_maximum_and_none_is_lost(device_with_certificate: MakeDevice) -> None:
    device = device_with_certificate()
    with open_tls(device) as client:
        client.send(connect(properties=b"\x21\x00\x01"))  # Receive Maximum 1
        assert reason_code(client.read_packet()) == 0
        client.send(subscribe(CALLS))
        client.read_packet()
        waiting = [call_later(device, path="rpc/oneway", timeout=20_000) for _ in range(5)]
        for _ in range(5):
            packet = client.read_packet()
            assert packet[0] == 0x32
            client.send(puback(taken_apart(packet)[1]))
        assert [each.result(30).status_code for each in waiting] == [200] * 5


def test_a_device_may_refuse_a_call(device_with_certificate: MakeDevice) -> None:
    device = device_with_certificate()
    with open_session(device) as client:
        client.send(subscribe(CALLS))
        client.read_packet()
        waiting = call_later(device, path="plugins/rpc/oneway")
        packet = client.read_packet()
        client.send(puback(taken_apart(packet)[1], 0x87))
        assert waiting.result(30).status_code == 408


def test_a_call_too_large_for_the_device_fails_at_once(device_with_certificate: MakeDevice) -> None:
    device = device_with_certificate()
    with open_tls(device) as client:
        client.send(connect(properties=b"\x27\x00\x00\x00\x80"))  # Maximum Packet Size 128
        client.read_packet()
        client.send(subscribe(CALLS))
        client.read_packet()
        answer = call(device, params="x" * 200, timeout=30_000)
        assert answer.status_code == 504
        assert "too large" in answer.text


@pytest.mark.parametrize(
    ("wished", "topic"),
    [
        ("v2/r/res/j/77", "v2/r/res/j/77"),
        ("v1/devices/me/attributes/response/77", "v1/devices/me/rpc/response/5"),
        ("somewhere/else", "v1/devices/me/rpc/response/5"),
    ],
)
def test_a_device_says_where_it_wants_its_answer(
    device_with_certificate: MakeDevice, wished: str, topic: str
) -> None:
    """MQTT5 4.10: within the device API only; Correlation Data comes back as it is."""
    with open_session(device_with_certificate()) as client:
        properties = b"\x08" + text(wished) + b"\x09\x00\x03\x00\xffz"
        body = b'{"method":"getCurrentTime"}'
        client.send(publish(body, topic="v1/devices/me/rpc/request/5", qos=0, properties=properties))
        answer = client.read_packet()
        assert taken_apart(answer)[0] == topic
        assert b"\x09\x00\x03\x00\xffz" in answer


class TestKept:
    """Persistent calls."""

    def keep(self, device: Device, *, path: str = "rpc/twoway", **body: Any) -> str:
        answer = call(device, path=path, persistent=True, **({"expirationTime": far()} | body))
        assert answer.status_code == 200, answer.text
        return str(answer.json()["rpcId"])

    def test_two_way_goes_through_its_states(self, device_with_certificate: MakeDevice) -> None:
        device = device_with_certificate()
        rpc_id = self.keep(device, additionalInfo={"who": "me"})
        assert kept(device, rpc_id)["status"] == "QUEUED"
        with open_session(device) as client:
            client.send(subscribe(CALLS))
            client.read_packet()
            packet = client.read_packet()
            wait_for_status(device, rpc_id, "SENT")
            topic, packet_id = taken_apart(packet)
            client.send(puback(packet_id))
            wait_for_status(device, rpc_id, "DELIVERED")
            client.send(publish(b'{"ok": true}', topic=topic.replace("request", "response"), packet_id=9))
            assert client.read_packet()[0] == 0x40
            # Acknowledged is stored: no waiting here.
            found = kept(device, rpc_id)
        assert (found["status"], found["response"]) == ("SUCCESSFUL", {"ok": True})
        assert found["additionalInfo"] == {"who": "me"}

    def test_one_way_ends_delivered(self, device_with_certificate: MakeDevice) -> None:
        device = device_with_certificate()
        with PahoDevice(device) as paho:
            paho.subscribe(CALLS)
            rpc_id = self.keep(device, path="rpc/oneway")
            paho.next_message()
            wait_for_status(device, rpc_id, "DELIVERED")
            paho.subscribe(CALLS)
            other = self.keep(device, path="rpc/oneway")
            paho.next_message()
            wait_for_status(device, other, "DELIVERED")
            assert paho.messages.empty(), "what has ended does not come again"

    def test_lost_with_the_connection_comes_again_until_retries_are_used_up(
        self, device_with_certificate: MakeDevice
    ) -> None:
        device = device_with_certificate()
        rpc_id = self.keep(device, retries=1)
        for status in ("QUEUED", "FAILED"):
            with open_session(device) as client:
                client.send(subscribe(CALLS))
                client.read_packet()
                assert client.read_packet()[0] == 0x32
            wait_for_status(device, rpc_id, status)

    def test_expires(self, device_with_certificate: MakeDevice) -> None:
        device = device_with_certificate()
        rpc_id = self.keep(device, expirationTime=int(time.time() * 1000) + 100)
        wait_for_status(device, rpc_id, "EXPIRED")
        with PahoDevice(device) as paho:
            paho.subscribe(CALLS)
            last = self.keep(device, path="rpc/oneway")
            paho.next_message()
            wait_for_status(device, last, "DELIVERED")
            assert paho.messages.empty()

    def test_withdrawn_is_not_sent(self, device_with_certificate: MakeDevice) -> None:
        device = device_with_certificate()
        rest = device.server.rest
        withdrawn, other = self.keep(device, method="no"), self.keep(device, method="yes")
        assert rest.delete(f"/api/rpc/persistent/{withdrawn}").status_code == 200
        assert rest.get(f"/api/rpc/persistent/{withdrawn}").status_code == 404
        assert rest.delete(f"/api/rpc/persistent/{withdrawn}").status_code == 404
        with PahoDevice(device) as paho:
            paho.subscribe(CALLS)
            assert json.loads(paho.next_message().payload)["method"] == "yes"
            wait_for_status(device, other, "DELIVERED")

    def test_more_calls_than_are_in_memory_all_arrive_in_order(
        self, device_with_certificate: MakeDevice
    ) -> None:
        device = device_with_certificate()
        for number in range(150):
            self.keep(device, path="rpc/oneway", params=number)
        with PahoDevice(device) as paho:
            paho.subscribe(CALLS)
            assert [json.loads(paho.next_message().payload)["params"] for _ in range(150)] == list(range(150))

    def test_kept_calls_survive_kill_9(self, start: Callable[..., RunningServer], tmp_path: Any) -> None:
        server = start(directory=tmp_path / "server")
        device = make_device(server, tmp_path, "pump")
        with PahoDevice(device) as paho:
            paho.subscribe(CALLS)
            unanswered = self.keep(device, method="unanswered")
            before = paho.next_message()
            wait_for_status(device, unanswered, "DELIVERED")
            server.kill()
        again = server.start_again()
        try:
            device = Device(
                device.name,
                device.id,
                device.certificate_file,
                device.combined_file,
                again.certificate_file(),
                again,
            )
            assert kept(device, unanswered)["status"] == "DELIVERED"
            waiting = self.keep(device, method="waiting")
            again.kill()
            again = again.start_again()
            device = Device(
                device.name,
                device.id,
                device.certificate_file,
                device.combined_file,
                again.certificate_file(),
                again,
            )
            with PahoDevice(device) as paho:
                # Answered without having been sent again: the id is known from before the crash.
                paho.publish(before.topic.replace("request", "response"), '"late"')
                assert kept(device, unanswered)["response"] == "late"
                paho.subscribe(CALLS)
                message = paho.next_message()
                assert json.loads(message.payload)["method"] == "waiting"
                assert message.topic != before.topic
                wait_for_status(device, waiting, "DELIVERED")
        finally:
            again.stop()


def test_waiting_callers_hear_that_the_server_stops(
    start: Callable[..., RunningServer], tmp_path: Any
) -> None:
    server = start()
    device = make_device(server, tmp_path, "pump")
    waiting = call_later(device, timeout=600_000)
    deadline = time.monotonic() + 10
    while "thingpass_rpc_waiting 1.0" not in httpx.get(f"{server.url}/metrics", trust_env=False).text:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    stopping = threading.Thread(target=server.stop)
    stopping.start()
    answer = waiting.result(30)
    stopping.join()
    assert answer.status_code == 503
    assert "stops" in answer.text


def test_the_command_line_calls_and_tells(device_with_certificate: MakeDevice) -> None:
    device = device_with_certificate()
    token = str(device.server.rest.headers["X-Authorization"]).removeprefix("Bearer ")
    environ = clean_environ({"THINGPASS_URL": device.server.url, "THINGPASS_TOKEN": token})

    def thingpass(*words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "thingpass", *words]
        return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True)

    with PahoDevice(device) as paho:
        paho.subscribe(CALLS)
        paho.subscribe("v1/devices/me/attributes")
        with thingpass("rpc", device.name, "setGpio", '{"pin": 7}') as process:
            message = paho.next_message()
            assert json.loads(message.payload) == {"method": "setGpio", "params": {"pin": 7}}
            paho.publish(message.topic.replace("request", "response"), '{"on": true}')
            assert process.communicate(timeout=30) == ('{"on": true}\n', None)
        with thingpass("attributes", "set", device.name, "interval=30") as process:
            assert json.loads(paho.next_message().payload) == {"interval": 30}
        with thingpass("attributes", "remove", device.name, "interval") as process:
            assert json.loads(paho.next_message().payload) == {"deleted": ["interval"]}
        assert process.returncode == 0
