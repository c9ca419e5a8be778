"""aiomqtt: an asyncio client, with MQTT 5 and 3.1.1."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable

import aiomqtt
import pytest

from tests.device import Device

PATIENCE_S = 20.0


def connect(device: Device, version: aiomqtt.ProtocolVersion) -> aiomqtt.Client:
    context = ssl.create_default_context(cafile=str(device.ca_file))
    context.load_cert_chain(device.combined_file)
    return aiomqtt.Client(
        "127.0.0.1",
        device.port,
        tls_context=context,
        protocol=version,
        max_concurrent_outgoing_calls=300,
    )


async def test_many_messages_at_once_are_all_stored(device_with_certificate: Callable[..., Device]) -> None:
    device = device_with_certificate()
    async with connect(device, aiomqtt.ProtocolVersion.V5) as client:
        await asyncio.gather(
            *(
                client.publish(
                    "v1/devices/me/telemetry", json.dumps({"ts": 1000 + n, "values": {"n": n}}), qos=1 + n % 2
                )
                for n in range(200)
            )
        )
    assert await asyncio.to_thread(device.history, "n") == [(1000 + n, n) for n in range(200)]


@pytest.mark.parametrize("version", [aiomqtt.ProtocolVersion.V311, aiomqtt.ProtocolVersion.V5])
async def test_attributes_and_calls_both_ways(
    device_with_certificate: Callable[..., Device], version: aiomqtt.ProtocolVersion
) -> None:
    device = device_with_certificate()
    rest, me = device.server.rest, "v1/devices/me"
    async with asyncio.timeout(PATIENCE_S), connect(device, version) as client:

        async def hear() -> tuple[str, object]:
            message = await anext(client.messages)
            assert isinstance(message.payload, bytes)
            return message.topic.value, json.loads(message.payload)

        for topic in ("attributes", "attributes/response/+", "rpc/request/+", "rpc/response/+"):
            await client.subscribe(f"{me}/{topic}", qos=1)
        await client.publish(f"{me}/attributes", '{"model":"T-1000"}', qos=1)
        await client.publish(f"{me}/attributes/request/7", '{"clientKeys":"model"}', qos=1)
        assert await hear() == (f"{me}/attributes/response/7", {"client": {"model": "T-1000"}})

        url = f"/api/plugins/telemetry/DEVICE/{device.id}/attributes/SHARED_SCOPE"
        await asyncio.to_thread(rest.post, url, json={"interval": 30})
        assert await hear() == (f"{me}/attributes", {"interval": 30})

        call = {"method": "double", "params": {"n": 21}}
        called = asyncio.create_task(asyncio.to_thread(rest.post, f"/api/rpc/twoway/{device.id}", json=call))
        topic, body = await hear()
        assert body == call
        await client.publish(topic.replace("request", "response"), '{"doubled":42}', qos=1)
        assert (await called).json() == {"doubled": 42}

        await client.publish(f"{me}/rpc/request/8", '{"method":"getCurrentTime","params":{}}', qos=1)
        topic, now_ms = await hear()
        assert topic == f"{me}/rpc/response/8"
        assert isinstance(now_ms, int)
