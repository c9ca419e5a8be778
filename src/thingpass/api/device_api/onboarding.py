"""Provisioning and claiming over HTTP (device API reference, 2.8 and 2.9)."""

from __future__ import annotations

from typing import Final

from thingpass.api.device_api.exchange import Exchange
from thingpass.devices.provisioning import Asker
from thingpass.errors import Forbidden
from thingpass.servers.device_payloads_onboarding import parse_claim
from thingpass.servers.provisioning_session import answer_request

MOST_BODY_BYTES: Final = 65_536


async def post_provision(exchange: Exchange) -> None:
    """The answer is 200 also for a refusal, as in ThingsBoard: devices read its `status`."""
    evidence = exchange.evidence
    asker = Asker(evidence.listener, evidence.peer_address, evidence.peer_port)
    body = await exchange.body(MOST_BODY_BYTES)
    await exchange.answer(body=await answer_request(exchange.services.provisioning, body, asker))


async def post_claim(exchange: Exchange) -> None:
    """Deviates from ThingsBoard, which answers 200 whether or not the device may be claimed: 403 says not."""
    offer = parse_claim(await exchange.body(MOST_BODY_BYTES))
    if not await exchange.services.claims.offer(exchange.device.id, offer.secret, offer.duration_ms):
        raise Forbidden(
            "The device is somebody's already, or claiming is not allowed.",
            mend="Take it from its customer first, or allow claiming: docs/how-to/claim-devices.md.",
        )
    await exchange.answer()
