from __future__ import annotations

import asyncio
import datetime
import json
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from thingpass.cli import serving
from thingpass.cli.serving import announce, next_command, run_until_signal
from thingpass.settings import ListenerSettings, Secret, Settings
from thingpass.x509.certificate import Certificate
from thingpass.x509.self_signed import make_server_certificate


@dataclass(frozen=True)
class Addresses:
    http_url: str = "http://127.0.0.1:8080"
    mqtts_host: str = "127.0.0.1"
    mqtts_port: int = 8883
    https_url: str | None = None
    wss_port: int | None = None
    mqtt_port: int | None = None
    ws_port: int | None = None


@pytest.fixture(scope="module")
def certificate() -> Certificate:
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    return make_server_certificate(("server.example",), now=now).chain[0]


@dataclass
class FakeServer:
    certificate: Certificate
    addresses: Addresses = field(default_factory=Addresses)
    first_administrator: tuple[str, Secret] | None = None
    on_start: Callable[[], None] = lambda: None
    slow_start: bool = False
    calls: list[str] = field(default_factory=list)

    async def start(self) -> None:
        self.calls.append("start")
        self.on_start()
        if self.slow_start:
            await asyncio.sleep(60)
        self.calls.append("started")

    async def stop(self) -> None:
        self.calls.append("stop")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    return Settings(data_dir=tmp_path / ".local" / "share" / "thingpass")


@pytest.fixture(autouse=True)
def _no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last resort ends the process; in tests it only may be asked for."""
    monkeypatch.setattr(serving, "STOP_TIMEOUT_S", 3600)


def never() -> None:
    raise AssertionError("gave up")


def send_soon(number: signal.Signals) -> None:
    asyncio.get_running_loop().call_later(0.01, os.kill, os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signal_ends_a_running_server(
    certificate: Certificate, settings: Settings, number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    server = FakeServer(certificate, on_start=lambda: send_soon(number))
    await run_until_signal(server, settings, as_json=True, give_up=never)
    assert server.calls == ["start", "started", "stop"]
    assert json.loads(capsys.readouterr().out)["event"] == "ready"


async def test_signal_during_the_start_ends_it_without_an_announcement(
    certificate: Certificate, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    server = FakeServer(certificate, on_start=lambda: send_soon(signal.SIGTERM), slow_start=True)
    await run_until_signal(server, settings, as_json=False, give_up=never)
    assert server.calls == ["start", "stop"]
    assert capsys.readouterr().out == ""


async def test_failed_start_is_raised_and_what_was_opened_is_closed(
    certificate: Certificate, settings: Settings
) -> None:
    def fail() -> None:
        raise OSError(98, "Address already in use")

    server = FakeServer(certificate, on_start=fail)
    with pytest.raises(OSError, match="Address already in use"):
        await run_until_signal(server, settings, as_json=False, give_up=never)
    assert server.calls == ["start", "stop"]


async def test_second_ctrl_c_ends_the_process_at_once(
    certificate: Certificate, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes: list[int] = []
    monkeypatch.setattr(serving, "_exit_now", codes.append)
    server = FakeServer(certificate, on_start=lambda: send_soon(signal.SIGINT))

    async def slow_stop() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(0.05)

    monkeypatch.setattr(server, "stop", slow_stop)
    await run_until_signal(server, settings, as_json=True, give_up=never)
    assert codes == [130]


async def test_stop_that_takes_too_long_is_given_up(
    certificate: Certificate, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "STOP_TIMEOUT_S", 0.01)
    given_up = threading.Event()
    server = FakeServer(certificate, on_start=lambda: send_soon(signal.SIGTERM))

    async def slow_stop() -> None:
        await asyncio.to_thread(given_up.wait, 5)

    monkeypatch.setattr(server, "stop", slow_stop)
    await run_until_signal(server, settings, as_json=True, give_up=given_up.set)
    assert given_up.is_set()


def test_page_says_where_everything_is(
    certificate: Certificate, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    administrator = ("admin@thingpass.local", Secret("swordfish"))
    announce(FakeServer(certificate, Addresses(mqtt_port=1883), administrator), settings, as_json=False)
    page = capsys.readouterr().out
    for part in (
        "http://127.0.0.1:8080\n",
        "http://127.0.0.1:8080/docs",
        "127.0.0.1:8883",
        "127.0.0.1:1883, not encrypted",
        "server.example",
        f"SHA-256 {certificate.fingerprint_sha256}",
        "http://127.0.0.1:8080/api/device-connectivity/mqtts/certificate/download",
        str(settings.data_dir),
        "admin@thingpass.local",
        "password swordfish",
        "\n  thingpass device add my-device\n",
    ):
        assert part in page


def test_page_of_a_later_start_has_no_administrator(
    certificate: Certificate, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    announce(FakeServer(certificate), settings, as_json=False)
    page = capsys.readouterr().out
    assert "administrator" not in page
    assert "plain MQTT" not in page


def test_json_line_has_the_same(
    certificate: Certificate, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    announce(FakeServer(certificate, first_administrator=("me", Secret("p"))), settings, as_json=True)
    (line,) = capsys.readouterr().out.splitlines()
    ready = json.loads(line)
    assert ready["administrator"] == {"username": "me", "password": "p"}
    assert ready["mqtts"] == {"host": "127.0.0.1", "port": 8883}
    assert ready["mqtt"] is None
    assert ready["certificate"]["fingerprint_sha256"] == certificate.fingerprint_sha256
    announce(FakeServer(certificate, Addresses(mqtt_port=1883)), settings, as_json=True)
    ready = json.loads(capsys.readouterr().out)
    assert ready["mqtt"] == {"host": "127.0.0.1", "port": 1883}
    assert ready["administrator"] is None


def test_next_command_works_in_another_terminal(certificate: Certificate, tmp_path: Path) -> None:
    server = FakeServer(certificate, Addresses(http_url="http://127.0.0.1:9090"))
    elsewhere = Settings(data_dir=tmp_path / "my data", listeners=ListenerSettings(http_port=9090))
    assert next_command(server, elsewhere) == (
        f"THINGPASS_URL=http://127.0.0.1:9090 THINGPASS_DATA_DIR='{tmp_path}/my data'"
        " thingpass device add my-device"
    )


def test_next_command_can_be_typed_when_the_program_is_not_on_the_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / ".venv" / "bin" / "thingpass"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.argv", [str(program), "up"])
    assert serving._program() == ".venv/bin/thingpass"
