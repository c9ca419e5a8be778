"""What a connection tells of its device: it came, it went and how, and the will that it left.

One call when a device was accepted, one when it leaves; what follows from it is `devices.states`' and
`devices.events`'.
"""

from __future__ import annotations

from typing import Final

from thingpass.devices import event_kinds
from thingpass.devices.events import LONGEST_PAYLOAD, DeviceEvents, LastWill
from thingpass.devices.states import DeviceStateService, Link
from thingpass.messaging.presence import Connection
from thingpass.mqtt.packets import Will
from thingpass.servers.connection_ends import SERVER_STOPPED, TAKEN_OVER, End

MOST_WILL_DELAY_S: Final = 86_400


class DeviceLife:
    def __init__(self, states: DeviceStateService, events: DeviceEvents) -> None:
        self._states = states
        self._events = events

    def came(self, connection: Connection, link: Link, *, resumed: bool) -> None:
        self._events.came_back(connection.device_id, resumed=resumed)
        self._events.record(
            connection.device_id,
            event_kinds.CONNECTED,
            f"The device connected from {connection.peer_address} by {connection.protocol}.",
            {
                "peerAddress": connection.peer_address,
                "peerPort": connection.peer_port,
                "listener": connection.listener,
                "protocol": connection.protocol,
                "clientId": connection.client_id,
                "credentialsType": connection.credentials_kind,
                **({} if connection.via_gateway is None else {"viaGateway": connection.via_gateway}),
            },
            at_ms=connection.connected_at_ms,
        )
        self._states.connected(connection.device_id, link)

    def left(self, connection: Connection, link: Link, end: End, seen: str, will: LastWill | None) -> None:
        """`will` is None when there was none, or a DISCONNECT took it back."""
        if end is SERVER_STOPPED:
            return  # said for all of them at once, by `DeviceStateService.stop`
        self._events.record(
            connection.device_id,
            event_kinds.DISCONNECTED,
            end.sentence.format(seen=seen),
            {"code": end.code, "peerAddress": connection.peer_address, "peerPort": connection.peer_port},
        )
        # With a delay, a device that is back already (its old socket ended late) has not vanished.
        if will is not None and not (
            will.delay_s and self._states.has_another_link(connection.device_id, link)
        ):
            self._events.keep_will(connection.device_id, will)
        self._states.disconnected(connection.device_id, link, taken_over=end is TAKEN_OVER)


def last_will(will: Will | None, *, session_expiry_s: int) -> LastWill | None:
    """The will that stands at the end of a connection.

    MQTT5 3.1.2.5: it is due when its delay has passed or the session ends, whichever is first; so there is
    no delay where no session is kept. MQTT 3 knows none.
    """
    if will is None:
        return None
    delay_s = will.properties.will_delay_interval if will.properties is not None else None
    return LastWill(
        topic=will.topic,
        payload=will.payload[:LONGEST_PAYLOAD],
        payload_bytes=len(will.payload),
        qos=will.qos,
        retain=will.retain,
        delay_s=min(delay_s or 0, session_expiry_s, MOST_WILL_DELAY_S),
    )
