"""Programs and files that tests need and Python's package index does not bring, and what installs each."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

TB_CLIENT = Path(sys.prefix) / "tb-client"
MQTTJS = Path(sys.prefix) / "mqttjs" / "node_modules"
MQTT_CLIENT_JAR = "/usr/share/java/mqtt-client.jar"

# Program or file -> what installs it.
TOOLS: dict[str, str] = {
    "mosquitto": "apt-get install mosquitto, or brew install mosquitto",
    "mosquitto_pub": "apt-get install mosquitto-clients, or brew install mosquitto",
    "mosquitto_sub": "apt-get install mosquitto-clients, or brew install mosquitto",
    "mosquitto_rr": "apt-get install mosquitto-clients, or brew install mosquitto",
    "openssl": "apt-get install openssl, or brew install openssl",
    "curl": "apt-get install curl, or brew install curl",
    "java": "apt-get install default-jdk-headless, or brew install openjdk",
    "javac": "apt-get install default-jdk-headless, or brew install openjdk",
    "keytool": "apt-get install default-jdk-headless, or brew install openjdk",
    MQTT_CLIENT_JAR: "apt-get install libmqtt-client-java",
    str(TB_CLIENT): "make test",
    "node": "apt-get install nodejs npm, or brew install node",
    str(MQTTJS): "make test-tools (needs npm)",
}


def require(*programs: str) -> None:
    """Goes on if all are there; else skips the test by name, and fails it where CI=true."""
    for program in programs:
        if program not in TOOLS:
            raise pytest.UsageError(f"tests/tools.py: TOOLS does not say how to install {program}")
        if not is_installed(program):
            _go_without(program)


def is_installed(program: str) -> bool:
    if program.startswith("/"):
        return Path(program).exists()
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin") is not None


def _go_without(program: str) -> None:
    reason = f"{program} is not installed; to install it: {TOOLS[program]}"
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}. With CI=true nothing is skipped.", pytrace=False)
    pytest.skip(reason)
