"""What holds for every request: errors in one shape, sizes, headers, and a description that works offline."""

from __future__ import annotations

import re

import pytest
from structlog.testing import capture_logs

from tests.integration.api.assertions import assert_error
from tests.integration.api.conftest import Api
from thingpass.api.authorization import RULES, Role
from thingpass.api.error_answers import ANSWERS, MAX_BODY_BYTES


async def test_unknown_path_and_wrong_method_have_the_shape_too(api: Api):
    assert_error(await api.nobody.get("/api/nothing"), 404, 32)
    answer = await api.nobody.put("/api/device")
    assert_error(answer, 405, 31, "Request method 'PUT' is not supported")
    assert "POST" in answer.headers["Allow"]
    assert_error(await api.nobody.get("/healthz/"), 404, 32)


async def test_doubled_leading_slash_is_one(api: Api):
    answer = await api.nobody.post("http://gateway.example.org:8080//api/auth/login", json={})
    assert_error(answer, 401, 10)


async def test_declared_body_beyond_the_bound_is_refused_unread(api: Api):
    answer = await api.nobody.post(
        "/api/auth/login", content=b"x", headers={"Content-Length": str(MAX_BODY_BYTES + 1)}
    )
    assert answer.status_code == 413
    assert answer.json() == "Payload size exceeds the limit of 16777216 bytes"


@pytest.mark.parametrize("path", ["/api/device", "/api/plugins/telemetry/DEVICE/{id}/timeseries/ANY"])
async def test_undeclared_body_is_refused_when_it_passes_the_bound(api: Api, path):
    device = await api.add_device()
    sent = 0

    async def body():
        nonlocal sent
        for _ in range(40):
            sent += 1
            yield b" " * 1_048_576

    answer = await api.admin.post(
        path.replace("{id}", str(device["id"]["id"])),
        content=body(),
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 413
    assert sent <= 18


async def test_answers_are_kept_by_nobody_and_framed_by_nobody(api: Api):
    for path in ("/api/auth/user", "/healthz", "/api/nothing", "/docs"):
        headers = (await api.nobody.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "no-store" in headers["cache-control"]
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "set-cookie" not in headers


async def test_unknown_exception_gives_an_id_and_the_log_the_rest(api: Api, monkeypatch):
    def explode() -> list[str]:
        raise RuntimeError("the secret of the house")

    monkeypatch.setitem(api.services.__dict__, "server_names", explode)
    with capture_logs() as logs:
        answer = await api.admin.get("/api/v2/server")
    error = assert_error(answer, 500, 2)
    assert "secret" not in answer.text
    [entry] = [entry for entry in logs if entry["event"] == "request failed"]
    assert entry["error_id"] in str(error["message"])
    assert "the secret of the house" in str(entry["exc_info"])


def test_every_error_has_a_status_of_its_own_kind():
    for row in ANSWERS:
        assert 400 <= row.status < 600
        assert row.error.__doc__


async def test_openapi_document_is_whole(api: Api):
    document = (await api.nobody.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    described = {
        (method.upper(), path): operation
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    listed = [rule for rule in RULES if rule.path not in ("/docs", "/openapi.json")]
    assert set(described) == {(rule.method, rule.path) for rule in listed}
    identifiers = [operation["operationId"] for operation in described.values()]
    assert len(identifiers) == len(set(identifiers))
    for rule in listed:
        operation = described[(rule.method, rule.path)]
        assert operation["tags"], rule
        assert operation["summary"], rule
        assert "422" not in operation["responses"]
        assert ("security" in operation) == (rule.role is not Role.ANYBODY)
        if rule.method == "POST" and not rule.path.endswith(("/logout", "/default")):
            assert operation["requestBody"], rule


async def test_openapi_references_lead_somewhere(api: Api):
    text = (await api.nobody.get("/openapi.json")).text
    schemas = (await api.nobody.get("/openapi.json")).json()["components"]["schemas"]
    for name in re.findall(r'"\$ref":"#/components/schemas/([^"]+)"', text):
        assert name in schemas
    assert "#/$defs" not in text


async def test_docs_page_lists_every_operation_and_loads_nothing(api: Api):
    answer = await api.nobody.get("/docs")
    assert answer.headers["content-type"].startswith("text/html")
    for rule in RULES:
        if rule.path not in ("/docs", "/openapi.json"):
            assert f"<code>{rule.path}</code>" in answer.text
    assert "<script" not in answer.text
    assert not re.search(r"(src|href)=\"(https?:)?//", answer.text)
    assert "@import" not in answer.text
    assert "sha256-" in answer.headers["content-security-policy"]
