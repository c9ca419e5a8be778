"""Where a server's devices connect, as its own connectivity page says (REST reference 3.10)."""

from __future__ import annotations

import itertools
import shlex
from urllib.parse import urlsplit

CERTIFICATE_PATH = "/api/device-connectivity/mqtts/certificate/download"


def connectivity_path(device_id: str) -> str:
    return f"/api/device-connectivity/{device_id}"


def find_listener(commands: object, scheme: str) -> tuple[str, int] | None:
    """Host and port of the `mqtts`, `mqtt` or `https` listener in the commands that are there to be typed."""
    of_protocol = (
        commands.get("http" if scheme == "https" else "mqtt") if isinstance(commands, dict) else None
    )
    given = of_protocol.get(scheme) if isinstance(of_protocol, dict) else None
    lines = given if isinstance(given, list) else [given]
    for line in lines:
        found = _host_and_port(line) if isinstance(line, str) else None
        if found is not None:
            return found
    return None


def _host_and_port(line: str) -> tuple[str, int] | None:
    try:
        words = shlex.split(line)
    except ValueError:
        return None
    for word in words:
        if word.startswith("https://") and "/api/v1/" in word:
            parts = urlsplit(word)
            return (parts.hostname, parts.port or 443) if parts.hostname else None
    if not words or words[0] != "mosquitto_pub":
        return None
    options = dict(itertools.pairwise(words))
    host, port = options.get("-h"), options.get("-p", "")
    return (host, int(port)) if host and port.isascii() and port.isdigit() else None
