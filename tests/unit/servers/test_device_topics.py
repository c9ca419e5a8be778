from __future__ import annotations

from pathlib import Path

import pytest

from thingpass.servers.device_topics import (
    ATTRIBUTE_REQUEST,
    TOPICS,
    answer_topic,
    find_request,
    is_request_id,
    is_subscribable,
)

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "mqtt-topics.md"


def test_every_row_says_something_of_its_own() -> None:
    assert len({row.purpose for row in TOPICS}) == len(TOPICS)
    published = [row.publish for row in TOPICS if row.publish]
    subscribed = [row.subscribe for row in TOPICS if row.subscribe]
    assert len(set(published)) == len(published)
    assert len(set(subscribed)) == len(subscribed)


@pytest.mark.parametrize("row", TOPICS, ids=lambda row: row.purpose)
def test_every_row_is_documented(row: object) -> None:
    page = REFERENCE.read_text()
    for topic in (row.publish, row.answer, row.subscribe):  # type: ignore[attr-defined]
        assert topic is None or f"`{topic}`" in page


def test_a_request_is_found_with_its_id() -> None:
    assert find_request("v1/devices/me/attributes/request/17") == (ATTRIBUTE_REQUEST, "17")


@pytest.mark.parametrize(
    "name", ["", "/", "v1/devices/me", "v1/devices/me/telemetry", "v1/devices/me/rpc/17"]
)
def test_other_topics_are_no_requests(name: str) -> None:
    assert find_request(name) is None


def test_an_answer_goes_to_the_topic_of_its_request() -> None:
    assert answer_topic(ATTRIBUTE_REQUEST, "17") == "v1/devices/me/attributes/response/17"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", True),
        ("4294967295", True),
        ("", False),
        ("-1", False),
        ("1a", False),
        ("٣", False),
        ("1" * 11, False),
    ],
)
def test_a_request_id_is_a_short_decimal_number(text: str, expected: bool) -> None:
    assert is_request_id(text) is expected


def test_only_the_filters_of_the_table_can_be_subscribed() -> None:
    assert is_subscribable("v1/devices/me/rpc/request/+")
    assert is_subscribable("v1/devices/me/attributes/response/1")
    assert not is_subscribable("v1/devices/me/attributes/response/x")
    for other in (
        "#",
        "+",
        "v1/devices/me/#",
        "v1/devices/+/attributes",
        "$share/g/v1/devices/me/attributes",
    ):
        assert not is_subscribable(other)
