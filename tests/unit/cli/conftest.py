"""A server that answers what a test wrote down, and a runner with an environment of its own."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner, Result

from thingpass.cli.main import main

DEVICE_ID = "784f394c-42b6-435a-983c-b7beff2784f9"
DEVICE = {
    "id": {"entityType": "DEVICE", "id": DEVICE_ID},
    "createdTime": 1609459200000,
    "name": "Pump 1",
    "type": "default",
    "label": "north",
}


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def json(self) -> object:
        return json.loads(self.body)


@dataclass
class Stub:
    """Answers by method and path; what is not written down is a 404 in ThingsBoard's shape."""

    port: int
    answers: dict[tuple[str, str], list[tuple[int, bytes]]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, method: str, path: str, body: object = b"", status: int = 200) -> None:
        """The next answer on this path; the last one stays."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.answers.setdefault((method, path), []).append((status, raw))

    def refuse(self, method: str, path: str, status: int, message: str, code: int = 31, **more: str) -> None:
        self.answer(method, path, {"status": status, "message": message, "errorCode": code, **more}, status)

    def take(self, request: Request) -> tuple[int, bytes]:
        self.requests.append(request)
        answers = self.answers.get((request.method, request.path))
        if not answers:
            return 404, b'{"status":404,"message":"Requested item wasn\'t found!","errorCode":32}'
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def asked(self, method: str, path: str) -> Request:
        return next(item for item in reversed(self.requests) if (item.method, item.path) == (method, path))


@pytest.fixture
def stub() -> Iterator[Stub]:
    class Handler(BaseHTTPRequestHandler):
        def _handle(self) -> None:
            parts = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(parts.query).items()}
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, answer = found.take(
                Request(self.command, parts.path, query, dict(self.headers.items()), body)
            )
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = do_DELETE = _handle

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Stub(server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """HOME and the XDG directories in the test's directory; no THINGPASS_ variable of the machine's."""
    for name in list(os.environ):
        if name.startswith(("THINGPASS_", "XDG_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TZ", "UTC")
    return {}


Run = Callable[..., Result]


@pytest.fixture
def run(environ: dict[str, str], stub: Stub, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run("device", "list", stdin=..., env={...})` against the stub."""

    def run_command(
        *words: str, stdin: str | bytes | None = None, env: dict[str, str] | None = None
    ) -> Result:
        variables: dict[str, str | None] = {"THINGPASS_URL": stub.url, **(env or {})}
        return CliRunner().invoke(main, list(words), input=stdin, env=variables)

    return run_command
