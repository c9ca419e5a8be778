"""The subprocesses of `thingpass demo`: commands in its directory, and the server that they talk to."""

from __future__ import annotations

import json
import os
import queue
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path

import click
import msgspec

COMMAND_TIMEOUT_S = 60.0
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0
LOG_TAIL = 20  # lines


class StepFailed(Exception):
    """A step did not do what it should; `reason` is a sentence, `mend` what to do or None."""

    def __init__(self, reason: str, mend: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.mend = mend


class Ready(msgspec.Struct, frozen=True):
    """The line that `thingpass up --json` prints when it is ready; the parts needed here."""

    http: str
    mqtts: Mqtts


class Mqtts(msgspec.Struct, frozen=True):
    port: int


class Workshop:
    """The directory in which commands run, and their environment: no setting of the user's gets in."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environ = {
            name: value for name, value in os.environ.items() if not name.startswith("THINGPASS_")
        }
        self.environ["THINGPASS_DATA_DIR"] = str(directory / "data")
        self.environ["XDG_CONFIG_HOME"] = str(directory / "config")
        self.environ["PYTHONUTF8"] = "1"

    def thingpass(self, *words: str) -> tuple[str, str]:
        """Run a command. The line as a person types it, and what it printed. Raises StepFailed."""
        return self.python(f"thingpass {shlex.join(words)}", "-m", "thingpass", *words)

    def python(self, line: str, *words: str) -> tuple[str, str]:
        """Run this Python with `words`, as `thingpass` does; `line` is what people are told."""
        try:
            done = subprocess.run(
                [sys.executable, *words],
                cwd=self.directory,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=COMMAND_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise StepFailed(f"`{line}` did not end within {COMMAND_TIMEOUT_S:g} s.") from None
        if done.returncode != 0:
            said = (done.stderr.strip() or done.stdout.strip() or "nothing").removeprefix("Error: ")
            reason, _, mend = said.partition("\nMend: ")
            raise StepFailed(f"`{line}` ended with {done.returncode}: {reason}", mend or None)
        return line, done.stdout


class DemoServer:
    """`thingpass up` on free ports, its log in a file of the workshop."""

    def __init__(self, workshop: Workshop) -> None:
        self.mqtts_port = 0
        self._workshop = workshop
        self._log = workshop.directory / "server.log"
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def start(self, *options: str) -> str:
        """Start it and wait until it is ready; the command as a person types it. Raises StepFailed."""
        words = ["up", "--json", "--bind", "127.0.0.1", "--http-port", "0", "--mqtts-port", "0"]
        words += ["--https-port", "off", "--wss-port", "off", *options]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "thingpass", *words],
                cwd=self._workshop.directory,
                env=self._workshop.environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                encoding="utf-8",
            )
        ready = self._wait_until_ready(self._process)
        self.mqtts_port = ready.mqtts.port
        self._workshop.environ["THINGPASS_URL"] = ready.http
        return f"thingpass up {shlex.join(options)}"

    def stop(self) -> None:
        """SIGTERM, and a clean end. Raises StepFailed."""
        process = self._process
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise StepFailed(f"the server did not end within {STOP_TIMEOUT_S:g} s.") from None
        if code != 0:
            raise StepFailed(f"the server ended with exit code {code}.")

    def kill(self) -> None:
        """Whatever happened, no process is left behind."""
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.kill()
        process.wait()
        if self._reader is not None:
            self._reader.join(STOP_TIMEOUT_S)  # a pipe is not closed under somebody who reads it
        if process.stdout is not None:
            process.stdout.close()

    def explain(self) -> None:
        """After a failed step: whom the server refused and why, and the end of its log."""
        if self._process is not None and self._process.poll() is None:
            try:
                click.echo(self._workshop.thingpass("connections", "--refused")[1], err=True)
            except StepFailed as failed:
                click.echo(f"The refusals cannot be read: {failed.reason}", err=True)
        if self._log.is_file():
            lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_TAIL:]
            if lines:
                click.echo("The end of the server's log:", err=True)
            for line in lines:
                click.echo(f"  {line}", err=True)

    def _wait_until_ready(self, process: subprocess.Popen[str]) -> Ready:
        stream = process.stdout
        assert stream is not None  # a pipe was asked for
        lines: queue.Queue[str] = queue.Queue()
        # A thread, because a pipe has no timeout; it ends with the line or with the process.
        self._reader = threading.Thread(target=lambda: lines.put(stream.readline()), daemon=True)
        self._reader.start()
        try:
            line = lines.get(timeout=START_TIMEOUT_S)
        except queue.Empty:
            raise StepFailed(f"the server was not ready within {START_TIMEOUT_S:g} s.") from None
        if not line:
            code = process.wait(STOP_TIMEOUT_S)
            raise StepFailed(f"the server ended with exit code {code} before it was ready.")
        try:
            return msgspec.json.decode(line, type=Ready)
        except (msgspec.MsgspecError, json.JSONDecodeError):
            raise StepFailed(f"the server said {line!r} instead of where it is.") from None
