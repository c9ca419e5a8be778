"""How a device's connection can end: one row each, for the `disconnected` event and for the device itself."""

from __future__ import annotations

from typing import Final

import msgspec

from thingpass.messaging.presence import (
    CLOSE_CREDENTIALS_CHANGED,
    CLOSE_DEVICE_REMOVED,
    CLOSE_TAKEN_OVER,
)
from thingpass.mqtt.reason_codes import ReasonCode


class End(msgspec.Struct, frozen=True):
    """`code` is published. `{seen}` in the sentence is what was seen of this one.

    `tells` and `for_device` are the reason code and the words of DISCONNECT where it is the server that ends
    the connection.
    """

    code: str
    sentence: str
    tells: ReasonCode = ReasonCode.UNSPECIFIED_ERROR
    for_device: str | None = None


GOODBYE: Final = End("goodbye", "The device said goodbye.")
GOODBYE_WITH_REASON: Final = End("goodbye-with-reason", "The device ended its session: {seen}.")
NETWORK_LOST: Final = End("network-lost", "The network connection ended without a goodbye.")
SILENT: Final = End("silent", "The device went silent: {seen}.")
PROTOCOL_BROKEN: Final = End("protocol-broken", "The device broke the protocol: {seen}.")
MESSAGE_REFUSED: Final = End("message-refused", "A message could not be used: {seen}")
TOO_FAR_BEHIND: Final = End(
    "too-far-behind",
    "The device did not take what was sent to it.",
    tells=ReasonCode.QUOTA_EXCEEDED,
    for_device="Too many messages to this device are unread or unacknowledged.",
)
TAKEN_OVER: Final = End(
    "taken-over",
    "A new connection of the device took its place.",
    tells=ReasonCode.SESSION_TAKEN_OVER,
)
CREDENTIALS_CHANGED: Final = End(
    "credentials-changed",
    "The device was given other credentials.",
    tells=ReasonCode.ADMINISTRATIVE_ACTION,
)
DEVICE_REMOVED: Final = End(
    "device-removed", "The device was removed.", tells=ReasonCode.ADMINISTRATIVE_ACTION
)
GATEWAY_SAID_GOODBYE: Final = End("gateway-said-goodbye", "Its gateway said that it is gone.")
GATEWAY_LEFT: Final = End("gateway-left", "The connection of its gateway ended.")
NOT_STORED: Final = End(
    "not-stored",
    "The server could not store what the device sent.",
    tells=ReasonCode.SERVER_BUSY,  # DISCONNECT has no 0x88
    for_device="The server could not store this now.",
)
SERVER_FAILED: Final = End("server-failed", "The server failed; its log says how.")
SERVER_STOPPED: Final = End("server-stopped", "The server stopped.", tells=ReasonCode.SERVER_SHUTTING_DOWN)

ENDS: tuple[End, ...] = (
    *(GOODBYE, GOODBYE_WITH_REASON, NETWORK_LOST, SILENT, PROTOCOL_BROKEN, MESSAGE_REFUSED),
    *(TOO_FAR_BEHIND, GATEWAY_SAID_GOODBYE, GATEWAY_LEFT),
    *(TAKEN_OVER, CREDENTIALS_CHANGED, DEVICE_REMOVED, NOT_STORED, SERVER_FAILED, SERVER_STOPPED),
)

END_BY_CLOSE_REASON: Final = {
    CLOSE_TAKEN_OVER: TAKEN_OVER,
    CLOSE_CREDENTIALS_CHANGED: CREDENTIALS_CHANGED,
    CLOSE_DEVICE_REMOVED: DEVICE_REMOVED,
}
