"""aiomqtt: an asyncio client, with MQTT 5."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable

import aiomqtt

from tests.device import Device


async def test_many_messages_at_once_are_all_stored(device_with_certificate: Callable[..., Device]) -> None:
    device = device_with_certificate()
    context = ssl.create_default_context(cafile=str(device.ca_file))
    context.load_cert_chain(device.combined_file)
    async with aiomqtt.Client(
        "127.0.0.1",
        device.port,
        tls_context=context,
        protocol=aiomqtt.ProtocolVersion.V5,
        max_concurrent_outgoing_calls=300,
    ) as client:
        await asyncio.gather(
            *(
                client.publish(
                    "v1/devices/me/telemetry", json.dumps({"ts": 1000 + n, "values": {"n": n}}), qos=1 + n % 2
                )
                for n in range(200)
            )
        )
    assert await asyncio.to_thread(device.history, "n") == [(1000 + n, n) for n in range(200)]
