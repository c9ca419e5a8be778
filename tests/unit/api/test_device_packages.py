"""Firmware and software over HTTP: what is asked of the service, and how its bytes are answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from thingpass.api.device_api.exchange import ClientGone, Exchange
from thingpass.api.device_api.packages import get_firmware, get_software
from thingpass.errors import Invalid, NotFound
from thingpass.tls.evidence import Evidence

IMAGE = bytes(range(256)) * 1_000


@dataclass
class Data:
    file_name: str = "pump v2.bin"
    content_type: str = "application/octet-stream"


@dataclass
class Package:
    data: Data | None


@dataclass
class Part:
    package: Package
    offset: int
    size: int


class Downloads:
    """One firmware image for every device."""

    def __init__(self, data: Data) -> None:
        self._package = Package(data)

    async def find_part(
        self, device_id: str, kind: str, *, title: str, version: str, chunk_size: int, number: int
    ) -> Part:
        if kind != "FIRMWARE":
            raise NotFound("No package is assigned to this device.")
        if (title, version) != ("pump", "2"):
            raise Invalid("The device is to run another one.")
        wanted = chunk_size or len(IMAGE)
        return Part(self._package, wanted * number, max(0, min(wanted, len(IMAGE) - wanted * number)))

    async def stream(self, part: Part) -> AsyncIterator[bytes]:
        for at in range(part.offset, part.offset + part.size, 65_536):
            await asyncio.sleep(0)
            yield IMAGE[at : min(at + 65_536, part.offset + part.size)]


@dataclass
class Services:
    downloads: Downloads


@dataclass
class Asking:
    id: str = "device"


async def ask(
    query: str, handler: Any = get_firmware, data: Data | None = None, *, client_goes: bool = False
) -> tuple[dict[str, str], bytes]:
    """Headers and body of the answer, put together from its pieces."""
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        if client_goes:
            return {"type": "http.disconnect"}
        return await asyncio.Event().wait()

    scope = {"query_string": query.encode(), "headers": []}
    evidence = Evidence(listener="https", peer_address="192.0.2.1", peer_port=1)
    services: Any = Services(Downloads(data or Data()))
    exchange = Exchange(scope, receive, send, services, evidence, "")
    exchange.device = Asking()  # type: ignore[assignment]
    await handler(exchange)
    assert sent[0]["status"] == 200
    assert sent[-1].get("more_body", False) is False
    assert all(len(message["body"]) <= 65_536 for message in sent[1:])
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return headers, b"".join(message["body"] for message in sent[1:])


async def test_the_whole_image_comes_in_pieces_with_its_name() -> None:
    headers, body = await ask("title=pump&version=2")
    assert body == IMAGE
    assert headers == {
        "content-length": str(len(IMAGE)),
        "content-type": "application/octet-stream",
        "content-disposition": "attachment;filename=pump v2.bin",
        "x-filename": "pump v2.bin",
    }


async def test_chunks_put_together_are_the_image_and_one_more_is_empty() -> None:
    size = 100_000
    chunks = [(await ask(f"title=pump&version=2&size={size}&chunk={number}"))[1] for number in range(4)]
    assert b"".join(chunks) == IMAGE
    assert chunks[3] == b""


async def test_a_name_that_no_header_can_hold_is_written_as_in_a_url() -> None:
    headers, _ = await ask("title=pump&version=2", data=Data('泵\r\nX: y".bin'))
    assert headers["x-filename"] == "%E6%B3%B5%0D%0AX%3A y%22.bin"


@pytest.mark.parametrize(
    ("query", "seen"),
    [
        ("", "'title'"),
        ("title=pump", "'version'"),
        ("title=pump&version=", "'version'"),
        ("title=pump&version=2&size=x", "'size'"),
        ("title=pump&version=2&chunk=-1", "'chunk'"),
        ("title=pump&version=2&chunk=99999999999", "'chunk'"),
        ("title=pump&version=1", "another"),
    ],
)
async def test_what_cannot_be_is_invalid(query: str, seen: str) -> None:
    with pytest.raises(Invalid, match=seen):
        await ask(query)


async def test_a_client_that_goes_ends_the_reading() -> None:
    with pytest.raises(ClientGone):
        await ask("title=pump&version=2", client_goes=True)


async def test_a_kind_without_a_package_is_not_found() -> None:
    with pytest.raises(NotFound):
        await ask("title=pump&version=2", get_software)
