"""What tests share: a real server, a client for its REST API, devices with certificates, and `needs`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.device import Device, make_device
from tests.running_server import RunningServer, start_server
from tests.tools import require


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*programs): programs or files that the test cannot do without")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        require(*marker.args)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """With CI=true no skip passes, whatever it was that skipped."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") == "true" and exitstatus == 0 and reporter and reporter.stats.get("skipped"):
        reporter.ensure_newline()
        reporter.write_line("With CI=true nothing is skipped; install what the reasons name.", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture
def needs() -> Callable[..., None]:
    """`needs("openssl")` in a test: goes on if it is there, else skips by name (and fails where CI=true)."""
    return require


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A real `thingpass up` on free ports, shared by all tests of this process: use devices of your own."""
    running = start_server(tmp_path_factory.mktemp("server"))
    yield running
    running.stop()


@pytest.fixture(scope="session")
def plain_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """As `server`, with a port for MQTT without TLS, for tests that open hundreds of connections."""
    running = start_server(tmp_path_factory.mktemp("plain-server"), "--mqtt-port", "0")
    yield running
    running.stop()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., RunningServer]]:
    """Servers of the test's own, `start("--mqtt-port", "0", environ={...})`, that end with the test."""
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
    with contextlib.closing(server.log_in()) as client:
        yield client


@pytest.fixture
def device_with_certificate(server: RunningServer, tmp_path: Path) -> Callable[..., Device]:
    """`device_with_certificate()`: a device of the shared server with a key and a registered certificate."""

    def make(name: str | None = None, **options: object) -> Device:
        return make_device(server, tmp_path, name, **options)  # type: ignore[arg-type]

    return make
