"""Connections, refusals, the server, connectivity, health: what is not ThingsBoard's device API."""

from __future__ import annotations

import shlex

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.api.assertions import assert_error
from tests.integration.api.conftest import TRUST_PEM, Api
from tests.integration.api.test_credentials import WORKED_EXAMPLE, save_certificate
from tests.integration.api.test_devices import connection_of
from thingpass import __version__
from thingpass.errors import Unavailable
from thingpass.identity.refusals import CERTIFICATE_EXPIRED, TOKEN_UNKNOWN
from thingpass.store.rows import Device


def record(api: Api, refusal, device: Device | None = None, **seen: str) -> None:
    api.services.refusal_log.record(
        refusal,
        listener="mqtts",
        peer_address="192.0.2.7",
        peer_port=40_312,
        at_ms=api.clock.now_ms(),
        seen=seen,
        device=device,
        subject="CN=pump",
        fingerprint="ab" * 32,
    )


async def test_connections_tell_who_but_never_the_token(api: Api):
    device = await api.add_device()
    token = (await api.admin.get(f"/api/device/{device['id']['id']}/credentials")).json()["credentialsId"]
    connection = connection_of(api, device)
    api.services.presence.opened(connection, lambda reason: None)
    answer = await api.admin.get("/api/v2/connections")
    [row] = answer.json()["data"]
    assert row["deviceName"] == "Pump 1"
    assert row["protocol"] == "MQTT 5.0"
    assert row["keyExchangeGroup"] == "X25519MLKEM768"
    assert row["connectedAtMs"] == api.clock.now_ms()
    assert token not in answer.text
    own = await api.admin.get("/api/v2/connections", params={"deviceId": device["id"]["id"]})
    assert own.json() == answer.json()


async def test_connections_of_other_tenants_are_not_told(api: Api):
    foreign = await api.add_foreign_device()
    device = {"id": {"id": foreign.id}, "name": foreign.name}
    connection = connection_of(api, device, tenant_id=api.other_tenant.id)
    api.services.presence.opened(connection, lambda reason: None)
    assert (await api.admin.get("/api/v2/connections")).json() == {"data": []}
    answer = await api.admin.get("/api/v2/connections", params={"deviceId": foreign.id})
    assert_error(answer, 404, 32)


async def test_device_that_is_not_connected(api: Api):
    device = await api.add_device()
    answer = await api.admin.get("/api/v2/connections", params={"deviceId": device["id"]["id"]})
    assert answer.json() == {"data": []}


@pytest.mark.parametrize("query", ["limit=0", "limit=10001", "limit=x", "deviceId=x"])
@pytest.mark.parametrize("path", ["/api/v2/connections", "/api/v2/refusals"])
async def test_query_that_cannot_be(api: Api, path, query):
    assert_error(await api.admin.get(f"{path}?{query}"), 400, 31)


async def test_refusals_newest_first_with_reason_and_mend(api: Api):
    device = await api.services.devices.add(api.tenant.id, "Pump 1")
    record(api, TOKEN_UNKNOWN)
    record(api, CERTIFICATE_EXPIRED, device, subject="CN=pump", not_after="2026-01-01", ago="2 days")
    rows = (await api.admin.get("/api/v2/refusals")).json()["data"]
    assert [row["code"] for row in rows] == ["certificate-expired", "token-unknown"]
    assert rows[0]["id"] > rows[1]["id"]
    assert rows[0]["deviceName"] == "Pump 1"
    assert rows[0]["atMs"] == api.clock.now_ms()
    assert "ended 2 days ago" in rows[0]["sentence"]
    assert rows[0]["mend"]
    assert rows[0]["fingerprintSha256"] == "ab" * 32


async def test_refusals_by_limit_device_and_code(api: Api):
    device = await api.services.devices.add(api.tenant.id, "Pump 1")
    for _ in range(3):
        record(api, TOKEN_UNKNOWN)
    record(api, CERTIFICATE_EXPIRED, device)

    async def count(**query: object) -> int:
        return len((await api.admin.get("/api/v2/refusals", params=query)).json()["data"])

    assert await count() == 4
    assert await count(limit=2) == 2
    assert await count(deviceId=device.id) == 1
    assert await count(code="token-unknown") == 3
    assert await count(code="token-unknown", limit=1) == 1
    answer = await api.admin.get("/api/v2/refusals?code=no-such-code")
    assert "token-unknown" in str(assert_error(answer, 400, 31)["mend"])


async def test_refusals_of_other_tenants_are_not_told(api: Api):
    foreign = await api.add_foreign_device()
    record(api, CERTIFICATE_EXPIRED, foreign)
    assert (await api.admin.get("/api/v2/refusals")).json() == {"data": []}
    assert_error(await api.admin.get("/api/v2/refusals", params={"deviceId": foreign.id}), 404, 32)


async def test_server_tells_version_listeners_and_names(api: Api):
    body = (await api.admin.get("/api/v2/server")).json()
    assert body["version"] == __version__
    assert {row["name"]: row["port"] for row in body["listeners"]} == {
        "http": 8080,
        "https": 8443,
        "mqtts": 8883,
        "mqtt": 1883,
    }
    assert body["names"] == ["gateway.example.org", "localhost"]


async def test_trust_anchor_needs_no_login(api: Api):
    answer = await api.nobody.get("/api/device-connectivity/mqtts/certificate/download")
    assert answer.content == TRUST_PEM
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == "attachment;filename=ca-root.pem"
    assert answer.headers["x-filename"] == "ca-root.pem"


async def test_no_trust_anchor_for_other_protocols(api: Api):
    answer = await api.nobody.get("/api/device-connectivity/coaps/certificate/download")
    assert_error(answer, 404, 32, "coaps pem cert file is not found!")


async def commands(api: Api, device: dict, **headers: str) -> dict:
    path = f"/api/device-connectivity/{device['id']['id']}"
    answer = await api.admin.get(path, headers=headers)
    assert answer.status_code == 200
    return answer.json()["mqtt"]


async def test_commands_for_a_token(api: Api):
    answer = await api.admin.post("/api/device?accessToken=A TOKEN", json={"name": "Pump 1"})
    found = await commands(api, answer.json())
    words = shlex.split(found["mqtt"])
    assert words[words.index("-h") + 1] == "127.0.0.1"  # where plain MQTT listens
    assert words[words.index("-u") + 1] == "A TOKEN"
    fetch, publish = found["mqtts"]
    assert fetch.endswith(
        "http://gateway.example.org:8080/api/device-connectivity/mqtts/certificate/download"
    )
    assert shlex.split(publish)[-1] == '{"temperature":25}'


async def test_commands_for_a_certificate(api: Api):
    device = await api.add_device()
    await save_certificate(api, device, WORKED_EXAMPLE)
    found = await commands(api, device)
    assert "mqtt" not in found
    assert "--cert mqttclient.nopass.pem --key mqttclient.nopass.pem" in found["mqtts"][1]


async def test_commands_over_http(api: Api):
    answer = await api.admin.post("/api/device?accessToken=A/TOKEN", json={"name": "Pump 1"})
    device = answer.json()
    path = f"/api/device-connectivity/{device['id']['id']}"
    found = (await api.admin.get(path)).json()["http"]
    assert shlex.split(found["http"])[4] == "http://gateway.example.org:8080/api/v1/A%2FTOKEN/telemetry"
    fetch, post = found["https"]
    assert fetch.startswith("curl -f -S -o ca-root.pem ")
    assert "https://gateway.example.org:8443/api/v1/A%2FTOKEN/telemetry" in shlex.split(post)
    await save_certificate(api, device, WORKED_EXAMPLE)
    found = (await api.admin.get(path)).json()["http"]
    assert "http" not in found  # a certificate needs TLS
    words = shlex.split(found["https"][1])
    assert words[words.index("--cert") + 1] == "mqttclient.nopass.pem"
    assert "https://gateway.example.org:8443/api/v1/me/telemetry" in words


@pytest.mark.parametrize("host", ["$(reboot)", "a b", "x;y", 'x"y', "`id`", "evil\\"])
async def test_host_header_puts_nothing_into_a_shell(api: Api, host):
    found = await commands(api, await api.add_device(), Host=host)
    assert host not in str(found)
    assert "http://localhost/" in found["mqtts"][0]


async def test_ipv6_host(api: Api):
    found = await commands(api, await api.add_device(), Host="[2001:db8::1]:8080")
    assert "-h 2001:db8::1 -p 8883" in found["mqtts"][1]


async def test_health_and_readiness(api: Api, monkeypatch):
    assert (await api.nobody.get("/healthz")).text == "ok\n"
    assert (await api.nobody.get("/readyz")).text == "ready\n"

    async def fail() -> None:
        raise Unavailable("The disk is full.")

    monkeypatch.setattr(api.services.store, "check", fail)
    answer = await api.nobody.get("/readyz")
    assert (answer.status_code, answer.text) == (503, "not ready: The disk is full.\n")
    assert (await api.nobody.get("/healthz")).status_code == 200


async def test_metrics_parse_and_count(api: Api):
    await api.nobody.get("/healthz")
    api.services.counters.messages_received += 3
    answer = await api.nobody.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert samples[("thingpass_messages_received_total",)] == 3
    assert samples[("thingpass_http_requests_total", "200")] == 1
    assert samples[("process_resident_memory_bytes",)] > 0
