"""Devices that get an identity over HTTP, and offer to be claimed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.integration.test_device_api import HttpDevice
from tests.integration.test_provisioning import CREATING, FETCHING, add_profiles, body, new_name
from tests.running_server import RunningServer, start_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    running = add_profiles(start_server(tmp_path_factory.mktemp("onboarding")))
    yield running
    running.stop()


def provision(server: RunningServer, content: bytes) -> httpx.Response:
    return httpx.post(f"{server.url}/api/v1/provision", content=content, trust_env=False)


class TestProvisioning:
    def test_a_new_device_can_send_at_once(self, server: RunningServer) -> None:
        answer = provision(server, body(CREATING, deviceName=new_name()))
        assert answer.status_code == 200
        got = answer.json()
        assert (got["status"], got["credentialsType"]) == ("SUCCESS", "ACCESS_TOKEN")
        url = f"{server.url}/api/v1/{got['credentialsValue']}/telemetry"
        assert httpx.post(url, content=b'{"a": 1}', trust_env=False).status_code == 200

    @pytest.mark.parametrize(
        ("content", "status"),
        [
            (body(("no such key", "x"), deviceName="d"), "NOT_FOUND"),
            (body((CREATING[0], "wrong"), deviceName="d"), "NOT_FOUND"),
            (body(FETCHING, deviceName="no such device"), "FAILURE"),
        ],
        ids=["key", "secret", "device"],
    )
    def test_a_refusal_is_200_with_its_status(
        self, server: RunningServer, content: bytes, status: str
    ) -> None:
        answer = provision(server, content)
        assert (answer.status_code, answer.json()["status"]) == (200, status)

    @pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"deviceName": "d"}'])
    def test_what_is_no_request_is_400(self, server: RunningServer, content: bytes) -> None:
        answer = provision(server, content)
        assert (answer.status_code, answer.json()["status"]) == (400, 400)

    def test_bounds(self, server: RunningServer) -> None:
        assert provision(server, b"x" * 70_000).status_code == 413
        answer = httpx.get(f"{server.url}/api/v1/provision", trust_env=False)
        assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


class TestClaiming:
    @pytest.mark.parametrize("content", [b'{"secretKey": "s", "durationMs": 60000}', b"{}", b""])
    def test_an_offer_is_stored_when_it_is_answered(self, server: RunningServer, content: bytes) -> None:
        device = HttpDevice(server)
        answer = device.post("claim", content)
        assert (answer.status_code, answer.content) == (200, b"")
        assert device.post("claim", content).status_code == 200
        device.client.close()

    def test_what_is_no_offer_is_400(self, server: RunningServer) -> None:
        device = HttpDevice(server)
        assert device.post("claim", b"[1]").status_code == 400
        assert device.post("claim", b'{"durationMs": "soon"}').status_code == 400
        device.client.close()

    def test_a_device_of_somebody_hears_so(self, tmp_path: Path) -> None:
        environ = {"THINGPASS_CLAIMING_ALLOWED_BY_DEFAULT": "false"}
        server = start_server(tmp_path / "server", environ=environ)
        device = HttpDevice(server)
        answer = device.post("claim", b'{"secretKey": "s"}')
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
        device.client.close()
        server.stop()
