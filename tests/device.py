"""One device of a test: its files, and what the server stored of it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from tests.running_server import RunningServer


@dataclass(frozen=True)
class Device:
    name: str
    id: str
    certificate_file: Path  # the certificate alone, as `keygen client` names it: NAME.pub.pem
    combined_file: Path  # key, then certificate: NAME.nopass.pem
    ca_file: Path  # what a client needs to trust the server
    server: RunningServer

    @property
    def port(self) -> int:
        return self.server.mqtts_port

    def latest(self) -> dict[str, object]:
        """Key to latest value, with native types."""
        url = f"/api/plugins/telemetry/DEVICE/{self.id}/values/timeseries"
        answer = self.server.rest.get(url, params={"useStrictDataTypes": "true"})
        answer.raise_for_status()
        return {key: points[0]["value"] for key, points in answer.json().items() if points}

    def history(self, key: str) -> list[tuple[int, object]]:
        """Every stored point of one key, oldest first."""
        url = f"/api/plugins/telemetry/DEVICE/{self.id}/values/timeseries"
        answer = self.server.rest.get(
            url,
            params={
                "keys": key,
                "startTs": 0,
                "endTs": 4_000_000_000_000,
                "limit": 1_000_000,
                "orderBy": "ASC",
                "useStrictDataTypes": "true",
            },
        )
        answer.raise_for_status()
        return [(point["ts"], point["value"]) for point in answer.json().get(key, [])]

    def wait_for(self, key: str, value: object, *, within_s: float = 5) -> None:
        """Until the latest value of `key` is `value`; for clients that send with QoS 0."""
        deadline = time.monotonic() + within_s
        while (seen := self.latest().get(key)) != value:
            if time.monotonic() > deadline:
                raise AssertionError(f"{key} of {self.name} is {seen!r} after {within_s} s, not {value!r}")
            time.sleep(0.05)
