"""What several tests share: a real server, a client for its REST API, devices with certificates, and `needs`."""

from __future__ import annotations

import datetime
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.device import Device
from tests.running_server import RunningServer, start_server

# Program or file -> the package that brings it: Debian's, Homebrew's (None: not there).
TOOLS: dict[str, tuple[str, str | None]] = {
    "mosquitto": ("mosquitto", "mosquitto"),
    "mosquitto_pub": ("mosquitto-clients", "mosquitto"),
    "mosquitto_sub": ("mosquitto-clients", "mosquitto"),
    "mosquitto_rr": ("mosquitto-clients", "mosquitto"),
    "openssl": ("openssl", "openssl"),
    "curl": ("curl", "curl"),
    "java": ("default-jdk-headless", "openjdk"),
    "javac": ("default-jdk-headless", "openjdk"),
    "keytool": ("default-jdk-headless", "openjdk"),
    "/usr/share/java/mqtt-client.jar": ("libmqtt-client-java", None),
}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*programs): programs or files that the test cannot do without")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        require(*marker.args)


@pytest.fixture
def needs() -> Callable[..., None]:
    """`needs("openssl")` in a test: goes on if it is there, else skips by name (and fails where CI=true)."""
    return require


def require(*programs: str) -> None:
    for program in programs:
        if program not in TOOLS:
            raise pytest.UsageError(f"tests/conftest.py: TOOLS does not say how to install {program}")
        if not is_installed(program):
            _go_without(program)


def is_installed(program: str) -> bool:
    if program.startswith("/"):
        return Path(program).exists()
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin") is not None


def _go_without(program: str) -> None:
    debian, homebrew = TOOLS[program]
    install = f"apt-get install {debian}" + (f", or brew install {homebrew}" if homebrew else "")
    reason = f"{program} is not installed; to install it: {install}"
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}. With CI=true nothing is skipped.", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A real `thingpass up` on free ports, shared by all tests of this process: make devices of your own in it."""
    running = start_server(tmp_path_factory.mktemp("server"))
    yield running
    running.stop()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., RunningServer]]:
    """Starts servers of the test's own: `start("--mqtt-port", "0", environ={...})`; they end with the test."""
    started: list[RunningServer] = []

    def start_one(*arguments: str, directory: Path | None = None, **options: object) -> RunningServer:
        running = start_server(directory or tmp_path / f"server-{len(started)}", *arguments, **options)  # type: ignore[arg-type]
        started.append(running)
        return running

    yield start_one
    for running in started:
        running.stop()


@pytest.fixture(scope="session")
def rest(server: RunningServer) -> Iterator[httpx.Client]:
    """An HTTP client of the shared server, logged in as its first administrator."""
    with server.log_in() as client:
        yield client


@pytest.fixture
def device_with_certificate(server: RunningServer, tmp_path: Path) -> Callable[..., Device]:
    """`device_with_certificate()`: a device of the shared server with a key and a registered certificate."""

    def make(name: str | None = None, **options: object) -> Device:
        return make_device(server, tmp_path, name, **options)  # type: ignore[arg-type]

    return make


def make_device(
    server: RunningServer,
    directory: Path,
    name: str | None = None,
    *,
    registered: bool = True,
    valid_for: datetime.timedelta = datetime.timedelta(days=30),
) -> Device:
    """A device with files as `thingpass keygen client` writes them, made without it."""
    name = name or f"device-{uuid.uuid4().hex[:8]}"
    certificate_pem, key_pem = make_certificate(name, valid_for)
    certificate_file, combined_file = directory / f"{name}.pub.pem", directory / f"{name}.nopass.pem"
    certificate_file.write_bytes(certificate_pem)
    combined_file.touch(0o600)
    combined_file.write_bytes(key_pem + certificate_pem)
    device_id = server.add_device(name, certificate_pem.decode() if registered else None)
    return Device(
        name=name,
        id=device_id,
        certificate_file=certificate_file,
        combined_file=combined_file,
        ca_file=server.certificate_file(),
        server=server,
    )


def make_certificate(
    name: str, valid_for: datetime.timedelta = datetime.timedelta(days=30)
) -> tuple[bytes, bytes]:
    """A self-signed certificate and its key, both PEM; it began 60 days ago and ends `valid_for` from now."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=60))
        .not_valid_after(now + valid_for)
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        ),
    )
