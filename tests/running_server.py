"""A `thingpass up` in a process of its own, on free ports, and the ways in that tests need."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

START_S = 60.0
STOP_S = 5.0
"""A server ends within this time after SIGTERM: a promise of `thingpass up`, so every test checks it."""


@dataclass
class RunningServer:
    process: subprocess.Popen[bytes]
    directory: Path
    ready: dict[str, Any]  # the JSON line of `thingpass up --json`
    administrator: dict[str, str]
    log_file: Path
    _rest: httpx.Client | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return str(self.ready["http"])

    @property
    def mqtts_port(self) -> int:
        return int(self.ready["mqtts"]["port"])

    @property
    def https_url(self) -> str:
        return str(self.ready["https"])

    @property
    def wss_port(self) -> int:
        return int(self.ready["wss"]["port"])

    @property
    def mqtt_port(self) -> int:
        return int(self.ready["mqtt"]["port"])

    @property
    def rest(self) -> httpx.Client:
        """Logged in as the first administrator; one for the life of the server."""
        if self._rest is None:
            self._rest = self.log_in()
        return self._rest

    def log_in(self) -> httpx.Client:
        client = httpx.Client(base_url=self.url, timeout=30, trust_env=False)
        answer = client.post("/api/auth/login", json=self.administrator)
        answer.raise_for_status()
        client.headers["X-Authorization"] = f"Bearer {answer.json()['token']}"
        return client

    def add_device(self, name: str, certificate_pem: str | None = None) -> str:
        """Makes a device, gives it the certificate, and returns its id."""
        answer = self.rest.post("/api/device", json={"name": name, "type": "default"})
        answer.raise_for_status()
        device_id = str(answer.json()["id"]["id"])
        if certificate_pem is not None:
            credentials = self.rest.get(f"/api/device/{device_id}/credentials").json()
            credentials |= {"credentialsType": "X509_CERTIFICATE", "credentialsValue": certificate_pem}
            credentials["credentialsId"] = None
            self.rest.post("/api/device/credentials", json=credentials).raise_for_status()
        return device_id

    def access_token(self, device_id: str) -> str:
        return str(self.rest.get(f"/api/device/{device_id}/credentials").json()["credentialsId"])

    def certificate_file(self) -> Path:
        """The PEM that clients need to trust this server, as anybody may download it."""
        path = self.directory / "downloaded-server.pem"
        if not path.exists():
            answer = httpx.get(
                f"{self.url}/api/device-connectivity/mqtts/certificate/download", trust_env=False
            )
            answer.raise_for_status()
            path.write_text(answer.text)
        return path

    def refusals(self) -> list[dict[str, Any]]:
        """Newest first, as REST gives them."""
        answer = self.rest.get("/api/v2/refusals")
        answer.raise_for_status()
        body = answer.json()
        return list(body["data"] if isinstance(body, dict) else body)

    def wait_for_refusal(self, code: str, *, within_s: float = 5) -> dict[str, Any]:
        deadline = time.monotonic() + within_s
        while True:
            codes = []
            for refusal in self.refusals():
                codes.append(refusal["code"])
                if refusal["code"] == code:
                    return refusal
            if time.monotonic() > deadline:
                raise AssertionError(f"no refusal {code!r} within {within_s} s; there are {codes}")
            time.sleep(0.05)

    def stop(self) -> None:
        """SIGTERM, and the promise that it ends within 5 s; nothing if it has ended already."""
        self._close_client()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"the server did not end within {STOP_S} s of SIGTERM") from None
        self._close_pipe()

    def kill(self) -> None:
        """As a power switch does it: no chance to store or to say anything."""
        self._close_client()
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(STOP_S)
        self._close_pipe()

    def start_again(self, *arguments: str) -> RunningServer:
        """On the same directory and the same ports, as an administrator would."""
        ports = ["--http-port", self.url.rpartition(":")[2], "--mqtts-port", str(self.mqtts_port)]
        return start_server(self.directory, *ports, *arguments, administrator=self.administrator)

    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def _close_client(self) -> None:
        if self._rest is not None:
            self._rest.close()
            self._rest = None

    def _close_pipe(self) -> None:
        if self.process.stdout is not None:
            self.process.stdout.close()


def start_server(
    directory: Path,
    *arguments: str,
    environ: dict[str, str] | None = None,
    administrator: dict[str, str] | None = None,
) -> RunningServer:
    """Starts `thingpass up --json` on `directory` and returns when it says that it is ready.

    Raises AssertionError with the end of its log if it ends or stays silent instead.
    """
    directory.mkdir(parents=True, exist_ok=True)
    log_file = directory / "server.log"
    command = [
        *(sys.executable, "-m", "thingpass", "up", "--json", "--data-dir", str(directory / "data")),
        *("--bind", "127.0.0.1"),
        *(() if "--http-port" in arguments else ("--http-port", "0")),
        *(() if "--mqtts-port" in arguments else ("--mqtts-port", "0")),
        *(() if "--https-port" in arguments else ("--https-port", "0")),
        *(() if "--wss-port" in arguments else ("--wss-port", "0")),
        *arguments,
    ]
    with log_file.open("ab") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, env=clean_environ(environ)
        )
    ready = _read_ready(process, log_file)
    known = administrator or ready.get("administrator") or {}
    return RunningServer(process, directory, ready, known, log_file)


def clean_environ(additions: dict[str, str] | None = None) -> dict[str, str]:
    """This process's environment without anything that would set Thingpass or a proxy."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("THINGPASS_") and not name.lower().endswith("_proxy")
    }
    return kept | (additions or {})


def _read_ready(process: subprocess.Popen[bytes], log_file: Path) -> dict[str, Any]:
    assert process.stdout is not None
    deadline = time.monotonic() + START_S
    line = b""
    while not line.endswith(b"\n"):
        waiting, _, _ = select.select([process.stdout], [], [], max(0, deadline - time.monotonic()))
        part = os.read(process.stdout.fileno(), 65536) if waiting else b""
        if not part:
            give_up(process)
            tail = log_file.read_text(errors="replace")[-3000:]
            raise AssertionError(f"thingpass up did not become ready; it wrote {line!r} and logged:\n{tail}")
        line += part
    answer = json.loads(line.splitlines()[0])
    if answer.get("event") != "ready":
        give_up(process)
        raise AssertionError(f"the first line of thingpass up --json is {answer!r}")
    return dict(answer)


def give_up(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
