from __future__ import annotations

from pathlib import Path

import pytest

from thingpass.servers.device_topics import (
    ATTRIBUTE_REQUEST,
    TOPICS,
    Format,
    Purpose,
    Topic,
    find_request,
    find_subscribable,
    is_request_id,
)

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "mqtt-topics.md"

# Device API reference, 2.2: up and down in the four families, and 3: the filters.
CATALOGUE = {
    Purpose.TELEMETRY: (
        ("v1/devices/me/telemetry", None),
        ("v2/t", None),
        ("v2/t/j", None),
        ("v2/t/p", None),
    ),
    Purpose.ATTRIBUTES: (
        ("v1/devices/me/attributes", "v1/devices/me/attributes"),
        ("v2/a", "v2/a"),
        ("v2/a/j", "v2/a/j"),
        ("v2/a/p", "v2/a/p"),
    ),
    Purpose.ATTRIBUTE_REQUEST: (
        ("v1/devices/me/attributes/request/{id}", "v1/devices/me/attributes/response/{id}"),
        ("v2/a/req/{id}", "v2/a/res/{id}"),
        ("v2/a/req/j/{id}", "v2/a/res/j/{id}"),
        ("v2/a/req/p/{id}", "v2/a/res/p/{id}"),
    ),
    Purpose.RPC_TO_SERVER: (
        ("v1/devices/me/rpc/request/{id}", "v1/devices/me/rpc/response/{id}"),
        ("v2/r/req/{id}", "v2/r/res/{id}"),
        ("v2/r/req/j/{id}", "v2/r/res/j/{id}"),
        ("v2/r/req/p/{id}", "v2/r/res/p/{id}"),
    ),
    Purpose.RPC_TO_DEVICE: (
        ("v1/devices/me/rpc/response/{id}", "v1/devices/me/rpc/request/{id}"),
        ("v2/r/res/{id}", "v2/r/req/{id}"),
        ("v2/r/res/j/{id}", "v2/r/req/j/{id}"),
        ("v2/r/res/p/{id}", "v2/r/req/p/{id}"),
    ),
}


@pytest.mark.parametrize("purpose", CATALOGUE, ids=lambda purpose: purpose.name)
def test_every_family_of_the_catalogue_is_there(purpose: Purpose) -> None:
    rows = [row for row in TOPICS if row.purpose is purpose]
    assert tuple((row.publish, row.send) for row in rows) == CATALOGUE[purpose]
    assert [row.format for row in rows] == [
        Format.OF_PROFILE,
        Format.OF_PROFILE,
        Format.JSON,
        Format.PROTOBUF,
    ]


def test_no_two_rows_have_one_topic() -> None:
    published = [row.publish for row in TOPICS if row.publish]
    subscribed = [row.subscribe for row in TOPICS if row.subscribe]
    assert len(set(published)) == len(published)
    assert len(set(subscribed)) == len(subscribed)


@pytest.mark.parametrize("row", TOPICS, ids=lambda row: row.publish or row.subscribe)
def test_every_row_is_documented(row: Topic) -> None:
    page = REFERENCE.read_text()
    for topic in (row.publish, row.send, row.subscribe):
        assert topic is None or f"`{topic}`" in page


@pytest.mark.parametrize("row", [row for row in TOPICS if row.publish and "{id}" in row.publish])
def test_a_request_is_found_with_its_numbers(row: Topic) -> None:
    found = find_request(row.topic.replace("{id}", "17").replace("{n}", "3"))
    assert found is not None
    assert (found.topic, found.id, found.piece) == (row, "17", "3" if "{n}" in row.topic else None)


def test_a_piece_without_a_number_is_not_one_without_a_piece() -> None:
    found = find_request("v2/fw/request/1/chunk/")
    assert found is not None
    assert found.numbers == ("1", "")


def test_an_answer_goes_to_the_topic_of_its_request() -> None:
    found = find_request("v2/a/req/p/17")
    assert found is not None
    assert found.answer_topic == "v2/a/res/p/17"
    assert ATTRIBUTE_REQUEST.topic_to_send("0") == "v1/devices/me/attributes/response/0"


@pytest.mark.parametrize(
    "name",
    [
        *("", "/", "//", "///", "v1/devices/me", "v1/devices/me/telemetry", "v1/devices/me/rpc/17"),
        *("v2/fw/request/1/chunk", "v2/fw/request/1/piece/2", "x/v2/fw/request/1/chunk/2", "v2/a/req"),
        "v1/devices/me/attributes/request/" + "1" * 100,
    ],
)
def test_other_topics_are_no_requests(name: str) -> None:
    assert find_request(name) is None


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


# Device API reference, 3.
@pytest.mark.parametrize(
    "topic_filter",
    [
        *("v1/devices/me/attributes", "v2/a", "v2/a/j", "v2/a/p"),
        *("v1/devices/me/rpc/request/+", "v2/r/req/+", "v2/r/req/j/+", "v2/r/req/p/+"),
        *("v1/devices/me/rpc/response/+", "v2/r/res/+", "v2/r/res/j/+", "v2/r/res/p/+"),
        *("v1/devices/me/attributes/response/+", "v2/a/res/+", "v2/a/res/j/+", "v2/a/res/p/+"),
        *("v1/gateway/attributes", "v1/gateway/attributes/response", "v1/gateway/rpc"),
        *("v2/fw/response/+/chunk/+", "v2/fw/error", "v2/sw/response/+/chunk/+", "v2/sw/error"),
        "v1/devices/me/attributes/response/1",  # ours: mosquitto_rr
    ],
)
def test_the_filters_of_the_table_can_be_subscribed(topic_filter: str) -> None:
    assert find_subscribable(topic_filter) is not None


@pytest.mark.parametrize(
    "topic_filter",
    [
        *("#", "+", "v1/devices/me/#", "v1/devices/+/attributes", "v1/devices/me/attributes/+"),
        *("$share/g/v1/devices/me/attributes", "v1/devices/me/attributes/response/x"),
        *(
            "v1/gateway/disconnect",
            "v2/fw/response/+",
            "/provision/response",
            "v2/t",
            "v2/fw/response/+/chunk/1",
        ),
    ],
)
def test_no_other_filter_can_be_subscribed(topic_filter: str) -> None:
    assert find_subscribable(topic_filter) is None
