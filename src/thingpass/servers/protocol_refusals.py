"""What ended a connection below identity, as a row of `identity.refusals`: OpenSSL's reasons, MQTT's errors.

Keyed by OpenSSL's reason texts (lower case), which are stable over versions where its numbers are not.
"""

from __future__ import annotations

from typing import Final

import msgspec

from thingpass.identity import refusals
from thingpass.identity.refusals import Refusal
from thingpass.identity.tls_alerts import find_alert
from thingpass.mqtt.errors import ForeignProtocol, MqttError, TimedOut, UnsupportedVersion
from thingpass.tls.binding import ChannelFailed, PeerGone

REASONS: Final[dict[str, Refusal]] = {
    "unsupported protocol": refusals.TLS_VERSION_TOO_OLD,
    "version too low": refusals.TLS_VERSION_TOO_OLD,
    "wrong ssl version": refusals.TLS_VERSION_TOO_OLD,
    "no shared cipher": refusals.NO_SHARED_CIPHER,
    "no suitable key share": refusals.NO_SHARED_CIPHER,
    "no suitable groups": refusals.NO_SHARED_CIPHER,
    "no shared group": refusals.NO_SHARED_CIPHER,
    "no shared signature algorithms": refusals.NO_SHARED_CIPHER,
    "no suitable signature algorithm": refusals.NO_SHARED_CIPHER,
    "bad signature": refusals.CLIENT_KEY_NOT_PROVEN,
    "digest check failed": refusals.CLIENT_KEY_NOT_PROVEN,
}
"""OpenSSL's own reasons, where it was this side that gave up."""


class Fault(msgspec.Struct, frozen=True):
    """A row of the table and the values for its texts."""

    refusal: Refusal
    seen: dict[str, str]


def handshake_fault(failure: ChannelFailed, *, minimum_version: str, server_names: str) -> Fault:
    """`minimum_version` is the setting ("1.2"), `server_names` what the server's certificate holds."""
    seen = {"seen": failure.reason, "floor": f"TLS {minimum_version}", "server_names": server_names}
    if failure.alert is not None:
        alert = find_alert(failure.alert)
        told = {"alert": alert.name.replace(" ", "_"), "meaning": f"{alert.meaning}."}
        return Fault(alert.refusal, {**seen, **told})
    if isinstance(failure, PeerGone):
        return Fault(refusals.HANDSHAKE_ABANDONED, seen)
    return Fault(REASONS.get(failure.reason, refusals.HANDSHAKE_FAILED), seen)


def mqtt_fault(error: MqttError, *, connect_timeout_s: float) -> Fault:
    """For a session that failed, whether before or after its CONNECT."""
    if isinstance(error, TimedOut):
        return Fault(refusals.CONNECT_TOOK_TOO_LONG, {"limit": f"{connect_timeout_s:g} s"})
    seen = {"seen": f"{error}."}
    if error.looks_like == "tls":
        return Fault(refusals.TLS_ON_PLAIN_PORT, seen)
    if error.looks_like == "http":
        return Fault(refusals.HTTP_ON_MQTT_PORT, seen)
    if isinstance(error, ForeignProtocol):
        return Fault(refusals.UNKNOWN_PROTOCOL, seen)
    if isinstance(error, UnsupportedVersion):
        return Fault(refusals.PROTOCOL_LEVEL_UNSUPPORTED, seen)
    return Fault(refusals.MALFORMED_PACKET, seen)
