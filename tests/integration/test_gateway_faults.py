"""What a gateway's bad message is answered with: the table of the device API reference, 2.11, row by row.

Where ThingsBoard closes an MQTT 5 connection over one device's part, or acknowledges what it has not stored,
this server differs on purpose; docs/compatibility.md says how.
"""

from __future__ import annotations

import socket

import pytest

from tests import gateway as g
from tests.gateway import Gateway, acknowledgement, assert_stays, make_gateway, new_name
from tests.raw_mqtt import PATIENCE_S, RawClient, packet, publish, text
from tests.running_server import RunningServer

NOT_JSON = b"{"
VERSIONS = [3, 4, 5]
TOPICS = [g.TELEMETRY, g.ATTRIBUTES, g.CONNECT, g.DISCONNECT, g.RPC, g.CLAIM]


@pytest.fixture(scope="module")
def gateway(plain_server: RunningServer) -> Gateway:
    return make_gateway(plain_server)


@pytest.fixture(scope="module")
def lenient(plain_server: RunningServer) -> Gateway:
    """Its profile has `sendAckOnValidationException`."""
    transport = {"type": "MQTT", "sendAckOnValidationException": True}
    profile = {
        "name": new_name(),
        "type": "DEFAULT",
        "transportType": "MQTT",
        "profileData": {"transportConfiguration": transport},
    }
    made = plain_server.rest.post("/api/deviceProfile", json=profile).json()
    body = {"name": new_name(), "deviceProfileId": made["id"], "additionalInfo": {"gateway": True}}
    device = plain_server.rest.post("/api/device", json=body).json()
    device_id = device["id"]["id"]
    return Gateway(plain_server, device["name"], device_id, plain_server.access_token(device_id))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        *((topic, NOT_JSON) for topic in TOPICS),
        *((topic, b"[]") for topic in TOPICS),
        (g.CONNECT, b"{}"),
        (g.CONNECT, b'{"device":null}'),
        (g.CONNECT, b'{"device":""}'),
        (g.CONNECT, b'{"device":"A","type":5}'),
        (g.DISCONNECT, b'{"device":""}'),
        (g.ATTRIBUTE_REQUEST, b'{"device":"A","client":true,"key":"k"}'),
        (g.ATTRIBUTE_REQUEST, b'{"id":1,"client":true,"key":"k"}'),
        (g.ATTRIBUTE_REQUEST, b'{"id":1,"device":"A","key":"k"}'),
        (g.ATTRIBUTE_REQUEST, b'{"id":1,"device":"A","client":true}'),
        (g.RPC, b'{"device":"A","id":1}'),
        (g.RPC, b'{"id":1,"data":{}}'),
        (g.RPC, b'{"device":"A","id":-1,"data":{}}'),
    ],
)
def test_a_message_that_says_nothing_usable(
    gateway: Gateway, lenient: Gateway, topic: str, payload: bytes, version: int, qos: int
) -> None:
    with gateway.open(version) as client:
        gateway.say(client, topic, payload, version=version, qos=qos)
        if version == 5 and qos:
            code, words = acknowledgement(client)
            assert code == 0x99
            assert words
            assert_stays(client)
        else:
            assert_closed(client, version)
    if version != 5 and qos:
        with lenient.open(version) as client:
            lenient.say(client, topic, payload, version=version, qos=qos)
            assert acknowledgement(client) == (0, "")
            assert_stays(client)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize(
    ("topic", "good", "wrong"),
    [(g.TELEMETRY, [{"a": 1}], {"a": 1}), (g.TELEMETRY, [{"a": 1}], 5), (g.ATTRIBUTES, {"a": 1}, [{"a": 1}])],
)
def test_an_entry_of_the_wrong_type(
    gateway: Gateway, topic: str, good: object, wrong: object, version: int, qos: int
) -> None:
    one, other = new_name(), new_name()
    with gateway.open(version) as client:
        gateway.say(client, topic, {other: wrong, one: good}, version=version, qos=qos)
        if qos:
            code, words = acknowledgement(client)
            assert code == (0x99 if version == 5 else 0)
            assert (other[:20] in words) == (version == 5)
        assert_stays(client)
        assert_stored(gateway, topic, one)
        assert g.find_device(gateway.server, other) is None


@pytest.mark.parametrize("connected", [False, True])
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qos", [0, 1])
def test_a_bad_sample_of_one_device(gateway: Gateway, version: int, qos: int, connected: bool) -> None:
    """The others' are stored, whatever comes back."""
    one, other, third = new_name(), new_name(), new_name()
    with gateway.open(version) as client:
        if connected:
            for name in (one, other, third):
                gateway.say(client, g.CONNECT, {"device": name}, version=version)
                acknowledgement(client)
        body = {one: [{"a": 1}], other: [{"a": 1}, 5], third: [{"a": 1}]}
        gateway.say(client, g.TELEMETRY, body, version=version, qos=qos)
        if version != 5:
            assert_closed(client, version)
        elif qos:
            code, words = acknowledgement(client)
            assert code == 0x99
            assert other[:20] in words
            assert "Element 2" in words
            assert_stays(client)
        else:
            assert_stays(client)
    assert_stored(gateway, g.TELEMETRY, one)
    assert_stored(gateway, g.TELEMETRY, third)


@pytest.mark.parametrize("version", [3, 4])
def test_a_bad_sample_and_a_lenient_profile(lenient: Gateway, version: int) -> None:
    one, other = new_name(), new_name()
    with lenient.open(version) as client:
        lenient.say(client, g.TELEMETRY, {one: [{"a": 1}], other: [5]}, version=version)
        assert acknowledgement(client) == (0, "")
        assert_stored(lenient, g.TELEMETRY, one)
        assert_stays(client)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("topic", "body"), [(g.TELEMETRY, "[]"), (g.TELEMETRY, "[{}]"), (g.ATTRIBUTES, "{}")]
)
def test_a_device_with_nothing_to_store(gateway: Gateway, topic: str, body: str, version: int) -> None:
    name = new_name()
    with gateway.open(version) as client:
        gateway.say(client, topic, f'{{"{name}":{body}}}'.encode(), version=version)
        assert acknowledgement(client) == (0, "")
        assert len(g.connections(gateway.server, name)) == 1
        gateway.say(client, topic, b"{}", version=version)
        assert acknowledgement(client) == (0, "")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["", "x" * 256, "<script>", " "])
def test_a_name_that_no_device_can_have(gateway: Gateway, name: str, version: int) -> None:
    other = new_name()
    with gateway.open(version) as client:
        gateway.say(client, g.TELEMETRY, {name: [{"a": 1}], other: [{"a": 1}]}, version=version)
        code, words = acknowledgement(client)
        assert code == (0x99 if version == 5 else 0)
        assert len(words) < 300
        assert_stored(gateway, g.TELEMETRY, other)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("topic", ["v1/gateway/nothing", "v1/gateway", "v1/gatewayX"])
def test_an_unknown_topic(gateway: Gateway, topic: str, version: int, qos: int) -> None:
    with gateway.open(version) as client:
        gateway.say(client, topic, b"{}", version=version, qos=qos)
        if qos:
            assert acknowledgement(client)[0] == (0x90 if version == 5 else 0)
        assert_stays(client)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("info", [None, {"gateway": False}, {"gateway": "true"}, [], "gateway"])
def test_a_device_that_is_no_gateway(plain_server: RunningServer, info: object, version: int) -> None:
    """ThingsBoard never answers it."""
    name, other = new_name(), new_name()
    made = plain_server.rest.post("/api/device", json={"name": name, "additionalInfo": info}).json()
    token = plain_server.access_token(made["id"]["id"])
    with g.open_with_token(plain_server, token, version) as client:
        client.send(publish(f'{{"{other}":[{{"a":1}}]}}'.encode(), version=version, topic=g.TELEMETRY))
        assert acknowledgement(client)[0] == (0x90 if version == 5 else 0)
        assert g.find_device(plain_server, other) is None


def test_many_devices_are_too_many(gateway: Gateway) -> None:
    with gateway.open() as client:
        body = "{" + ",".join(f'"{number}":[]' for number in range(1_001)) + "}"
        gateway.say(client, g.TELEMETRY, body.encode())
        code, words = acknowledgement(client)
        assert (code, "1001 devices" in words) == (0x99, True)


def test_a_client_that_wants_no_words(gateway: Gateway) -> None:
    """MQTT5 3.1.2.11.7: Request Problem Information 0 leaves reason strings out."""
    body = text("MQTT") + bytes([5, 0x82]) + b"\x00\x3c" + b"\x02\x17\x00" + text("") + text(gateway.token)
    sock = socket.create_connection(("127.0.0.1", gateway.server.mqtt_port), PATIENCE_S)
    with RawClient(sock) as client:
        client.send(packet(0x10, body))
        assert client.read_packet()[0] == 0x20
        gateway.say(client, g.TELEMETRY, {new_name(): [5]})
        assert acknowledgement(client) == (0x99, "")


def assert_closed(client: RawClient, version: int) -> None:
    if version == 5:
        answer = client.read_packet()
        assert (answer[0], answer[2]) == (0xE0, 0x99)
    assert client.is_closed_by_server()


def assert_stored(gateway: Gateway, topic: str, name: str) -> None:
    if topic == g.ATTRIBUTES:
        g.wait_for(lambda: g.attributes(gateway.server, name) == {"a": 1}, name)
    else:
        g.wait_for(lambda: g.latest(gateway.server, name) == {"a": 1}, name)
