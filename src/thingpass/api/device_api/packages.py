"""Firmware and software over HTTP: whole or by piece (device API reference, 6 and 7.9)."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from thingpass.api.device_api.exchange import Exchange
from thingpass.errors import Invalid
from thingpass.store.rows import OTA_FIRMWARE, OTA_SOFTWARE

LONGEST_NUMBER_DIGITS: Final = 10


async def get_firmware(exchange: Exchange) -> None:
    await _package(exchange, OTA_FIRMWARE)


async def get_software(exchange: Exchange) -> None:
    await _package(exchange, OTA_SOFTWARE)


async def _package(exchange: Exchange, kind: str) -> None:
    """A piece beyond the end is empty: ThingsBoard's client asks for one more than there are."""
    parameters, downloads = exchange.parameters(), exchange.services.downloads
    part = await downloads.find_part(
        exchange.device.id,
        kind,
        title=_text(parameters, "title"),
        version=_text(parameters, "version"),
        chunk_size=_number(parameters, "size"),
        number=_number(parameters, "chunk"),
    )
    data = part.package.data
    assert data is not None
    name = _header_value(data.file_name)
    headers = ((b"content-disposition", b"attachment;filename=" + name), (b"x-filename", name))
    content_type = data.content_type.encode("latin-1", "replace")
    await exchange.answer_in_pieces(part.size, downloads.stream(part), content_type, headers)


def _text(parameters: dict[str, str], name: str) -> str:
    if not parameters.get(name):
        raise Invalid(f"Required request parameter '{name}' is not present")
    return parameters[name]


def _number(parameters: dict[str, str], name: str) -> int:
    text = parameters.get(name) or "0"
    if not (text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER_DIGITS):
        raise Invalid(f"The parameter '{name}' is {text[:20]!r}, not a number that is 0 or more.")
    return int(text)


def _header_value(text: str) -> bytes:
    """Of a name that people gave: what a header cannot hold is written as in a URL."""
    return quote(text, safe=" !#$&'()+,-.;=@[]^_`{}~").encode("ascii")
