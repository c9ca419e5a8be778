"""A device's side of HTTP/1.1, sans-I/O: requests out, whole answers in, one at a time on one connection."""

from __future__ import annotations

from typing import Final

import httptools
import msgspec

LARGEST_ANSWER: Final = 262_144  # bytes; more from a server is no answer for a sensor


class AnswerUnusable(Exception):
    """What came is no answer of HTTP."""


class HttpAnswer(msgspec.Struct, frozen=True):
    status: int
    body: bytes
    keeps_connection: bool
    retry_after_s: float | None = None


def request_bytes(method: str, host: str, path: str, body: bytes | None = None) -> bytes:
    """One request with a JSON body or none."""
    head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\n"
    if body is None:
        return f"{head}\r\n".encode()
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class AnswerReader:
    """Feeds on a connection's bytes."""

    __slots__ = ("_answers", "_body", "_parser", "_retry_after_s")

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._body = bytearray()
        self._answers: list[HttpAnswer] = []
        self._retry_after_s: float | None = None

    def receive(self, data: bytes) -> list[HttpAnswer]:
        """The answers that are complete now. Raises AnswerUnusable."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            raise AnswerUnusable("no answer of HTTP") from error
        if len(self._body) > LARGEST_ANSWER:
            raise AnswerUnusable(f"an answer of more than {LARGEST_ANSWER} bytes")
        answers, self._answers = self._answers, []
        return answers

    # What the parser calls; the names are its own.

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"retry-after" and value.strip().isdigit():
            self._retry_after_s = min(float(value), 3_600.0)

    def on_body(self, data: bytes) -> None:
        self._body += data

    def on_message_complete(self) -> None:
        self._answers.append(
            HttpAnswer(
                self._parser.get_status_code(),
                bytes(self._body),
                bool(self._parser.should_keep_alive()),
                self._retry_after_s,
            )
        )
        self._body.clear()
        self._retry_after_s = None
