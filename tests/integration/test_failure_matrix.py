"""What a PUBLISH is answered with: the device API reference, 2.3, row by row, for every version and QoS.

Where ThingsBoard does not answer what has a packet id, or says "server shutting down", this server answers.
"""

from __future__ import annotations

import pytest

from tests.device_with_profile import Setup, make_setup
from tests.raw_mqtt import PINGREQ, PINGRESP, RawClient, publish
from tests.running_server import RunningServer

V1_TELEMETRY = "v1/devices/me/telemetry"
V1_ATTRIBUTES = "v1/devices/me/attributes"
NOT_JSON = b"{"
LARGE = 70_000


@pytest.fixture(scope="module")
def setups(plain_server: RunningServer) -> dict[bool, Setup]:
    """By `sendAckOnValidationException`."""
    return {flag: make_setup(plain_server, sendAckOnValidationException=flag) for flag in (False, True)}


@pytest.mark.parametrize("acknowledges", [False, True])
@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize(
    ("topic", "payload", "code"),
    [
        (V1_TELEMETRY, b'{"a":1}', 0),
        (V1_TELEMETRY, b"[]", 0),
        (V1_ATTRIBUTES, b'{"a":1}', 0),
        ("nothing/here", b"", 0x90),
        ("v1/devices/me", b"{}", 0x90),
        ("v1/gateway/telemetry", b"{}", 0x90),  # ThingsBoard never answers
        ("v1/gatewayX", b"{}", 0x90),
        (V1_TELEMETRY, NOT_JSON, 0x99),
        (V1_TELEMETRY, b"5", 0x99),
        (V1_TELEMETRY, b'{"ts":null,"values":{}}', 0x99),  # ThingsBoard: case B, closed with 8B
        (V1_ATTRIBUTES, b"[]", 0x99),
        ("v1/devices/me/attributes/request/x", b"{}", 0x99),
        ("v1/devices/me/attributes/request/-1", b"{}", 0x99),  # ThingsBoard: acknowledged, no answer
        ("v1/devices/me/attributes/request/1", b"[]", 0x99),
        ("v1/devices/me/rpc/request/x", b'{"method":"m"}', 0x99),  # case B there
        ("v1/devices/me/rpc/request/1", b"{}", 0x99),  # case B there
        ("v2/t/p", b"", 0x99),
        (V1_TELEMETRY, b"", 0x99),
        (V1_TELEMETRY, b"null", 0x99),
        (V1_TELEMETRY, b"[[]]", 0x99),
        (V1_TELEMETRY, b'{"ts":1,"values":5}', 0x99),
        (V1_TELEMETRY, b"{}", 0),
        ("v2/t", NOT_JSON, 0x99),
        ("v2/t/j", NOT_JSON, 0x99),
        ("v2/a/j", NOT_JSON, 0x99),
        ("v2/a/req/j/x", b"{}", 0x99),
        ("v1/devices/me/attributes/request/1", b'{"clientKeys":null}', 0x99),
        ("v1/devices/me/attributes/request/1", b"", 0x99),
        ("v1/devices/me/rpc/response/x", b"{}", 0x99),
        ("v1/devices/me/rpc/response/7", b"{}", 0),  # nobody waits for it: dropped
        ("v1/devices/me/rpc/request/1", b"[]", 0x99),
        ("v1/devices/me/rpc/request/1", b'{"method":null}', 0x99),  # case B there
        ("v1/devices/me/claim", b"[]", 0x99),
        ("v2/fw/request/1/chunk/0", b"x", 0x99),  # case B there
        ("v2/fw/request/1/chunk/0", b"9" * 30, 0x99),  # case B there
    ],
)
def test_row(
    setups: dict[bool, Setup],
    acknowledges: bool,
    version: int,
    qos: int,
    topic: str,
    payload: bytes,
    code: int,
) -> None:
    with setups[acknowledges].open(version) as client:
        client.send(publish(payload, version=version, topic=topic, qos=qos))
        if qos == 0:
            assert_qos_0(client, version, code)
        elif version == 5 or code != 0x99 or acknowledges:
            answer = client.read_packet()
            assert answer[0] == (0x40 if qos == 1 else 0x50)
            assert answer[2:4] == b"\x00\x01"
            found = answer[4] if len(answer) > 4 else 0
            assert found == (code if version == 5 else 0)
            assert_stays(client)
        else:
            assert client.is_closed_by_server()


def assert_qos_0(client: RawClient, version: int, code: int) -> None:
    if code != 0x99:
        assert_stays(client)
    elif version == 5:
        answer = client.read_packet()
        assert answer[0] == 0xE0
        assert answer[2] == 0x99
        assert client.is_closed_by_server()
    else:
        assert client.is_closed_by_server()


def assert_stays(client: RawClient) -> None:
    client.send(PINGREQ)
    assert client.read_packet() == PINGRESP


@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_too_large_packet(setups: dict[bool, Setup], version: int, qos: int) -> None:
    with setups[False].open(version) as client:
        client.send(publish(b'{"a":"' + b"x" * LARGE + b'"}', version=version, qos=qos))
        if version == 5:
            answer = client.read_packet()
            assert (answer[0], answer[2]) == (0xE0, 0x95)
        assert client.is_closed_by_server()
