"""The servers under load: started fresh for each measurement, one process each, on loopback."""

from __future__ import annotations

import getpass
import http.client
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import msgspec

import thingpass
from benchmarks.certificates import Certificates
from benchmarks.registration import register_devices
from benchmarks.tls_client import openssl_version

_ADDRESS = "127.0.0.1"
_ADMINISTRATOR = "admin@thingpass.local"
_STARTED_WITHIN_S = 30.0
_STOPPED_WITHIN_S = 10.0


class ServerFailed(Exception):
    """A server did not start; the text holds the end of what it printed."""


class RestApi(msgspec.Struct, frozen=True):
    port: int
    token: str
    """An administrator's."""


class RunningServer(msgspec.Struct, frozen=True):
    pid: int
    port: int
    """Where it takes MQTT over mutual TLS."""
    rest: RestApi | None = None


class Server(Protocol):
    """One of the servers that are compared."""

    name: str
    description: str
    """Version and what it was built with, for the report."""

    @contextmanager
    def running(self) -> Iterator[RunningServer]:
        """Starts it with nothing stored but the devices; ends it and throws its data away."""


class Mosquitto:
    """Debian's Mosquitto: trusts the authority, takes the common name as user name, stores nothing."""

    name = "mosquitto"

    def __init__(self, binary: str, directory: Path, certificates: Certificates) -> None:
        self._binary = binary
        self._directory = directory
        self._certificates = certificates
        self.description = _mosquitto_description(binary)

    @contextmanager
    def running(self) -> Iterator[RunningServer]:
        port = free_ports(1)[0]
        configuration = self._directory / "mosquitto.conf"
        configuration.write_text(self._configuration(port))
        with _process([self._binary, "-c", str(configuration)], port, {}) as pid:
            yield RunningServer(pid, port)

    def _configuration(self, port: int) -> str:
        made = self._certificates
        lines = (
            f"listener {port} {_ADDRESS}",
            f"cafile {made.authority_pem}",
            f"certfile {made.server_certificate_pem}",
            f"keyfile {made.server_key_pem}",
            "require_certificate true",
            "use_identity_as_username true",
            "allow_anonymous true",  # whoever has a certificate of the authority; nobody else gets this far
            "persistence false",
            "max_connections -1",
            "log_type none",
            f"user {getpass.getuser()}",
        )
        return "\n".join(lines) + "\n"


class Thingpass:
    """This checkout's server with its defaults: everything is stored before it is acknowledged."""

    name = "thingpass"

    def __init__(self, directory: Path, certificates: Certificates, *, options: Sequence[str] = ()) -> None:
        self._directory = directory
        self._certificates = certificates
        self._options = options
        self._template = directory / "thingpass-template"
        self._password = secrets.token_urlsafe(16)
        # It runs on the same binding as the load source.
        self.description = f"Thingpass {thingpass.__version__}, {openssl_version()}"
        self._prepare()

    @contextmanager
    def running(self) -> Iterator[RunningServer]:
        data_dir = Path(tempfile.mkdtemp(prefix="thingpass-", dir=self._directory))
        try:
            shutil.copytree(self._template, data_dir, dirs_exist_ok=True)
            with self._started(data_dir) as server:
                yield server
        finally:
            shutil.rmtree(data_dir, ignore_errors=True)

    def _prepare(self) -> None:
        """A first start makes whatever the program makes then; the devices are added while it is down."""
        self._template.mkdir(mode=0o700)
        with self._started(self._template):
            pass
        register_devices(self._template, self._certificates)

    @contextmanager
    def _started(self, data_dir: Path) -> Iterator[RunningServer]:
        http_port, mqtts_port = free_ports(2)
        command = [sys.executable, "-m", "thingpass", "up", "--data-dir", str(data_dir), "--bind", _ADDRESS]
        command += ["--http-port", str(http_port), "--mqtts-port", str(mqtts_port)]
        command += ["--https-port", "off", "--wss-port", "off"]
        command += ["--server-cert", str(self._certificates.server_certificate_pem)]
        command += ["--server-key", str(self._certificates.server_key_pem), *self._options]
        with _process(command, http_port, {"THINGPASS_ADMIN_PASSWORD": self._password}) as pid:  # opened last
            yield RunningServer(pid, mqtts_port, RestApi(http_port, _login(http_port, self._password)))


def _login(http_port: int, password: str) -> str:
    body = msgspec.json.encode({"username": _ADMINISTRATOR, "password": password})
    connection = http.client.HTTPConnection(_ADDRESS, http_port, timeout=_STARTED_WITHIN_S)
    try:
        connection.request("POST", "/api/auth/login", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        said = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise ServerFailed(f"the login was answered with {answer.status}")
    return str(msgspec.json.decode(said)["token"])


def find_mosquitto() -> str | None:
    """Debian puts it where a user's PATH does not look."""
    return shutil.which("mosquitto", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server((_ADDRESS, 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@contextmanager
def _process(command: Sequence[str], port: int, environment: dict[str, str]) -> Iterator[int]:
    """Runs a server until the block ends; gives its process id when it takes connections."""
    with tempfile.TemporaryFile() as printed:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            env=os.environ | environment,
        )
        try:
            if not _takes_connections(process, port):
                printed.seek(0)
                end = printed.read()[-2000:].decode(errors="replace").strip()
                raise ServerFailed(f"{Path(command[0]).name} did not start: {end or 'it printed nothing'}")
            yield process.pid
        finally:
            process.terminate()
            try:
                process.wait(_STOPPED_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _takes_connections(process: subprocess.Popen[bytes], port: int) -> bool:
    until = time.monotonic() + _STARTED_WITHIN_S
    while time.monotonic() < until and process.poll() is None:
        try:
            socket.create_connection((_ADDRESS, port), timeout=1.0).close()
        except OSError:
            time.sleep(0.05)
        else:
            return True
    return False


def _mosquitto_description(binary: str) -> str:
    printed = subprocess.run([binary, "-h"], capture_output=True, text=True, check=False).stdout
    version = re.search(r"mosquitto version (\S+)", printed)
    return f"Mosquitto {version.group(1) if version else '?'}, {_linked_openssl(binary)}"


def _linked_openssl(binary: str) -> str:
    """The OpenSSL that the binary loads: its libssl names itself somewhere in its text."""
    linked = subprocess.run(["ldd", binary], capture_output=True, text=True, check=False).stdout
    found = re.search(r"libcrypto\S* => (\S+)", linked)
    if found:
        named = re.search(rb"OpenSSL \d+\.\d+\.\d+[a-z]* +\d+ \w+ \d+", Path(found.group(1)).read_bytes())
        if named:
            return named.group().decode()
    return "OpenSSL unknown"
