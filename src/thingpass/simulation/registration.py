"""Registering a fleet by REST, with ThingsBoard's paths: what exists is used again, the rest is made."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol, TypeVar
from urllib.parse import quote

import msgspec

from thingpass.errors import Unavailable
from thingpass.simulation.device import DeviceIdentity
from thingpass.simulation.keys import certificate_of

PAGE_SIZE: Final = 1_000
THREADS: Final = 4  # a request waits for the server's disk; this many wait together
TOKEN_BYTES: Final = 15  # 20 characters of base64, as ThingsBoard's own

Made = TypeVar("Made")
Item = TypeVar("Item")
Progress = Callable[[int], None]


class Rest(Protocol):
    """One server and somebody who may manage devices there; raises for whatever goes wrong.

    The answers are decoded JSON. It is called by several threads, each with one of its own.
    """

    def get(self, path: str, query: dict[str, str | int]) -> object: ...
    def post(self, path: str, body: object) -> object: ...
    def delete(self, path: str) -> object: ...


class _Id(msgspec.Struct, frozen=True):
    id: str


class _Device(msgspec.Struct, frozen=True):
    id: _Id
    name: str


class _Page(msgspec.Struct, frozen=True, rename="camel"):
    data: tuple[_Device, ...]
    has_next: bool


class _Credentials(msgspec.Struct, frozen=True, rename="camel"):
    credentials_type: str
    credentials_id: str | None = None
    credentials_value: str | None = None

    def __repr__(self) -> str:
        return f"_Credentials({self.credentials_type!r})"


class Registrar:
    """The devices of one fleet on one server. `connect` gives a `Rest` for a thread."""

    def __init__(self, connect: Callable[[], Rest], prefix: str) -> None:
        self._connect = connect
        self._prefix = prefix
        self._local = threading.local()

    def register(
        self, names: Sequence[str], keys: Sequence[str] | None, *, progress: Progress
    ) -> tuple[DeviceIdentity, ...]:
        """Every device with a token, or with its certificate where `keys` are given."""
        ids = self._existing(names)
        own_keys: Sequence[str | None] = keys if keys is not None else [None] * len(names)
        pairs = zip(names, own_keys, strict=True)
        work = [(number, name, ids.get(name), key) for number, (name, key) in enumerate(pairs)]
        return tuple(self._each(work, self._register_one, progress))

    def remove(self, *, progress: Progress) -> int:
        """Takes every device of the prefix away that a fleet has made; how many."""
        found = self._existing(None)
        return len(self._each(list(found.values()), self._remove_one, progress))

    def first_id(self, names: Sequence[str]) -> str | None:
        """The id of any one of the devices."""
        return next(iter(self._existing(names).values()), None)

    def _existing(self, names: Sequence[str] | None) -> dict[str, str]:
        """Name to id. Without `names`: all that have the prefix and a number behind it."""
        wanted = None if names is None else set(names)
        found: dict[str, str] = {}
        page = 0
        while True:
            query: dict[str, str | int] = {"pageSize": PAGE_SIZE, "page": page, "textSearch": self._prefix}
            answer = _as(self._rest.get("/api/tenant/devices", query), _Page)
            for device in answer.data:
                if device.name in wanted if wanted is not None else self._is_ours(device.name):
                    found[device.name] = device.id.id
            if not answer.has_next:
                return found
            page += 1

    def _is_ours(self, name: str) -> bool:
        number = name.removeprefix(f"{self._prefix}-")
        return number != name and number.isascii() and number.isdigit()

    def _register_one(self, work: tuple[int, str, str | None, str | None]) -> DeviceIdentity:
        number, name, device_id, key_pem = work
        token = None if key_pem is not None else secrets.token_urlsafe(TOKEN_BYTES)
        wanted = _wanted(token, key_pem)
        if device_id is None:
            body = {"device": {"name": name, "type": "default"}, "credentials": wanted}
            self._rest.post("/api/device-with-credentials", body)
        else:
            token = self._agree(device_id, wanted, token)
        return DeviceIdentity(number=number, name=name, token=token, key_pem=key_pem)

    def _agree(self, device_id: str, wanted: dict[str, str | None], token: str | None) -> str | None:
        """An existing device keeps its token; other credentials than the wanted kind are replaced."""
        document = self._rest.get(f"/api/device/{quote(device_id, safe='')}/credentials", {})
        found = _as(document, _Credentials)
        same_kind = found.credentials_type == wanted["credentialsType"]
        if same_kind and token is not None:
            return found.credentials_id
        value = wanted["credentialsValue"]
        if same_kind and value is not None and _same_text(found.credentials_value, value):
            return token
        current = document if isinstance(document, dict) else {}
        self._rest.post("/api/device/credentials", {**current, **wanted})
        return token

    def _remove_one(self, device_id: str) -> None:
        self._rest.delete(f"/api/device/{quote(device_id, safe='')}")

    @property
    def _rest(self) -> Rest:
        rest: Rest | None = getattr(self._local, "rest", None)
        if rest is None:
            rest = self._local.rest = self._connect()
        return rest

    def _each(self, items: Sequence[Item], act: Callable[[Item], Made], progress: Progress) -> list[Made]:
        done: list[Made] = []
        pool = ThreadPoolExecutor(THREADS, "registration")
        try:
            results: Iterable[Made] = pool.map(act, items)
            for result in results:
                done.append(result)
                progress(len(done))
        finally:
            pool.shutdown(cancel_futures=True)  # after a failure, the rest is not begun
        return done


def _as(document: object, shape: type[Made]) -> Made:
    try:
        return msgspec.convert(document, shape)
    except msgspec.ValidationError as error:
        raise Unavailable(
            f"The server's answer is not ThingsBoard's: {error}.", mend="Check THINGPASS_URL."
        ) from error


def _wanted(token: str | None, key_pem: str | None) -> dict[str, str | None]:
    if key_pem is None:
        return {"credentialsType": "ACCESS_TOKEN", "credentialsId": token, "credentialsValue": None}
    return {
        "credentialsType": "X509_CERTIFICATE",
        "credentialsId": None,
        "credentialsValue": certificate_of(key_pem),
    }


def _same_text(stored: str | None, pem: str) -> bool:
    """Servers store a certificate with or without its armour and line breaks."""
    return stored is not None and _bare(stored) == _bare(pem)


def _bare(pem: str) -> str:
    return "".join(line.strip() for line in pem.splitlines() if not line.startswith("-----"))
