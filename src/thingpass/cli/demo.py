"""`thingpass demo`: the whole walk-through of the guide in a temporary directory, as one command.

It does what a newcomer does, with the same commands in the same order; so it is the first end-to-end test.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import msgspec

from thingpass.cli.demo_processes import DemoServer, StepFailed, Workshop
from thingpass.cli.failures import Failure
from thingpass.cli.output import json_option, local_time, print_json, print_table
from thingpass.cli.shapes import Series
from thingpass.x509.keygen_properties import SAMPLE

DEVICE = "demo-device"
CLIENT = "two-way-ssl-mqtt-client.py"


class Done(msgspec.Struct, frozen=True):
    """One finished step, for people and for `--json`."""

    step: str
    seconds: float
    command: str


class Walk:
    """The steps, their state, and what is printed on the way."""

    def __init__(self, workshop: Workshop, *, quiet: bool) -> None:
        self.workshop = workshop
        self.server = DemoServer(workshop)
        self.done: list[Done] = []
        self.latest: object = None
        self.client_output = ""
        self._quiet = quiet

    def run(self) -> None:
        """Every step in order. Raises Failure that says which failed and why."""
        for title, step in self._steps():
            started = time.monotonic()
            self._begin(title)
            try:
                command = step()
            except StepFailed as failed:
                self._end("✗", title, time.monotonic() - started, "")
                raise Failure(f"{title}: {failed.reason}", failed.mend) from failed
            seconds = time.monotonic() - started
            self.done.append(Done(title, round(seconds, 3), command))
            self._end("✓", title, seconds, command)

    def _steps(self) -> list[tuple[str, Callable[[], str]]]:
        return [
            ("Write keygen.properties", self._write_properties),
            ("Make the server's keys", lambda: self.workshop.thingpass("keygen", "server")[0]),
            ("Make the device's keys", lambda: self.workshop.thingpass("keygen", "client")[0]),
            ("Start the server", self._start),
            ("Register the device", lambda: self.workshop.thingpass("device", "add", DEVICE)[0]),
            ("Give it its certificate", self._credentials),
            ("Connect and send telemetry", self._run_client),
            ("Read the values back", self._read_back),
            ("Stop the server", self._stop),
        ]

    def _write_properties(self) -> str:
        (self.workshop.directory / "keygen.properties").write_text(SAMPLE, encoding="utf-8")
        return "keygen.properties"

    def _start(self) -> str:
        return self.server.start("--server-cert", "mqttserver.pub.pem", "--server-key", "mqttserver.pk8.pem")

    def _credentials(self) -> str:
        return self.workshop.thingpass("device", "credentials", DEVICE, "--x509", "mqttclient.pub.pem")[0]

    def _run_client(self) -> str:
        port = str(self.server.mqtts_port)
        line = f"python {CLIENT} --port {port} --once"
        words = ["--host", "localhost", "--port", port, "--ca-certs", "mqttserver.pub.pem"]
        words += ["--certfile", "mqttclient.nopass.pem", "--once"]
        _, self.client_output = self.workshop.python(line, str(find_client()), *words)
        if "Connected with result code 0" not in self.client_output:
            raise StepFailed(f"the client was not let in; it said: {self.client_output.strip() or 'nothing'}")
        return line

    def _read_back(self) -> str:
        command, output = self.workshop.thingpass("telemetry", "latest", DEVICE, "--json")
        self.latest = msgspec.json.decode(output)
        if not self.latest:
            raise StepFailed("the server acknowledged the telemetry, but has no value of it.")
        return command.removesuffix(" --json")

    def _stop(self) -> str:
        self.server.stop()
        return "SIGTERM"

    def _begin(self, title: str) -> None:
        if not self._quiet and sys.stdout.isatty():
            click.echo(f"… {title}", nl=False)

    def _end(self, mark: str, title: str, seconds: float, command: str) -> None:
        if self._quiet:
            return
        start = "\r" if sys.stdout.isatty() else ""
        coloured = click.style(mark, fg="green" if mark == "✓" else "red", bold=True)
        click.echo(
            f"{start}{coloured} {title:<28}{seconds:6.2f} s   {click.style(command, dim=True)}".rstrip()
        )


@click.command()
@click.option("--keep", is_flag=True, help="Keep the directory with the keys, the data and the server's log.")
@json_option
def demo(keep: bool, as_json: bool) -> None:
    """Run the whole walk-through: keys, server, device, client, stored values.

    Everything happens in a temporary directory and on free ports of this machine; nothing else is touched.
    """
    check_client_library()
    directory = Path(tempfile.mkdtemp(prefix="thingpass-demo-"))
    walk = Walk(Workshop(directory), quiet=as_json)
    started = time.monotonic()
    failure: Failure | None = None
    try:
        walk.run()
    except Failure as found:
        failure = found
        if not as_json:
            walk.server.explain()
    finally:
        walk.server.kill()
        if not keep:
            shutil.rmtree(directory, ignore_errors=True)
    _report(walk, failure, time.monotonic() - started, keep=keep, as_json=as_json)


def check_client_library() -> None:
    """Raises Failure when paho-mqtt, which only the example client needs, is not there."""
    import importlib.util

    if importlib.util.find_spec("paho") is None:
        raise Failure(
            "The example client needs paho-mqtt, which is not installed.", "pip install 'thingpass[demo]'"
        )


def find_client() -> Path:
    """The example client: in the package (as installed) or in `examples/` of the checkout."""
    import thingpass

    package = Path(thingpass.__file__).parent
    places = [package / "examples" / CLIENT, package.parent.parent / "examples" / CLIENT]
    for place in places:
        if place.is_file():
            return place
    raise StepFailed(f"{CLIENT} is neither in {places[0].parent} nor in {places[1].parent}.")


def _report(walk: Walk, failure: Failure | None, seconds: float, *, keep: bool, as_json: bool) -> None:
    kept = str(walk.workshop.directory) if keep else None
    if as_json:
        print_json(
            {
                "ok": failure is None,
                "seconds": round(seconds, 3),
                "steps": msgspec.to_builtins(walk.done),
                "error": None if failure is None else failure.sentence,
                "values": walk.latest,
                "directory": kept,
            }
        )
    if failure is not None:
        raise failure
    if as_json:
        return
    click.echo("\nWhat the client printed:")
    for line in walk.client_output.splitlines():
        click.echo(f"  {line}")
    click.echo(f"\nWhat is stored of {DEVICE}:")
    series = msgspec.convert(walk.latest, Series)
    rows = [(key, str(points[0].value), local_time(points[0].ts)) for key, points in sorted(series.items())]
    print_table(("Key", "Value", "Time"), rows)
    click.echo(f"\nDone in {seconds:.1f} s.{f' Everything is in {kept}.' if kept else ''}")
