"""What answers of the REST API must look like."""

from __future__ import annotations

import httpx


def assert_error(
    answer: httpx.Response, status: int, error_code: int, message: str | None = None
) -> dict[str, object]:
    """The error object of the rest-api reference, 1.4; returns it."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert body["status"] == status
    assert body["errorCode"] == error_code, body
    assert isinstance(body["timestamp"], int)
    if message is not None:
        assert body["message"] == message
    return dict(body)


def assert_page(answer: httpx.Response, names: list[str], *, total: int, pages: int, has_next: bool) -> None:
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert [row["name"] for row in body["data"]] == names
    assert (body["totalElements"], body["totalPages"], body["hasNext"]) == (total, pages, has_next)


def assert_plain(answer: httpx.Response, status: int, sentence: str) -> None:
    """Telemetry routes say a bare sentence (reference, 5.8)."""
    assert (answer.status_code, answer.text) == (status, sentence)
    assert answer.headers["content-type"].startswith("text/plain")
