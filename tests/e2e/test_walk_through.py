"""The README's own commands, in its order, as a newcomer types them; ports and directories are the test's."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.running_server import clean_environ
from tests.tools import MQTT_CLIENT_JAR

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"


def section(title: str) -> str:
    """The text under one heading of the README, up to the next heading of the same or a higher level."""
    text = README.read_text()
    start = re.search(rf"^(#+) {re.escape(title)}\n", text, re.MULTILINE)
    assert start is not None, f"README.md has no heading {title!r}"
    fenced = False
    taken: list[str] = []
    for line in text[start.end() :].splitlines():
        fenced ^= line.startswith("```")
        heading = re.match(r"(#+) ", line)
        if heading and not fenced and len(heading[1]) <= len(start[1]):
            break
        taken.append(line)
    return "\n".join(taken)


def blocks(title: str, kind: str = "bash") -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", section(title) + "\n", re.DOTALL | re.MULTILINE)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Shell:
    """The newcomer's terminal: a checkout with a `.venv`, and a directory for the keys."""

    def __init__(self, directory: Path) -> None:
        self.checkout = directory / "checkout"
        self.keys = self.checkout / "keys"
        self.checkout.mkdir()
        for name in ("examples", "tools"):
            (self.checkout / name).symlink_to(ROOT / name)
        (self.checkout / ".venv").symlink_to(sys.prefix)
        self.http_port, self.mqtts_port = free_port(), free_port()
        home = directory / "home"
        home.mkdir()
        programs = f"{self.checkout}/.venv/bin{os.pathsep}{os.environ['PATH']}"
        self.environ = clean_environ(
            {
                "HOME": str(home),
                "PATH": programs,
                "THINGPASS_DATA_DIR": str(directory / "data"),
                "THINGPASS_HTTP_PORT": str(self.http_port),
                "THINGPASS_MQTTS_PORT": str(self.mqtts_port),
                "THINGPASS_HTTPS_PORT": "0",
                "THINGPASS_WSS_PORT": "0",
                "THINGPASS_URL": self.url,
            }
        )
        for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME"):
            self.environ.pop(name, None)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    def with_ports(self, commands: str) -> str:
        """The README says 8883 and 8080, or nothing where they are the default."""
        commands = commands.replace("8883", str(self.mqtts_port)).replace("8080", str(self.http_port))
        return re.sub(r"(ssl-mqtt-client\.py)", rf"\1 --port {self.mqtts_port}", commands)

    def run(self, commands: str, *, cwd: Path | None = None) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self.with_ports(commands)],
            cwd=cwd or self.keys,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, f"{commands}\nended with {done.returncode}:\n{done.stdout}{done.stderr}"
        return done.stdout

    @contextmanager
    def in_background(self, command: str, log: Path) -> Iterator[None]:
        """Runs the server's command until the end of the block; SIGTERM must end it within 5 s."""
        with log.open("wb") as output:
            process = subprocess.Popen(
                shlex.split(command), cwd=self.keys, env=self.environ, stdout=output, stderr=output
            )
        try:
            deadline = time.monotonic() + 30
            while not self._is_ready():
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)
            yield
        finally:
            process.terminate()
            process.wait(5)
        assert process.returncode == 0, log.read_text()

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", trust_env=False, timeout=2).status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.mark.timeout(180)
def test_walk_through_of_the_readme_works(shell: Shell, tmp_path: Path) -> None:
    (setting_up,) = blocks("The walk-through")[:1]
    shell.run(setting_up, cwd=shell.checkout)
    assert shell.keys.is_dir()

    for block in blocks("1. Say whose keys they are") + blocks("2. Make the keys"):
        shell.run(block)
    assert_key_files(shell.keys)

    (server_command,) = blocks("3. Start the server with its certificate")
    log = tmp_path / "server.log"
    with shell.in_background(server_command, log):
        said = log.read_text()
        assert f":{shell.http_port}" in said
        assert f":{shell.mqtts_port}" in said
        assert "password" in said

        (register,) = blocks("4. Register the device and its certificate")
        shell.run(register)

        python_client, read_back = blocks("5. Connect, in Python")
        assert_like_the_readme(shell.run(python_client), "5. Connect, in Python")
        values = shell.run(read_back)
        assert "temperature" in values
        assert "humidity" in values

        (refused,) = blocks("If a device is refused")
        shell.run(refused)


@pytest.mark.needs("java", "javac", MQTT_CLIENT_JAR)
@pytest.mark.timeout(180)
def test_java_step_of_the_readme_works(shell: Shell, tmp_path: Path) -> None:
    shell.keys.mkdir()
    for block in blocks("1. Say whose keys they are") + blocks("2. Make the keys"):
        shell.run(block)
    (server_command,) = blocks("3. Start the server with its certificate")
    with shell.in_background(server_command, tmp_path / "server.log"):
        shell.run(blocks("4. Register the device and its certificate")[0])
        (java_client,) = blocks("6. Connect, in Java")
        assert_like_the_readme(shell.run(java_client), "5. Connect, in Python")


def test_wrappers_of_the_guide_make_the_same_files(shell: Shell) -> None:
    shell.keys.mkdir()
    shell.run(blocks("1. Say whose keys they are")[0])
    shell.run("../tools/server.keygen.sh\n../tools/client.keygen.sh")
    assert_key_files(shell.keys)


def assert_key_files(directory: Path) -> None:
    server = {"jks", "p12", "pem", "pk8.pem", "pub.pem", "cer"}
    client = {"jks", "p12", "pem", "pk8.pem", "pub.pem", "nopass.pem"}
    expected = {f"mqttserver.{end}" for end in server} | {f"mqttclient.{end}" for end in client}
    assert {path.name for path in directory.iterdir()} == expected | {"keygen.properties"}
    for name in expected - {"mqttserver.pub.pem", "mqttserver.cer", "mqttclient.pub.pem"}:
        assert (directory / name).stat().st_mode & 0o777 == 0o600, (
            f"{name} holds a key and others can read it"
        )


def assert_like_the_readme(output: str, title: str) -> None:
    """The output the README shows, line by line; measured values differ."""
    (shown,) = blocks(title, "text")

    def shape(text: str) -> list[str]:
        return [re.sub(r"[0-9]+(\.[0-9]+)?", "N", line).replace(" ", "") for line in text.splitlines()]

    assert shape(output) == shape(shown)


def test_no_step_of_the_readme_is_left_out() -> None:
    """A new step must be added to the test above."""
    headings = re.findall(r"^### (.+)$", section("The walk-through"), re.MULTILINE)
    assert headings == [
        "1. Say whose keys they are",
        "2. Make the keys",
        "3. Start the server with its certificate",
        "4. Register the device and its certificate",
        "5. Connect, in Python",
        "6. Connect, in Java",
        "If a device is refused",
    ]
