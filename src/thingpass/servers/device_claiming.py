"""What `v1/devices/me/claim` does: a device says that whom knows its secret may have it (reference, 2.8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thingpass.mqtt.events import MessagePublished
from thingpass.mqtt.reason_codes import ReasonCode
from thingpass.servers.device_payloads_onboarding import ClaimOffer, parse_claim
from thingpass.servers.payload_codecs import Codec

if TYPE_CHECKING:
    from thingpass.servers.device_messages import DeviceConnection


def receive_claim(connection: DeviceConnection, message: MessagePublished, codec: Codec) -> None:
    """JSON whatever the profile's format is: ThingsBoard has no schema for it. Raises PayloadInvalid."""
    offer = parse_claim(message.payload)
    connection.run_in_order(_offer(connection, message.packet_id, offer))


async def _offer(connection: DeviceConnection, packet_id: int, offer: ClaimOffer) -> None:
    claims = connection.messages.claims
    may_be_claimed = await claims.offer(connection.device.id, offer.secret, offer.duration_ms)
    # ThingsBoard tells the device nothing; MQTT 5 can, and MQTT 3 cannot read it.
    connection.acknowledge(packet_id, ReasonCode.SUCCESS if may_be_claimed else ReasonCode.NOT_AUTHORIZED)
