"""The commands' way to a running server: REST over the standard library's http.client.

Who is asking is proved by the first of: THINGPASS_TOKEN, what `thingpass login` saved for this server, the
local secret in the data directory (only towards this machine). No proxies and no redirects: a token goes to
the server that was named and nowhere else.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import os
import socket
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from thingpass.cli.failures import Failure
from thingpass.cli.logins import Login, Logins, logins_file, read_logins, write_logins
from thingpass.cli.uploads import FileForm
from thingpass.settings import default_data_dir

DEFAULT_URL = "http://127.0.0.1:8080"
TIMEOUT_S = 15.0
UPLOAD_TIMEOUT_S = 600.0  # for a piece, and for the answer, which waits for the checksum
MAXIMUM_ANSWER = 64 * 1024 * 1024  # bytes; more is not from us
TOKEN_EXPIRED = 11  # ThingsBoard's errorCode (REST reference, 1.4)

Shape = TypeVar("Shape")
Query = Mapping[str, "str | int | bool | None"] | Sequence[tuple[str, str]]


class ErrorBody(msgspec.Struct, frozen=True, rename="camel"):
    """ThingsBoard's error object, and our `mend` where a route adds one."""

    message: str = ""
    mend: str | None = None
    error_code: int = 0


class TokenPair(msgspec.Struct, frozen=True, rename="camel"):
    token: str
    refresh_token: str

    def __repr__(self) -> str:
        return "TokenPair(...)"


class Answer:
    """A successful answer's body, read as JSON, as a shape, or as it is."""

    def __init__(self, url: str, body: bytes) -> None:
        self._url = url
        self.body = body

    def json(self) -> object:
        try:
            return json.loads(self.body) if self.body else None
        except ValueError:
            raise self._not_ours() from None

    def as_(self, shape: type[Shape]) -> Shape:
        try:
            return msgspec.json.decode(self.body, type=shape)
        except msgspec.MsgspecError as error:
            raise self._not_ours(f" ({error})") from error

    def _not_ours(self, detail: str = "") -> Failure:
        return Failure(
            f"What answers at {self._url} is not this version of Thingpass{detail}.",
            "Set THINGPASS_URL to the address that `thingpass up` prints.",
        )


class ServerRefused(Failure):
    """The server answered with an error; `status` is HTTP's."""

    def __init__(self, status: int, sentence: str, mend: str | None) -> None:
        super().__init__(sentence, mend)
        self.status = status


class RestClient:
    """One server and who is asking. Every method raises Failure with what to do next.

    `authorization` is the whole header; with a `login`, it is what is tried after the login has ended.
    """

    def __init__(
        self,
        url: str,
        authorization: str | None = None,
        *,
        login: Login | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.url = checked_url(url)
        self._environ = os.environ if environ is None else environ
        self._login = login
        self._fallback = authorization
        self._authorization = f"Bearer {login.token}" if login is not None else authorization

    def get(self, path: str, query: Query | None = None) -> Answer:
        return self._ask("GET", path, query)

    def post(
        self,
        path: str,
        body: object = None,
        query: Query | None = None,
        *,
        timeout_s: float | None = None,
    ) -> Answer:
        content = b"" if body is None else json.dumps(body).encode()
        return self._ask("POST", path, query, content, timeout_s=timeout_s)

    def delete(self, path: str, query: Query | None = None) -> Answer:
        return self._ask("DELETE", path, query)

    def upload(self, path: str, form: FileForm) -> Answer:
        """POSTs a file. Raises OSError when it cannot be read."""
        return self._ask("POST", path, None, form, timeout_s=UPLOAD_TIMEOUT_S)

    def _ask(
        self,
        method: str,
        path: str,
        query: Query | None,
        body: bytes | FileForm | None = None,
        *,
        timeout_s: float | None = None,
    ) -> Answer:
        status, answer = self._exchange(method, path, query, body, timeout_s=timeout_s)
        if status == 401 and self._login is not None and _read_error(answer).error_code == TOKEN_EXPIRED:
            self._renew(self._login)
            status, answer = self._exchange(method, path, query, body, timeout_s=timeout_s)
        if 200 <= status < 300:
            return Answer(self.url, answer)
        raise self._refused(status, answer)

    def _exchange(
        self,
        method: str,
        path: str,
        query: Query | None,
        body: bytes | FileForm | None,
        *,
        anonymous: bool = False,
        timeout_s: float | None = None,
    ) -> tuple[int, bytes]:
        timeout_s = timeout_s or TIMEOUT_S
        parts = urlsplit(self.url)
        target = parts.path.rstrip("/") + path
        if query is not None:
            pairs = query.items() if isinstance(query, Mapping) else query
            target += "?" + urlencode(
                [(key, _query_text(value)) for key, value in pairs if value is not None]
            )
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if isinstance(body, FileForm):
            headers |= {"Content-Type": body.content_type, "Content-Length": str(body.length)}
        if self._authorization is not None and not anonymous:
            headers["X-Authorization"] = self._authorization
        if parts.scheme == "https":
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                parts.netloc, timeout=timeout_s
            )
        else:
            connection = http.client.HTTPConnection(parts.netloc, timeout=timeout_s)
        try:
            _send(connection, method, target, body, headers)
            response = connection.getresponse()
            return response.status, response.read(MAXIMUM_ANSWER)
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error, timeout_s) from error
        finally:
            connection.close()

    def _unreachable(self, error: Exception, timeout_s: float) -> Failure:
        start = "Start it with `thingpass up`, or set THINGPASS_URL to where it runs."
        match error:
            case TimeoutError():
                return Failure(f"The server at {self.url} did not answer within {timeout_s:g} s.", start)
            case ssl.SSLError():
                return Failure(
                    f"No TLS connection to {self.url}: {error.reason}.", "Check the URL's https and port."
                )
            case socket.gaierror():
                return Failure(f"The name in {self.url} is not known.", "Check THINGPASS_URL.")
            case ConnectionRefusedError():
                return Failure(f"No server answers at {self.url}.", start)
            case OSError():
                return Failure(
                    f"The server at {self.url} cannot be reached: {error.strerror or error}.", start
                )
        return Failure(f"What answers at {self.url} does not speak HTTP.", start)

    def _renew(self, login: Login) -> None:
        """A new pair of tokens for an expired one, else the fallback. Raises Failure if there is neither."""
        body = json.dumps({"refreshToken": login.refresh_token}).encode()
        self._authorization, self._login = self._fallback, None
        status, answer = self._exchange("POST", "/api/auth/token", None, body, anonymous=True)
        if status == 200:
            pair = Answer(self.url, answer).as_(TokenPair)
            renewed = Login(username=login.username, token=pair.token, refresh_token=pair.refresh_token)
            path = logins_file(self._environ)
            saved = read_logins(path)
            by_url = {**saved.by_url, self.url: renewed}
            write_logins(path, Logins(current=saved.current, by_url=by_url))
            self._authorization = f"Bearer {renewed.token}"
        elif self._fallback is None:
            raise Failure(f"Your login at {self.url} has ended.", f"thingpass login --url {self.url}")

    def _refused(self, status: int, answer: bytes) -> Failure:
        error = _read_error(answer)
        mend = error.mend
        if status == 401 and self._authorization is None:
            mend = (
                f"thingpass login --url {self.url}, or set THINGPASS_DATA_DIR to the server's data directory"
            )
        sentence = error.message or f"The server answered {status} without a reason."
        return ServerRefused(status, sentence, mend)


def _send(
    connection: http.client.HTTPConnection,
    method: str,
    target: str,
    body: bytes | FileForm | None,
    headers: dict[str, str],
) -> None:
    try:
        connection.request(method, target, body, headers)
    except (BrokenPipeError, ConnectionResetError):
        if not isinstance(body, FileForm):
            raise
        # Who refuses a file answers before its end: the answer says why.


def connect(environ: Mapping[str, str] | None = None) -> RestClient:
    """The server that THINGPASS_URL, the last login or the default names, and the best proof at hand."""
    env = os.environ if environ is None else environ
    logins = read_logins(logins_file(env))
    url = checked_url(env.get("THINGPASS_URL") or logins.current or DEFAULT_URL)
    if token := env.get("THINGPASS_TOKEN"):
        return RestClient(url, f"Bearer {token}", environ=env)
    secret = _local_secret(env) if is_this_machine(url) else None
    return RestClient(url, f"Local {secret}" if secret else None, login=logins.by_url.get(url), environ=env)


def checked_url(url: str) -> str:
    """`http(s)://host[:port][/path]` without a slash at the end. Raises Failure for anything else."""
    parts = urlsplit(url.strip())
    try:
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number
        usable = False
    if not usable or parts.query or parts.fragment or "@" in parts.netloc:
        raise Failure(f"{url!r} is not the address of a server.", f"Write it as {DEFAULT_URL}.", exit_code=2)
    return f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")


def is_this_machine(url: str) -> bool:
    """Whether a URL's host is a loopback address; the local secret goes nowhere else."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def segment(text: str) -> str:
    """A text as one segment of a path."""
    return quote(text, safe="")


def _local_secret(environ: Mapping[str, str]) -> str | None:
    given = environ.get("THINGPASS_DATA_DIR")
    directory = Path(given).expanduser() if given else default_data_dir(environ)
    try:
        return (directory / "local-secret").read_text(encoding="ascii").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _query_text(value: str | int | bool | None) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _read_error(answer: bytes) -> ErrorBody:
    """Telemetry routes answer with a bare sentence (REST reference, 1.4), all others with an object."""
    try:
        return msgspec.json.decode(answer, type=ErrorBody)
    except msgspec.MsgspecError:
        text = answer.decode("utf-8", "replace").strip().strip('"')
        return ErrorBody(message=text if len(text) < 500 and not text.startswith("<") else "")
