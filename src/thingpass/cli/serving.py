"""Running a server until a signal ends it, and the page that `thingpass up` prints when it is ready."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import shlex
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import click
import structlog

from thingpass.cli.output import print_fields
from thingpass.cli.rest_client import DEFAULT_URL
from thingpass.settings import Secret, Settings, default_data_dir
from thingpass.x509.certificate import Certificate

STOP_TIMEOUT_S = 4.5  # SIGTERM ends the server within 5 s; the rest is for the interpreter
CERTIFICATE_PATH = "/api/device-connectivity/mqtts/certificate/download"
INTERRUPTED = 130  # the shell's code for "ended by Ctrl-C"

log = structlog.get_logger(__name__)


class Addresses(Protocol):
    """Where a started server listens."""

    @property
    def http_url(self) -> str: ...
    @property
    def mqtts_host(self) -> str: ...
    @property
    def mqtts_port(self) -> int: ...
    @property
    def https_url(self) -> str | None: ...
    @property
    def wss_port(self) -> int | None: ...
    @property
    def mqtt_port(self) -> int | None: ...
    @property
    def ws_port(self) -> int | None: ...


class Runnable(Protocol):
    """What is needed of `thingpass.app.Server` here."""

    @property
    def addresses(self) -> Addresses: ...
    @property
    def first_administrator(self) -> tuple[str, Secret] | None: ...
    @property
    def certificate(self) -> Certificate: ...
    async def start(self) -> None: ...
    async def stop(self) -> None: ...


def serve(settings: Settings, *, as_json: bool) -> None:
    """Run `thingpass.app.Server` with the chosen event loop until a signal. Raises what `start` raises."""
    from thingpass.app import Server

    with asyncio.Runner(loop_factory=_loop_factory(settings.loop)) as runner:
        runner.run(run_until_signal(Server(settings), settings, as_json=as_json, give_up=_exit_late))


async def run_until_signal(
    server: Runnable, settings: Settings, *, as_json: bool, give_up: Callable[[], None]
) -> None:
    """Start, announce, wait for SIGTERM or SIGINT, stop. `give_up` is called when stopping takes too long."""
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _on_signal, number, ending, give_up)
    starting = asyncio.ensure_future(server.start())
    waiting = asyncio.ensure_future(ending.wait())
    try:
        await asyncio.wait((starting, waiting), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            _keep_for_good()
            announce(server, settings, as_json=as_json)
            await waiting
        else:  # asked to end before it was ready
            starting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await starting
    finally:
        waiting.cancel()
        await server.stop()


def _keep_for_good() -> None:
    """Takes what start-up made out of the collector's sight.

    These 86,000 objects live as long as the process; to look through them stopped the loop for 35 ms.
    """
    gc.collect()
    gc.freeze()


def announce(server: Runnable, settings: Settings, *, as_json: bool) -> None:
    """Say where everything is. The first administrator's password is shown here and nowhere else."""
    if as_json:
        click.echo(json.dumps(_document(server, settings), ensure_ascii=False))
        return
    addresses, certificate = server.addresses, server.certificate
    click.echo(click.style("Thingpass is running.", bold=True))
    plain_bind = settings.listeners.mqtt_bind
    print_fields(
        [
            ("web and REST API", addresses.http_url),
            ("OpenAPI page", f"{addresses.http_url}/docs"),
            ("the same over TLS", addresses.https_url),
            ("MQTT over TLS", f"{addresses.mqtts_host}:{addresses.mqtts_port}"),
            ("MQTT over WebSocket", _if_open("wss://{}:{}/mqtt", addresses.mqtts_host, addresses.wss_port)),
            ("plain MQTT", _if_open("{}:{}, not encrypted", plain_bind, addresses.mqtt_port)),
            ("plain WebSocket", _if_open("ws://{}:{}/mqtt, not encrypted", plain_bind, addresses.ws_port)),
            ("server certificate", _certificate_lines(certificate)),
            ("", f"download: {addresses.http_url}{CERTIFICATE_PATH}"),
            ("data directory", str(settings.data_dir)),
            ("administrator", _administrator_lines(server)),
        ]
    )
    click.echo(f"\nNext, in a second terminal:\n  {next_command(server, settings)}\n")
    sys.stdout.flush()  # into a pipe it would come at the end


def next_command(server: Runnable, settings: Settings) -> str:
    """The command to try next, with the variables that it needs to find this server."""
    variables = []
    if urlsplit(server.addresses.http_url).port != urlsplit(DEFAULT_URL).port:
        variables.append(f"THINGPASS_URL={server.addresses.http_url}")
    # A variable that is set in this terminal may not be set in the next one.
    if settings.data_dir != default_data_dir(os.environ):
        variables.append(f"THINGPASS_DATA_DIR={shlex.quote(str(settings.data_dir))}")
    return " ".join([*variables, _program(), "device add my-device"])


def _program() -> str:
    """What to type: `make run` starts a program that is on nobody's path."""
    started = Path(sys.argv[0])
    if started.name != "thingpass" or shutil.which("thingpass"):
        return "thingpass"
    try:
        return shlex.quote(str(started.absolute().relative_to(Path.cwd())))
    except ValueError:
        return shlex.quote(str(started.absolute()))


def _document(server: Runnable, settings: Settings) -> dict[str, object]:
    addresses, certificate = server.addresses, server.certificate
    plain_bind, administrator = settings.listeners.mqtt_bind, server.first_administrator
    return {
        "event": "ready",
        "http": addresses.http_url,
        "openapi": f"{addresses.http_url}/docs",
        "mqtts": {"host": addresses.mqtts_host, "port": addresses.mqtts_port},
        "https": addresses.https_url,
        "wss": _listener(addresses.mqtts_host, addresses.wss_port),
        "mqtt": _listener(plain_bind, addresses.mqtt_port),
        "ws": _listener(plain_bind, addresses.ws_port),
        "certificate": {
            "subject": certificate.subject,
            "names": list(certificate.alternative_names),
            "not_after": certificate.not_after.isoformat(),
            "fingerprint_sha256": certificate.fingerprint_sha256,
            "url": f"{addresses.http_url}{CERTIFICATE_PATH}",
        },
        "data_dir": str(settings.data_dir),
        "administrator": {"username": administrator[0], "password": administrator[1].reveal()}
        if administrator is not None
        else None,
    }


def _if_open(text: str, host: str, port: int | None) -> str | None:
    return None if port is None else text.format(host, port)


def _listener(host: str, port: int | None) -> dict[str, object] | None:
    return None if port is None else {"host": host, "port": port}


def _certificate_lines(certificate: Certificate) -> str:
    names = ", ".join(certificate.alternative_names) or certificate.subject
    return (
        f"for {names}\n"
        f"valid until {certificate.not_after:%Y-%m-%d %H:%M} UTC\n"
        f"SHA-256 {certificate.fingerprint_sha256}"
    )


def _administrator_lines(server: Runnable) -> str | None:
    if server.first_administrator is None:
        return None
    name, password = server.first_administrator
    return f"{name}\npassword {password.reveal()}   (shown this once; keep it)"


def _on_signal(number: signal.Signals, ending: asyncio.Event, give_up: Callable[[], None]) -> None:
    if ending.is_set():
        if number == signal.SIGINT:
            # Asked a second time: at once. What was acknowledged is in the store already.
            _exit_now(INTERRUPTED)
        return
    ending.set()
    # A thread and not a deadline of the loop: it also holds while threads are joined after the loop's end.
    timer = threading.Timer(STOP_TIMEOUT_S, give_up)
    timer.daemon = True
    timer.start()


def _exit_late() -> None:
    log.error("stopping took too long", limit_s=STOP_TIMEOUT_S)
    _exit_now(1)


def _exit_now(code: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    if name == "uvloop":
        import uvloop

        return uvloop.new_event_loop
    return asyncio.new_event_loop
