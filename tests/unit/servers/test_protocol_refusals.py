from __future__ import annotations

import pytest

from thingpass.identity import refusals
from thingpass.identity.refusals import Refusal
from thingpass.identity.tls_alerts import ALERTS
from thingpass.mqtt.errors import (
    ForeignProtocol,
    MalformedPacket,
    MqttError,
    ProtocolViolation,
    TimedOut,
    UnsupportedVersion,
)
from thingpass.servers.protocol_refusals import REASONS, handshake_fault, mqtt_fault
from thingpass.tls.binding import ChannelFailed, PeerGone


def refusal_of(failure: ChannelFailed) -> Refusal:
    return handshake_fault(failure, minimum_version="1.2", server_names="localhost").refusal


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_an_alert_of_the_client_is_translated_by_its_row(alert: object) -> None:
    name = alert.name  # type: ignore[attr-defined]
    assert refusal_of(ChannelFailed(f"ssl/tls alert {name}")) is alert.refusal  # type: ignore[attr-defined]
    assert refusal_of(ChannelFailed(f"tlsv1 alert {name}")) is alert.refusal  # type: ignore[attr-defined]


@pytest.mark.parametrize("reason", REASONS)
def test_a_reason_of_openssl_has_its_row(reason: str) -> None:
    assert refusal_of(ChannelFailed(reason)) is REASONS[reason]


def test_a_peer_that_vanished_abandoned_the_handshake() -> None:
    assert refusal_of(PeerGone("unexpected eof while reading")) is refusals.HANDSHAKE_ABANDONED


def test_any_other_reason_is_a_failed_handshake_that_names_it() -> None:
    fault = handshake_fault(ChannelFailed("excessive message size"), minimum_version="1.2", server_names="")
    assert fault.refusal is refusals.HANDSHAKE_FAILED
    assert fault.seen["seen"] == "excessive message size"


@pytest.mark.parametrize(
    ("error", "refusal"),
    [
        (ForeignProtocol("x", looks_like="tls"), refusals.TLS_ON_PLAIN_PORT),
        (ForeignProtocol("x", looks_like="http"), refusals.HTTP_ON_MQTT_PORT),
        (ForeignProtocol("x"), refusals.UNKNOWN_PROTOCOL),
        (UnsupportedVersion("x", statement="", level=9), refusals.PROTOCOL_LEVEL_UNSUPPORTED),
        (TimedOut("x"), refusals.CONNECT_TOOK_TOO_LONG),
        (MalformedPacket("x"), refusals.MALFORMED_PACKET),
        (ProtocolViolation("x"), refusals.MALFORMED_PACKET),
    ],
)
def test_an_error_of_mqtt_has_its_row(error: MqttError, refusal: Refusal) -> None:
    assert mqtt_fault(error, connect_timeout_s=10).refusal is refusal
