"""The HTTP device API on both ports: who is asked, what is stored, what is refused, that no token leaks."""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.device import Device
from tests.integration.test_https import https, port_of, read_all
from tests.raw_mqtt import PATIENCE_S
from tests.running_server import RunningServer, clean_environ

MakeDevice = Callable[..., Device]
StartServer = Callable[..., RunningServer]


class HttpDevice:
    """A device with an access token, on the port without TLS."""

    def __init__(self, server: RunningServer) -> None:
        self.name = f"device-{uuid.uuid4().hex[:8]}"
        self.id = server.add_device(self.name)
        self.token = server.access_token(self.id)
        self.server = server
        self.client = httpx.Client(base_url=server.url, trust_env=False, timeout=PATIENCE_S)

    def post(self, path: str, content: bytes | str = b"", **options: object) -> httpx.Response:
        return self.client.post(f"/api/v1/{self.token}/{path}", content=content, **options)  # type: ignore[arg-type]

    def get(self, path: str, **parameters: object) -> httpx.Response:
        return self.client.get(f"/api/v1/{self.token}/{path}", params=parameters)  # type: ignore[arg-type]

    def latest(self) -> dict[str, object]:
        url = f"/api/plugins/telemetry/DEVICE/{self.id}/values/timeseries"
        answer = self.server.rest.get(url, params={"useStrictDataTypes": "true"}).json()
        return {key: points[0]["value"] for key, points in answer.items()}

    def share(self, **values: object) -> None:
        url = f"/api/plugins/telemetry/DEVICE/{self.id}/attributes/SHARED_SCOPE"
        self.server.rest.post(url, json=values).raise_for_status()


@pytest.fixture
def device(server: RunningServer) -> Iterator[HttpDevice]:
    made = HttpDevice(server)
    yield made
    made.client.close()


class TestTelemetry:
    @pytest.mark.parametrize(
        ("body", "stored"),
        [
            ('{"a": 1, "b": "x", "c": true, "d": 1.5}', {"a": 1, "b": "x", "c": True, "d": 1.5}),
            ('{"ts": 1700000000000, "values": {"a": 2}}', {"a": 2}),
            ('[{"ts": 1, "values": {"a": 3}}, {"b": 4}]', {"a": 3, "b": 4}),
            ("{}", {}),  # what TBHTTPDevice.connect sends
            ("[]", {}),
        ],
    )
    def test_it_is_stored_when_it_is_answered(
        self, device: HttpDevice, body: str, stored: dict[str, object]
    ) -> None:
        answer = device.post("telemetry", body)
        assert (answer.status_code, answer.content) == (200, b"")
        assert device.latest() == stored

    @pytest.mark.parametrize("media_type", ["application/json", "text/plain", "nonsense", None])
    def test_the_content_type_does_not_matter(self, device: HttpDevice, media_type: str | None) -> None:
        headers = {} if media_type is None else {"Content-Type": media_type}
        assert device.post("telemetry", '{"a": 1}', headers=headers).status_code == 200

    def test_a_body_in_chunks(self, device: HttpDevice) -> None:
        assert device.post("telemetry", iter([b'{"a"', b": 1}"])).status_code == 200  # type: ignore[arg-type]
        assert device.latest() == {"a": 1}

    @pytest.mark.parametrize(
        ("body", "seen"),
        [
            (b"", "empty"),
            (b"{'a': 1}", "double quotes"),
            (b'{"a": 1', "ends in the middle"),
            (b"3", "a number"),
            (b'{"ts": "x", "values": {}}', "milliseconds"),
            (b'{"a": 1e200000000}', "digits"),
            (b"\xff", ""),
            (b"[" * 10_000, ""),
        ],
    )
    def test_what_cannot_be_used_is_400_and_says_why(
        self, device: HttpDevice, body: bytes, seen: str
    ) -> None:
        answer = device.post("telemetry", body)
        assert answer.status_code == 400
        said = answer.json()
        assert said["code"] == "payload-invalid"
        assert seen in said["message"] + said.get("mend", "")

    @pytest.mark.parametrize("declared", [True, False])
    def test_a_body_that_is_too_large(self, device: HttpDevice, declared: bool) -> None:
        body = json.dumps({"a": "x" * 2_000_000}).encode()
        answer = device.post("telemetry", body if declared else iter([body]))  # type: ignore[arg-type]
        assert answer.status_code == 413
        assert answer.json() == "Payload size exceeds the limit of 1048576 bytes"

    def test_a_client_that_goes_in_the_middle_harms_nobody(self, device: HttpDevice) -> None:
        with socket.create_connection(("127.0.0.1", port_of(device.server.url)), PATIENCE_S) as sock:
            head = f"POST /api/v1/{device.token}/telemetry HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
            sock.sendall(head.encode() + b'{"a"')
        assert device.post("telemetry", '{"a": 1}').status_code == 200


class TestAttributes:
    def test_published_ones_are_client_attributes(self, device: HttpDevice) -> None:
        assert device.post("attributes", '{"model": "T", "ports": 4}').status_code == 200
        device.share(limit=3)
        everything = {"client": {"model": "T", "ports": 4}, "shared": {"limit": 3}}
        assert device.get("attributes").json() == everything
        assert device.get("attributes", clientKeys="", sharedKeys="").json() == everything
        # The wrong names that the SDK uses are unknown parameters, so it gets everything.
        assert device.get("attributes", client_keys="model").json() == everything

    def test_by_keys_repeated_ones_joined(self, device: HttpDevice) -> None:
        device.post("attributes", '{"a": 1, "b": 2, "c": 3}')
        device.share(d=4, e={"x": [1.50]})
        assert device.get("attributes", clientKeys=["a", "b,zzz"]).json() == {"client": {"a": 1, "b": 2}}
        assert device.get("attributes", sharedKeys="d,e").json() == {"shared": {"d": 4, "e": {"x": [1.5]}}}
        assert device.get("attributes", clientKeys="c", sharedKeys="d").json() == {
            "client": {"c": 3},
            "shared": {"d": 4},
        }
        assert device.get("attributes", clientKeys="none").json() == {}

    def test_what_cannot_be_used(self, device: HttpDevice) -> None:
        assert device.post("attributes", "[1]").status_code == 400
        query = "&".join(f"k{number}=1" for number in range(101))
        assert device.client.get(f"/api/v1/{device.token}/attributes?{query}").status_code == 400


class TestIdentity:
    def test_the_certificate_says_who_me_is(self, device_with_certificate: MakeDevice) -> None:
        device = device_with_certificate()
        with https(device) as client:
            for number in range(3):
                assert client.post("/api/v1/me/telemetry", content=f'{{"a": {number}}}').status_code == 200
            assert device.latest() == {"a": 2}
            assert client.get("/api/v1/me/attributes").json() == {}

    def test_a_token_in_the_path_over_tls(
        self, device_with_certificate: MakeDevice, device: HttpDevice
    ) -> None:
        with https(device_with_certificate(), with_certificate=False) as client:
            assert client.post(f"/api/v1/{device.token}/telemetry", content='{"a": 5}').status_code == 200
        assert device.latest() == {"a": 5}

    def test_a_certificate_goes_before_a_token(
        self, device_with_certificate: MakeDevice, device: HttpDevice
    ) -> None:
        """As on MQTT: one decision serves both."""
        shown = device_with_certificate()
        with https(shown) as client:
            assert client.post(f"/api/v1/{device.token}/telemetry", content='{"a": 5}').status_code == 200
        assert (shown.latest(), device.latest()) == ({"a": 5}, {})

    def test_an_unknown_certificate_is_refused_and_recorded(
        self, device_with_certificate: MakeDevice
    ) -> None:
        device = device_with_certificate(registered=False)
        with https(device) as client:
            answer = client.post("/api/v1/me/telemetry", content="{}")
        assert answer.status_code == 401
        assert "SHA-256" in answer.json()["message"]
        assert device.name not in answer.text
        listeners = {row["listener"] for row in device.server.refusals() if row["deviceName"] == device.name}
        assert listeners == {"https"}

    @pytest.mark.parametrize("path", ["telemetry", "attributes"])
    def test_an_unknown_token_is_401(self, server: RunningServer, path: str) -> None:
        token = secrets.token_hex(10)
        answer = httpx.post(f"{server.url}/api/v1/{token}/{path}", content=b"{}", trust_env=False)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
        assert token not in answer.text
        assert server.wait_for_refusal("token-unknown")["listener"] == "http"

    def test_me_without_a_certificate_is_told_what_to_do(self, server: RunningServer) -> None:
        answer = httpx.post(f"{server.url}/api/v1/me/telemetry", content=b"{}", trust_env=False)
        assert answer.status_code == 401
        assert "HTTPS" in answer.json()["mend"]
        assert server.wait_for_refusal("credentials-missing")["listener"] == "http"

    def test_a_stranger_is_refused_before_the_body_is_read(self, server: RunningServer) -> None:
        with socket.create_connection(("127.0.0.1", port_of(server.url)), PATIENCE_S) as sock:
            sock.sendall(
                b"POST /api/v1/nobody/telemetry HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n"
                b"Connection: close\r\n\r\n"
            )
            assert read_all(sock).startswith(b"HTTP/1.1 401 ")

    def test_another_kind_of_credentials_is_401(
        self, server: RunningServer, device_with_certificate: MakeDevice
    ) -> None:
        device = device_with_certificate()
        credentials_id = server.access_token(device.id)  # of its certificate: public, and no secret
        answer = httpx.get(f"{server.url}/api/v1/{credentials_id}/attributes", trust_env=False)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")

    def test_a_changed_token_holds_at_once(self, device: HttpDevice) -> None:
        assert device.get("attributes").status_code == 200
        credentials = device.server.rest.get(f"/api/device/{device.id}/credentials").json()
        credentials["credentialsId"] = new = secrets.token_hex(10)
        device.server.rest.post("/api/device/credentials", json=credentials).raise_for_status()
        assert device.get("attributes").status_code == 401
        assert device.client.get(f"/api/v1/{new}/attributes").status_code == 200

    def test_a_token_of_any_characters(self, device: HttpDevice) -> None:
        token = f"a/b%20?{secrets.token_hex(4)}"
        credentials = device.server.rest.get(f"/api/device/{device.id}/credentials").json()
        credentials["credentialsId"] = token
        device.server.rest.post("/api/device/credentials", json=credentials).raise_for_status()
        quoted = token.replace("%", "%25").replace("/", "%2F").replace("?", "%3F")
        assert device.client.get(f"/api/v1/{quoted}/attributes").status_code == 200


class TestPaths:
    @pytest.mark.parametrize("path", ["nothing", "telemetry/", "", "telemetry/x/y"])
    def test_an_unknown_path_is_404_without_the_token(self, device: HttpDevice, path: str) -> None:
        answer = device.post(path)
        assert answer.status_code == 404
        assert device.token not in answer.text

    def test_a_wrong_method_is_405(self, device: HttpDevice) -> None:
        answer = device.client.delete(f"/api/v1/{device.token}/attributes")
        assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, POST")

    def test_a_base_url_that_ends_in_a_slash(self, device: HttpDevice) -> None:
        url = f"{device.server.url}//api/v1/{device.token}/telemetry"
        assert httpx.post(url, content=b'{"a": 1}', trust_env=False).status_code == 200


def test_the_token_is_nowhere_in_log_metrics_and_refusals(start: StartServer) -> None:
    server = start(environ={"THINGPASS_LOG_LEVEL": "debug"})
    device = HttpDevice(server)
    wrong = secrets.token_hex(10)
    with device.client as client:
        device.post("telemetry", b'{"a": 1}')
        device.post("telemetry", b"broken")
        device.post("nothing")
        client.delete(f"/api/v1/{device.token}/telemetry")
        for path in ("telemetry", "attributes", "nothing"):
            client.post(f"/api/v1/{wrong}/{path}")
        said = client.get("/metrics").text + json.dumps(server.refusals())
    server.stop()
    for token in (device.token, wrong):
        assert token not in server.log()
        assert token not in said
    assert 'thingpass_device_requests_total{endpoint="telemetry"} 2.0' in said


@pytest.mark.needs("curl")
class TestCommandsThatAreShown:
    """What `/api/device-connectivity` prints works when it is pasted into a shell."""

    def run(self, commands: list[str], directory: Path) -> None:
        for command in commands:
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", command],
                cwd=directory,
                env=clean_environ(),
                capture_output=True,
                text=True,
                timeout=PATIENCE_S,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            assert "HTTP/1.1 4" not in done.stderr, done.stderr

    def test_with_a_token(self, device: HttpDevice, tmp_path: Path) -> None:
        shown = device.server.rest.get(f"/api/device-connectivity/{device.id}").json()["http"]
        for commands in ([shown["http"]], shown["https"]):
            self.run(commands, tmp_path)
        assert device.latest() == {"temperature": 25}

    def test_with_a_certificate(self, device_with_certificate: MakeDevice, tmp_path: Path) -> None:
        device = device_with_certificate()
        shown = device.server.rest.get(f"/api/device-connectivity/{device.id}").json()["http"]
        shutil.copy(device.combined_file, tmp_path / "mqttclient.nopass.pem")
        self.run(shown["https"], tmp_path)
        assert device.latest() == {"temperature": 25}
