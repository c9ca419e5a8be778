"""One connection's rules over real sockets: who is let in, what is acknowledged, what ends it and how."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable

import httpx
import pytest

from tests.device import Device, make_device
from tests.raw_mqtt import (
    PATIENCE_S,
    PINGREQ,
    PINGRESP,
    TELEMETRY,
    RawClient,
    connect,
    open_session,
    open_tls,
    packet,
    publish,
    reason_code,
    subscribe,
)
from tests.running_server import RunningServer

ATTRIBUTES = "v1/devices/me/attributes"
MakeDevice = Callable[..., Device]
StartServer = Callable[..., RunningServer]

VERSIONS = pytest.mark.parametrize("version", [3, 4, 5])


class TestConnect:
    @VERSIONS
    def test_a_registered_certificate_is_let_in(
        self, device_with_certificate: MakeDevice, version: int
    ) -> None:
        with open_tls(device_with_certificate()) as client:
            client.send(connect(version, client_id="x"))
            answer = client.read_packet()
            assert answer[0] == 0x20
            assert answer[2:4] == b"\x00\x00"  # Session Present is always 0

    @pytest.mark.parametrize(
        ("version", "with_certificate", "user_name", "client_id", "code"),
        [
            (4, True, None, "", 0x05),
            (5, True, None, "", 0x87),
            (5, True, "a-token-beside-it", "", 0x87),
            (4, False, "wrong", "", 0x05),
            (5, False, "wrong", "", 0x86),
            (4, False, None, "some-id", 0x02),
            (5, False, None, "some-id", 0x85),
            (4, False, None, "", 0x05),
            (5, False, None, "", 0x87),
        ],
    )
    def test_the_refusals_codes_are_thingsboards(
        self,
        device_with_certificate: MakeDevice,
        version: int,
        with_certificate: bool,
        user_name: str | None,
        client_id: str,
        code: int,
    ) -> None:
        """Device API reference 1.5."""
        device = device_with_certificate(registered=False)
        with open_tls(device, with_certificate=with_certificate) as client:
            client.send(connect(version, user_name=user_name, client_id=client_id))
            answer = client.read_packet()
            assert (answer[0], reason_code(answer)) == (0x20, code)
            assert client.is_closed_by_server()

    def test_mqtt_5_hears_the_reason_in_words(self, device_with_certificate: MakeDevice) -> None:
        with open_tls(device_with_certificate(registered=False)) as client:
            client.send(connect(5))
            assert b"registered for no device here" in client.read_packet()

    def test_an_empty_client_id_gets_one_in_mqtt_5(self, device_with_certificate: MakeDevice) -> None:
        with open_tls(device_with_certificate()) as client:
            client.send(connect(5))
            assert b"thingpass-" in client.read_packet()

    def test_what_comes_behind_connect_in_one_piece_is_served(
        self, device_with_certificate: MakeDevice
    ) -> None:
        device = device_with_certificate()
        with open_tls(device) as client:
            client.send(connect(5) + publish(b'{"early": 1}') + PINGREQ)
            assert client.read_packet()[0] == 0x20
            answers = {client.read_packet()[0], client.read_packet()[0]}
            assert answers == {0x40, 0xD0}
        assert device.latest()["early"] == 1

    def test_a_silent_client_is_cut_after_the_connect_time(self, start: StartServer) -> None:
        server = start(environ={"THINGPASS_MQTT_CONNECT_TIMEOUT_S": "1"})
        with open_tls(_bare_device(server), with_certificate=False) as client:
            began = time.monotonic()
            assert client.is_closed_by_server()
            assert 0.9 < time.monotonic() - began < 5
        server.wait_for_refusal("connect-took-too-long")

    def test_a_handshake_that_does_not_come_is_cut(self, start: StartServer) -> None:
        server = start(environ={"THINGPASS_TLS_HANDSHAKE_TIMEOUT_S": "1"})
        with socket.create_connection(("127.0.0.1", server.mqtts_port), PATIENCE_S) as sock:
            sock.sendall(b"\x16\x03\x01")  # the beginning of a ClientHello, and no more
            assert sock.recv(10) == b""
        server.wait_for_refusal("handshake-took-too-long")


class TestPublish:
    @VERSIONS
    def test_an_acknowledged_message_is_stored(
        self, device_with_certificate: MakeDevice, version: int
    ) -> None:
        device = device_with_certificate()
        with open_session(device, version) as client:
            client.send(publish(b'{"a": 1}', version=version, packet_id=7))
            assert client.read_packet()[:4] == b"\x40\x02\x00\x07"
            assert device.latest() == {"a": 1}

    @pytest.mark.parametrize("version", [4, 5])
    def test_qos_2_is_stored_once(self, device_with_certificate: MakeDevice, version: int) -> None:
        device = device_with_certificate()
        message = b'{"ts": 1000, "values": {"once": 1}}'
        with open_session(device, version) as client:
            client.send(publish(message, version=version, qos=2, packet_id=9))
            assert client.read_packet()[:4] == b"\x50\x02\x00\x09"
            again = b'{"ts": 2000, "values": {"once": 2}}'
            client.send(publish(again, version=version, qos=2, packet_id=9, dup=True))
            assert client.read_packet()[:4] == b"\x50\x02\x00\x09"
            client.send(b"\x62\x02\x00\x09")
            assert client.read_packet()[:4] == b"\x70\x02\x00\x09"
        assert device.history("once") == [(1000, 1)]

    def test_a_bad_payload_is_told_to_mqtt_5_and_the_connection_stays(
        self, device_with_certificate: MakeDevice
    ) -> None:
        device = device_with_certificate()
        with open_session(device) as client:
            client.send(publish(b"{broken", packet_id=3))
            refused = client.read_packet()
            assert (refused[0], refused[2:5]) == (0x40, b"\x00\x03\x99")
            assert b"not JSON" in refused
            client.send(publish(b'{"whole": 1}', packet_id=4))
            assert client.read_packet()[:4] == b"\x40\x02\x00\x04"

    def test_a_bad_payload_closes_mqtt_3_without_puback(self, device_with_certificate: MakeDevice) -> None:
        with open_session(device_with_certificate(), 4) as client:
            client.send(publish(b"{broken", version=4))
            assert client.is_closed_by_server()

    def test_a_bad_payload_at_qos_0_closes_mqtt_5_with_the_reason(
        self, device_with_certificate: MakeDevice
    ) -> None:
        with open_session(device_with_certificate()) as client:
            client.send(publish(b"{broken", qos=0))
            answer = client.read_packet()
            assert (answer[0], reason_code(answer)) == (0xE0, 0x99)

    @pytest.mark.parametrize("qos", [1, 2])
    def test_answers_come_in_the_order_of_the_messages(
        self, device_with_certificate: MakeDevice, qos: int
    ) -> None:
        """[MQTT-4.6.0-2], [MQTT-4.6.0-3]: whether stored, refused, unknown, or waiting for the store."""
        kinds = ((TELEMETRY, b'{"a":1}'), ("no/topic", b""), (TELEMETRY, b"{"), (ATTRIBUTES, b'{"a":1}'))
        with open_session(device_with_certificate()) as client:
            for _ in range(5):
                messages = [kinds[number % 4] for number in range(80)]
                client.send(
                    *(
                        publish(payload, topic=topic, qos=qos, packet_id=number)
                        for number, (topic, payload) in enumerate(messages, 1)
                    )
                )
                answers = [client.read_packet() for _ in messages]
                assert [int.from_bytes(answer[2:4], "big") for answer in answers] == list(range(1, 81))
                released = [number for number, answer in enumerate(answers, 1) if len(answer) == 4]
                if qos == 2:
                    client.send(*(b"\x62\x02" + number.to_bytes(2, "big") for number in released))
                    assert [client.read_packet()[0] for _ in released] == [0x70] * len(released)

    @pytest.mark.parametrize(("version", "answer"), [(4, b"\x40\x02\x00\x01"), (5, b"\x40\x03\x00\x01\x90")])
    def test_an_unknown_topic_is_acknowledged_and_dropped(
        self, device_with_certificate: MakeDevice, version: int, answer: bytes
    ) -> None:
        with open_session(device_with_certificate(), version) as client:
            client.send(publish(b"{}", version=version, topic="some/topic"))
            assert client.read_packet()[: len(answer)] == answer
            client.send(PINGREQ)
            assert client.read_packet() == PINGRESP

    def test_an_empty_array_is_acknowledged(self, device_with_certificate: MakeDevice) -> None:
        """ThingsBoard never answers it, so that QoS 1 clients hang (device API reference, 2.3)."""
        with open_session(device_with_certificate()) as client:
            client.send(publish(b"[]"))
            assert client.read_packet()[0] == 0x40

    def test_a_packet_over_the_limit_ends_the_connection_with_its_code(
        self, device_with_certificate: MakeDevice
    ) -> None:
        with open_session(device_with_certificate()) as client:
            client.send(publish(b'{"a":"' + b"x" * 70_000 + b'"}')[:100])
            answer = client.read_packet()
            assert (answer[0], reason_code(answer)) == (0xE0, 0x95)


class TestSubscribe:
    @pytest.mark.parametrize(
        ("topic_filter", "qos", "code"),
        [
            ("v1/devices/me/attributes", 0, 0),
            ("v1/devices/me/rpc/request/+", 2, 1),
            ("#", 1, 0x8F),
            ("v1/devices/me/#", 1, 0x8F),
        ],
    )
    def test_the_filters_of_the_device_api_are_granted(
        self, device_with_certificate: MakeDevice, topic_filter: str, qos: int, code: int
    ) -> None:
        with open_session(device_with_certificate()) as client:
            client.send(subscribe(topic_filter, qos=qos))
            assert client.read_packet()[-1] == code

    def test_mqtt_3_is_refused_a_filter_with_0x80(self, device_with_certificate: MakeDevice) -> None:
        with open_session(device_with_certificate(), 4) as client:
            client.send(subscribe("#", version=4))
            assert client.read_packet()[-1] == 0x80


class TestEnd:
    def test_keep_alive_is_enforced_at_one_and_a_half(self, device_with_certificate: MakeDevice) -> None:
        with open_session(device_with_certificate(), keep_alive=1) as client:
            began = time.monotonic()
            answer = client.read_packet()
            assert (answer[0], reason_code(answer)) == (0xE0, 0x8D)
            assert 1.4 < time.monotonic() - began < 5

    @pytest.mark.parametrize("asked_s", [0, 60])
    def test_keep_alive_is_capped_and_mqtt_5_is_told(self, start: StartServer, asked_s: int) -> None:
        """Server Keep Alive; MQTT 3 cannot be told, so there the client's own holds."""
        server = start(environ={"THINGPASS_MQTT_MAXIMUM_KEEP_ALIVE_S": "1"})
        device = make_device(server, server.directory)
        with open_tls(device) as client:
            client.send(connect(5, keep_alive=asked_s))
            assert b"\x13\x00\x01" in client.read_packet()
            answer = client.read_packet()
            assert (answer[0], reason_code(answer)) == (0xE0, 0x8D)
        with open_session(device, 4, keep_alive=asked_s) as client:
            time.sleep(2)
            client.send(PINGREQ)
            assert client.read_packet() == PINGRESP

    def test_pings_keep_it_alive(self, device_with_certificate: MakeDevice) -> None:
        with open_session(device_with_certificate(), keep_alive=1) as client:
            for _ in range(4):
                time.sleep(0.7)
                client.send(PINGREQ)
                assert client.read_packet() == PINGRESP

    def test_the_newest_connection_of_a_device_wins(self, device_with_certificate: MakeDevice) -> None:
        device = device_with_certificate()
        with open_session(device) as first, open_session(device) as second:
            answer = first.read_packet()
            assert (answer[0], reason_code(answer)) == (0xE0, 0x8E)
            second.send(PINGREQ)
            assert second.read_packet() == PINGRESP

    def test_a_removed_device_is_cut_at_once(
        self, device_with_certificate: MakeDevice, rest: httpx.Client
    ) -> None:
        device = device_with_certificate()
        with open_session(device) as client:
            rest.delete(f"/api/device/{device.id}").raise_for_status()
            answer = client.read_packet()
            assert (answer[0], reason_code(answer)) == (0xE0, 0x98)

    @pytest.mark.parametrize(
        ("broken", "code"),
        [
            (b"\xf0\x00", 0x82),  # AUTH that nobody agreed on
            (b"\x00\x00", 0x81),  # a packet type that does not exist
            (b"\x30\xff\xff\xff\xff\x01", 0x81),  # a remaining length of five bytes
            (packet(0x32, b"\x00\x01a\x00\x00\x00"), 0x82),  # packet id 0
            (packet(0x36, b"\x00\x01a\x00\x01\x00"), 0x81),  # QoS 3
            (connect(5), 0x82),  # a second CONNECT
        ],
    )
    def test_malformed_input_ends_its_own_connection_only(
        self, device_with_certificate: MakeDevice, broken: bytes, code: int
    ) -> None:
        with (
            open_session(device_with_certificate()) as victim,
            open_session(device_with_certificate()) as neighbour,
        ):
            victim.send(broken)
            answer = victim.read_packet()
            assert answer[0] == 0xE0
            assert reason_code(answer) == code
            assert victim.is_closed_by_server()
            neighbour.send(PINGREQ)
            assert neighbour.read_packet() == PINGRESP

    def test_sigterm_says_goodbye_and_keeps_what_was_acknowledged(self, start: StartServer) -> None:
        server = start()
        device = make_device(server, server.directory)
        with open_session(device) as client:
            client.send(publish(b'{"last": 1}'))
            assert client.read_packet()[0] == 0x40
            server.process.terminate()
            answer = client.read_packet()
            assert (answer[0], reason_code(answer)) == (0xE0, 0x8B)
            assert server.process.wait(5) == 0
        again = server.start_again()
        try:
            url = f"/api/plugins/telemetry/DEVICE/{device.id}/values/timeseries"
            assert again.rest.get(url).json()["last"][0]["value"] == "1"
        finally:
            again.stop()


class TestPlainMqtt:
    def test_it_is_off_unless_asked_for(self, server: RunningServer) -> None:
        assert server.ready["mqtt"] is None

    def test_it_is_on_loopback_and_takes_tokens(self, start: StartServer) -> None:
        server = start("--mqtt-port", "0", "--bind", "0.0.0.0")
        device_id = server.add_device("plain")
        token = server.access_token(device_id)
        with _open_plain(server) as client:
            client.send(connect(4, user_name=token), publish(b'{"plain": true}', version=4))
            assert client.read_packet() == b"\x20\x02\x00\x00"
            assert client.read_packet() == b"\x40\x02\x00\x01"
        listening = subprocess.run(
            ["ss", "-Hltn", f"sport = :{server.mqtt_port}"], capture_output=True, text=True, check=False
        ).stdout
        assert not listening or "127.0.0.1" in listening
        with socket.create_connection(("127.0.0.1", server.mqtt_port), PATIENCE_S) as sock:
            context = ssl.create_default_context()
            with pytest.raises(OSError):
                context.wrap_socket(sock, server_hostname="localhost")
        server.wait_for_refusal("tls-on-plain-port")


class TestServerCertificate:
    def test_it_is_replaced_without_dropping_anybody(self, start: StartServer, tmp_path: object) -> None:
        server = start()
        data = server.directory / "data"
        device = make_device(server, server.directory)
        with open_session(device) as client:
            before = _shown_certificate(server)
            for name in ("server.pub.pem", "server.pk8.pem"):
                (data / name).unlink()
            other = start(directory=server.directory / "other")
            for name in ("server.pk8.pem", "server.pub.pem"):
                (data / name).write_bytes((other.directory / "data" / name).read_bytes())
            deadline = time.monotonic() + 30
            while _shown_certificate(server) == before:
                assert time.monotonic() < deadline, server.log()[-2000:]
                time.sleep(0.2)
            client.send(PINGREQ)
            assert client.read_packet() == PINGRESP


class TestOtherLoop:
    def test_the_standard_loop_serves_too(self, start: StartServer) -> None:
        server = start(environ={"THINGPASS_LOOP": "asyncio"})
        device = make_device(server, server.directory)
        with open_session(device) as client:
            client.send(publish(b'{"loop": "asyncio"}'))
            assert client.read_packet()[0] == 0x40
        assert device.latest() == {"loop": "asyncio"}
        with open_session(device) as client:
            big = json.dumps({"text": "x" * 60_000}).encode()
            for packet_id in range(1, 50):
                client.send(publish(big, packet_id=packet_id))
            for _ in range(49):
                assert client.read_packet()[0] == 0x40


class TestManyAtOnce:
    def test_a_storm_of_handshakes_is_served(self, device_with_certificate: MakeDevice) -> None:
        devices = [device_with_certificate() for _ in range(8)]
        failed: list[BaseException] = []

        def storm(device: Device) -> None:
            try:
                for _ in range(15):
                    with open_session(device) as client:
                        client.send(publish(b'{"n": 1}'))
                        assert client.read_packet()[0] == 0x40
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=storm, args=(device,)) for device in devices]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []

    def test_connections_are_listed_while_they_live(
        self, device_with_certificate: MakeDevice, rest: httpx.Client
    ) -> None:
        device = device_with_certificate()
        with open_session(device):
            listed = [c for c in _connections(rest) if c["deviceName"] == device.name]
            assert len(listed) == 1
            assert listed[0]["protocol"] == "MQTT 5.0"
            assert listed[0]["tlsVersion"] == "TLSv1.3"
        deadline = time.monotonic() + 5
        while any(c["deviceName"] == device.name for c in _connections(rest)):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def _connections(rest: httpx.Client) -> list[dict[str, object]]:
    answer = rest.get("/api/v2/connections")
    answer.raise_for_status()
    body = answer.json()
    return list(body["data"] if isinstance(body, dict) else body)


def _bare_device(server: RunningServer) -> Device:
    return Device(
        name="",
        id="",
        certificate_file=server.certificate_file(),
        combined_file=server.certificate_file(),
        ca_file=server.certificate_file(),
        server=server,
    )


def _open_plain(server: RunningServer) -> RawClient:
    return RawClient(socket.create_connection(("127.0.0.1", server.mqtt_port), PATIENCE_S))


def _shown_certificate(server: RunningServer) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", server.mqtts_port), PATIENCE_S) as sock,
        context.wrap_socket(sock) as tls,
    ):
        return tls.getpeercert(binary_form=True) or b""
