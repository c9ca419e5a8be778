"""Devices that ask for an identity, and claims, over real sockets (device API reference, 1.6, 2.8, 2.9)."""

from __future__ import annotations

import json
import socket
import struct
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

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
    packet,
    publish,
    reason_code,
    subscribe,
    tls_context,
)
from tests.running_server import RunningServer, start_server
from thingpass.devices.provisioning import FAILURES_PER_ADDRESS
from thingpass.log_floods import LINES_OF_ONE
from thingpass.proto3.types import message_type
from thingpass.servers.protobuf_provisioning import SCHEMA
from thingpass.store.rows import PROVISION_ALLOW_CREATE, PROVISION_CHECK

REQUEST, RESPONSE, CLAIM = "/provision/request", "/provision/response", "v1/devices/me/claim"
CREATING, FETCHING = ("creating key", "creating secret"), ("fetching key", "fetching secret")
PUBACK, DISCONNECT = 0x40, 0xE0


def add_profiles(server: RunningServer) -> RunningServer:
    """A profile of each strategy, named after it."""
    for (key, secret), strategy in ((CREATING, PROVISION_ALLOW_CREATE), (FETCHING, PROVISION_CHECK)):
        profile = {
            "name": strategy,
            "type": "DEFAULT",
            "transportType": "DEFAULT",
            "provisionType": strategy,
            "provisionDeviceKey": key,
            "profileData": {
                "configuration": {"type": "DEFAULT"},
                "transportConfiguration": {"type": "DEFAULT"},
                "provisionConfiguration": {"type": strategy, "provisionDeviceSecret": secret},
            },
        }
        server.rest.post("/api/deviceProfile", json=profile).raise_for_status()
    return server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    running = add_profiles(start_server(tmp_path_factory.mktemp("provisioning")))
    yield running
    running.stop()


def body(keys: tuple[str, str] = CREATING, **members: object) -> bytes:
    return json.dumps({"provisionDeviceKey": keys[0], "provisionDeviceSecret": keys[1], **members}).encode()


def new_name() -> str:
    return f"meter-{uuid.uuid4().hex[:8]}"


def open_tls(server: RunningServer, combined_file: Path | None = None) -> RawClient:
    sock = socket.create_connection(("127.0.0.1", server.mqtts_port), PATIENCE_S)
    context = tls_context(server.certificate_file(), combined_file)
    return RawClient(context.wrap_socket(sock, server_hostname="localhost"))


def open_provisioning(
    server: RunningServer, version: int = 5, *, combined_file: Path | None = None, **options: str
) -> RawClient:
    client = open_tls(server, combined_file)
    client.send(connect(version, **(options or {"user_name": "provision"})))  # type: ignore[arg-type]
    answer = client.read_packet()
    assert reason_code(answer) == 0, answer
    return client


def read_message(client: RawClient) -> tuple[str, dict[str, Any], int]:
    """Topic, payload and QoS of the PUBLISH that comes next; acknowledges nothing."""
    got = client.read_packet()
    assert got, "the server closed the connection"
    assert got[0] & 0xF0 == 0x30, got
    qos = got[0] >> 1 & 3
    start = 1
    while got[start] & 0x80:
        start += 1
    (length,) = struct.unpack_from("!H", got, start + 1)
    topic = got[start + 3 : start + 3 + length].decode()
    return topic, json.loads(got[got.index(b"{") :]), qos


def ask(server: RunningServer, payload: bytes) -> dict[str, Any]:
    """One request on a connection of its own."""
    with open_provisioning(server, 4) as client:
        client.send(publish(payload, version=4, topic=REQUEST, qos=0))
        topic, answer, _ = read_message(client)
        assert topic == RESPONSE
        return answer


def device_named(server: RunningServer, name: str) -> dict[str, Any]:
    answer = server.rest.get("/api/tenant/device", params={"deviceName": name})
    answer.raise_for_status()
    return dict(answer.json())


def log_in_code(server: RunningServer, **options: Any) -> int:
    with open_tls(server) as client:
        client.send(connect(4, **options))
        return reason_code(client.read_packet())


class TestSession:
    @pytest.mark.parametrize("version", [3, 4, 5])
    @pytest.mark.parametrize("option", ["user_name", "client_id"])
    def test_provision_by_user_name_or_client_id_is_let_in(
        self, server: RunningServer, version: int, option: str
    ) -> None:
        options = {option: "provision"}
        if version == 3 and option == "user_name":
            options["client_id"] = "x"
        with open_provisioning(server, version, **options) as client:
            client.send(PINGREQ)
            assert client.read_packet() == PINGRESP

    def test_it_goes_before_a_certificate_and_evicts_nobody(
        self, server: RunningServer, tmp_path: Path
    ) -> None:
        device = make_device(server, tmp_path, new_name())
        with (
            open_session(device) as session,
            open_provisioning(
                server, combined_file=device.combined_file, client_id="provision"
            ) as provisioning,
        ):
            provisioning.send(publish(body(deviceName=new_name()), topic=REQUEST))
            assert provisioning.read_packet()[0] == PUBACK
            assert read_message(provisioning)[1]["status"] == "SUCCESS"
            session.send(PINGREQ)
            assert session.read_packet() == PINGRESP
            connections = server.rest.get("/api/v2/connections").json()["data"]
            assert [each["deviceName"] for each in connections] == [device.name]

    @pytest.mark.parametrize(("version", "refused"), [(4, 0x80), (5, 0x8F)])
    def test_only_the_response_can_be_subscribed(
        self, server: RunningServer, version: int, refused: int
    ) -> None:
        with open_provisioning(server, version) as client:
            for topic_filter, code in (
                (RESPONSE, 1),
                ("v1/devices/me/attributes", refused),
                ("#", refused),
                ("/provision/+", refused),
                (REQUEST, refused),
            ):
                client.send(subscribe(topic_filter, version=version, qos=2))
                assert client.read_packet()[-1] == code, topic_filter

    def test_a_device_cannot_subscribe_to_the_response(self, server: RunningServer, tmp_path: Path) -> None:
        device = make_device(server, tmp_path, new_name())
        with open_session(device) as client:
            client.send(subscribe(RESPONSE))
            assert client.read_packet()[-1] == 0x8F
            client.send(publish(body(), topic=REQUEST))
            assert client.read_packet()[4] == 0x90

    @pytest.mark.parametrize(
        "topic", [TELEMETRY, "v1/gateway/connect", CLAIM, "v2/fw/request/1/chunk/0", "x"]
    )
    def test_any_other_topic_ends_the_connection(self, server: RunningServer, topic: str) -> None:
        with open_provisioning(server) as client:
            client.send(publish(b"{}", topic=topic))
            acknowledged = client.read_packet()
            assert (acknowledged[0], acknowledged[4]) == (PUBACK, 0x90)
            goodbye = client.read_packet()
            assert (goodbye[0], reason_code(goodbye)) == (DISCONNECT, 0x90)
            assert client.is_closed_by_server()
        with open_provisioning(server, 4) as client:
            client.send(publish(b"{}", topic=topic, version=4))
            assert client.read_packet()[0] == PUBACK
            assert client.is_closed_by_server()

    def test_several_requests_fit_on_one_connection(self, server: RunningServer) -> None:
        with open_provisioning(server) as client:
            for number in (1, 2):
                client.send(publish(body(deviceName=new_name()), topic=REQUEST, packet_id=number))
                assert client.read_packet()[:4] == bytes([PUBACK, 2, 0, number])
                assert read_message(client)[1]["status"] == "SUCCESS"

    def test_answer_comes_at_the_qos_of_the_subscription_or_at_1(self, server: RunningServer) -> None:
        with open_provisioning(server) as client:
            client.send(publish(body(deviceName=new_name()), topic=REQUEST, qos=0))
            topic, answer, qos = read_message(client)
            assert (topic, answer["status"], qos) == (RESPONSE, "SUCCESS", 1)
        with open_provisioning(server) as client:
            client.send(
                subscribe(RESPONSE, qos=0), publish(body(deviceName=new_name()), topic=REQUEST, qos=0)
            )
            assert client.read_packet()[0] == 0x90
            assert read_message(client)[2] == 0

    def test_qos_2_is_answered_as_the_specification_says(self, server: RunningServer) -> None:
        with open_provisioning(server) as client:
            client.send(publish(body(deviceName=new_name()), topic=REQUEST, qos=2))
            assert client.read_packet()[:4] == b"\x50\x02\x00\x01"
            assert read_message(client)[1]["status"] == "SUCCESS"
            client.send(packet(0x62, b"\x00\x01"))
            assert client.read_packet()[0] == 0x70

    def test_requests_on_one_connection_are_bounded(self, server: RunningServer) -> None:
        with open_provisioning(server) as client:
            bad_name = publish(body(deviceName=" "), topic=REQUEST, qos=0)
            client.send(*[bad_name] * 101)
            last = b""
            while got := client.read_packet():
                last = got
                if got[0] == 0x32:  # QoS 1: acknowledge, or the Receive Maximum is used up
                    (length,) = struct.unpack_from("!H", got, 3 if got[1] & 0x80 else 2)
                    at = (5 if got[1] & 0x80 else 4) + length
                    client.send(packet(0x40, got[at : at + 2]))
            assert (last[0], reason_code(last)) == (DISCONNECT, 0x97)


class TestBadInput:
    """Each row of the table in 2.9."""

    @pytest.mark.parametrize("payload", [b"", b"{", b"[1]", b"\xff\xfe", b"\x0a\x04name"])
    def test_what_is_no_json_object(self, server: RunningServer, payload: bytes) -> None:
        with open_provisioning(server) as client:  # MQTT 5, QoS 1: told, and stays
            client.send(publish(payload, topic=REQUEST))
            answer = client.read_packet()
            assert (answer[0], answer[4]) == (PUBACK, 0x99)
            client.send(PINGREQ)
            assert client.read_packet() == PINGRESP
        with open_provisioning(server) as client:  # MQTT 5, QoS 0
            client.send(publish(payload, topic=REQUEST, qos=0))
            assert reason_code(client.read_packet()) == 0x99
            assert client.is_closed_by_server()
        for qos in (0, 1):  # MQTT 3
            with open_provisioning(server, 4) as client:
                client.send(publish(payload, topic=REQUEST, qos=qos, version=4))
                assert client.is_closed_by_server()

    def test_strangers_cannot_fill_the_log(self, server: RunningServer) -> None:
        lines_before = len(server.log().splitlines())
        for _ in range(3):
            with open_provisioning(server) as client:
                client.send(*[publish(b"x", topic=REQUEST)] * 90, PINGREQ)
                while client.read_packet() != PINGRESP:
                    pass
        assert len(server.log().splitlines()) <= lines_before + LINES_OF_ONE

    @pytest.mark.parametrize(
        "payload",
        [
            b"{}",
            b'{"provisionDeviceKey":"k"}',
            b'{"provisionDeviceSecret":"s"}',
            b'{"provisionDeviceKey":null,"provisionDeviceSecret":"s"}',
            body(credentialsType="PSK"),
            body(deviceName={}),
        ],
    )
    def test_json_that_is_no_request(self, server: RunningServer, payload: bytes) -> None:
        with open_provisioning(server) as client:
            client.send(publish(payload, topic=REQUEST))
            answer = client.read_packet()
            assert (answer[0], answer[4]) == (PUBACK, 0x83)
            assert reason_code(client.read_packet()) == 0x83
            assert client.is_closed_by_server()
        with open_provisioning(server) as client:
            client.send(publish(payload, topic=REQUEST, qos=0))
            assert reason_code(client.read_packet()) == 0x83
            assert client.is_closed_by_server()
        with open_provisioning(server, 4) as client:
            client.send(publish(payload, topic=REQUEST, version=4))
            assert client.read_packet()[0] == PUBACK
            assert client.is_closed_by_server()

    @pytest.mark.parametrize(
        "name",
        ["deviceName", "credentialsType", "token", "clientId", "username", "password", "hash", "gateway"],
    )
    def test_null_is_absent(self, server: RunningServer, name: str) -> None:
        answer = ask(server, body(**{"deviceName": new_name(), name: None}))
        assert answer["status"] == "SUCCESS"

    def test_wrong_key_and_wrong_secret_answer_alike(self, server: RunningServer) -> None:
        unknown = ask(server, body(("none", CREATING[1])))
        assert unknown == {"errorMsg": "Provision data was not found!", "status": "NOT_FOUND"}
        for keys in ((CREATING[0], "wrong"), (CREATING[0], ""), ("", ""), FETCHING[::-1]):
            assert ask(server, body(keys)) == unknown
        server.wait_for_refusal("provision-key-unknown")
        refusal = server.wait_for_refusal("provision-secret-wrong")
        assert "creating secret" not in json.dumps(refusal)


class TestStrategies:
    def test_made_device_logs_in_with_each_kind_of_credentials(
        self, server: RunningServer, tmp_path: Path
    ) -> None:
        name, gateway = new_name(), new_name()
        answer = ask(server, body(deviceName=f"  {name}"))
        assert set(answer) == {"credentialsValue", "credentialsType", "status"}
        assert log_in_code(server, user_name=answer["credentialsValue"]) == 0
        device = device_named(server, name)
        assert (device["type"], device["additionalInfo"]) == (PROVISION_ALLOW_CREATE, None)
        url = f"/api/plugins/telemetry/DEVICE/{device['id']['id']}/values/attributes/SERVER_SCOPE"
        attributes = {each["key"]: each["value"] for each in server.rest.get(url).json()}
        assert attributes["provisionState"] == "provisioned"

        answer = ask(server, body(deviceName=gateway, token=f"token of {gateway}", gateway=True))
        assert answer["credentialsValue"] == f"token of {gateway}"
        assert device_named(server, gateway)["additionalInfo"] == {"gateway": True}

        client_id = new_name()
        answer = ask(server, body(credentialsType="MQTT_BASIC", clientId=client_id))
        assert answer["credentialsValue"]["clientId"] == client_id
        assert log_in_code(server, client_id=client_id) == 0

    def test_certificate_is_given_as_text(self, server: RunningServer, tmp_path: Path) -> None:
        device = make_device(server, tmp_path, f"spare-{new_name()}", registered=False)
        name = new_name()
        certificate = device.certificate_file.read_text()
        answer = ask(server, body(deviceName=name, credentialsType="X509_CERTIFICATE", hash=certificate))
        assert answer["credentialsType"] == "X509_CERTIFICATE"
        assert answer["credentialsValue"] in certificate.replace("\n", "")
        with open_session(device):
            connected = server.rest.get("/api/v2/connections").json()["data"]
            assert name in {each["deviceName"] for each in connected}

    def test_request_in_protobuf_is_answered_in_protobuf(self, server: RunningServer) -> None:
        name, request_type, response_type = (
            new_name(),
            *(message_type(SCHEMA, f"ProvisionDevice{each}Msg") for each in ("Request", "Response")),
        )
        request: Any = request_type(deviceName=name, credentialsType=2, gateway=True)
        proof = request.provisionDeviceCredentialsMsg
        proof.provisionDeviceKey, proof.provisionDeviceSecret = CREATING
        request.credentialsDataProto.validateBasicMqttCredRequestMsg.clientId = name
        with open_provisioning(server) as client:
            for status, kind in ((1, 2), (3, 0)):  # SUCCESS with MQTT_BASIC, then FAILURE
                payload = request.SerializeToString()
                client.send(subscribe(RESPONSE, qos=0), publish(payload, topic=REQUEST, qos=0))
                assert client.read_packet()[0] == 0x90
                got = client.read_packet()
                start = 1 + (2 if got[1] & 0x80 else 1)
                answer: Any = response_type.FromString(got[start + 2 + len(RESPONSE) + 1 :])
                assert (answer.status, answer.credentialsType) == (status, kind)
        assert device_named(server, name)["additionalInfo"] == {"gateway": True}
        assert log_in_code(server, client_id=name) == 0

    def test_taken_name_and_taken_credentials_fail_and_leave_nothing(self, server: RunningServer) -> None:
        name, other = new_name(), new_name()
        token = ask(server, body(deviceName=name))["credentialsValue"]
        again = ask(server, body(deviceName=name))
        assert (again["status"], again["errorMsg"]) == ("FAILURE", "Failed to provision device!")
        clash = ask(server, body(deviceName=other, token=token))
        assert clash["status"] == "FAILURE"
        assert name not in json.dumps(clash)
        assert server.rest.get("/api/tenant/device", params={"deviceName": other}).status_code == 404

    def test_registered_device_gets_its_credentials_once(self, server: RunningServer) -> None:
        name = new_name()
        made = server.rest.post(
            "/api/device?accessToken=" + name, json={"name": name, "type": PROVISION_CHECK}
        )
        made.raise_for_status()
        answer = ask(server, body(FETCHING, deviceName=name, token="ignored"))
        assert answer == {
            "credentialsValue": name,
            "credentialsType": "ACCESS_TOKEN",
            "status": "SUCCESS",
        }
        assert ask(server, body(FETCHING, deviceName=name))["status"] == "FAILURE"
        assert ask(server, body(FETCHING, deviceName=new_name()))["status"] == "FAILURE"

    def test_success_survives_kill(self, tmp_path: Path) -> None:
        server = add_profiles(start_server(tmp_path))
        name = new_name()
        token = ask(server, body(deviceName=name))["credentialsValue"]
        server.kill()
        again = server.start_again()
        try:
            assert device_named(again, name)["name"] == name
            assert log_in_code(again, user_name=token) == 0
        finally:
            again.stop()


def test_guessing_address_is_stopped_and_counted(start: Callable[..., RunningServer]) -> None:
    server = add_profiles(start())
    with open_provisioning(server) as client:
        for number in range(1, FAILURES_PER_ADDRESS + 1):
            client.send(publish(body(("guess", str(number))), topic=REQUEST, qos=0))
            got = client.read_packet()
            assert b"NOT_FOUND" in got
            at = 2 + (1 if got[1] & 0x80 else 0) + 2 + len(RESPONSE)
            client.send(packet(0x40, got[at : at + 2]))
        client.send(publish(body(), topic=REQUEST, qos=0))
        _, answer, _ = read_message(client)
        assert (answer["status"], "Try again in" in answer["reason"]) == ("FAILURE", True)
    with open_tls(server) as client:
        client.send(connect(5, user_name="provision"))
        assert reason_code(client.read_packet()) == 0x9F
    assert server.wait_for_refusal("provisioning-tried-too-often")
    metrics = server.rest.get("/metrics").text
    assert f'thingpass_provisioning_total{{status="NOT_FOUND"}} {FAILURES_PER_ADDRESS}.0' in metrics
    assert 'thingpass_provisioning_total{status="LIMITED"} 1.0' in metrics
    assert "creating secret" not in server.log()


class TestClaim:
    def offer(self, device: Device, payload: bytes, version: int = 5, qos: int = 1) -> bytes:
        with open_session(device, version) as client:
            client.send(publish(payload, topic=CLAIM, version=version, qos=qos))
            if qos == 0:
                client.send(PINGREQ)
            return client.read_packet()

    def test_claim_is_acknowledged_when_it_is_stored(self, start: Callable[..., RunningServer]) -> None:
        server = start()
        device = make_device(server, server.directory, "lamp")
        customer = server.rest.post("/api/customer", json={"title": "ACME"}).json()
        clerk = {"email": "clerk@acme.example", "authority": "CUSTOMER_USER", "customerId": customer["id"]}
        user = server.rest.post("/api/user?sendActivationMail=false", json=clerk).json()
        link = server.rest.get(f"/api/user/{user['id']['id']}/activationLink").text
        token = link.partition("activateToken=")[2]
        chosen = {"activateToken": token, "password": "clerk's own"}
        server.rest.post("/api/noauth/activate", json=chosen).raise_for_status()

        assert self.offer(device, b'{"secretKey":"s3cret"}') == b"\x40\x02\x00\x01"
        server.kill()
        server = server.start_again()
        try:
            login = {"username": "clerk@acme.example", "password": "clerk's own"}
            tokens = server.rest.post("/api/auth/login", json=login).json()
            headers = {"X-Authorization": f"Bearer {tokens['token']}"}
            url = "/api/customer/device/lamp/claim"
            wrong = server.rest.post(url, json={"secretKey": "x"}, headers=headers)
            assert (wrong.status_code, wrong.json()) == (400, "FAILURE")
            right = server.rest.post(url, json={"secretKey": "s3cret"}, headers=headers)
            assert right.json()["response"] == "SUCCESS"
            assert right.json()["device"]["customerId"] == customer["id"]
            assert "s3cret" not in server.log()
        finally:
            server.stop()

    def test_device_of_somebody_is_told_so_by_mqtt_5(self, server: RunningServer, tmp_path: Path) -> None:
        device = make_device(server, tmp_path, new_name())
        customer = server.rest.post("/api/customer", json={"title": new_name()}).json()
        server.rest.post(f"/api/customer/{customer['id']['id']}/device/{device.id}").raise_for_status()
        assert self.offer(device, b"")[4] == 0x87
        assert self.offer(device, b"", version=4) == b"\x40\x02\x00\x01"

    @pytest.mark.parametrize("payload", [b"[]", b"no", b'{"durationMs":"soon"}', b'{"secretKey":{}}'])
    def test_bad_claims(self, server: RunningServer, tmp_path: Path, payload: bytes) -> None:
        device = make_device(server, tmp_path, new_name())
        assert self.offer(device, payload)[4] == 0x99
        assert self.offer(device, payload, version=4) == b""
        assert reason_code(self.offer(device, payload, qos=0)) == 0x99
        assert self.offer(device, payload, version=4, qos=0) == b""
