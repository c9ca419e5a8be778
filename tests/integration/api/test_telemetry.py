"""Series: saving, latest values, history, aggregation (rest-api reference 5)."""

from __future__ import annotations

import pytest

from tests.integration.api.assertions import assert_error, assert_plain
from tests.integration.api.conftest import Api
from thingpass.api import history

T0 = 1_609_459_200_000
UNKNOWN = "784f394c-42b6-435a-983c-b7beff2784f9"


@pytest.fixture
async def base(api: Api) -> str:
    device = await api.add_device()
    return f"/api/plugins/telemetry/DEVICE/{device['id']['id']}"


async def fill(api: Api, base: str, key: str, values: list[object], *, step_ms: int = 1_000) -> None:
    samples = [{"ts": T0 + at * step_ms, "values": {key: value}} for at, value in enumerate(values)]
    answer = await api.admin.post(f"{base}/timeseries/ANY?scope=ANY", json=samples)
    assert (answer.status_code, answer.content) == (200, b""), answer.text


def span(seconds: int = 3_600) -> dict[str, object]:
    return {"startTs": T0, "endTs": T0 + seconds * 1_000}


async def test_saved_values_can_be_read_at_once(api: Api, base):
    body = {"temperature": 22.0, "on": True, "count": 5, "name": "x", "cfg": {"a": 1.50}, "list": [1, 2]}
    await api.admin.post(f"{base}/timeseries/ANY", json=body)
    now = api.clock.now_ms()
    strict = await api.admin.get(f"{base}/values/timeseries?useStrictDataTypes=True")
    assert strict.json() == {key: [{"ts": now, "value": value}] for key, value in body.items()}
    texts = (await api.admin.get(f"{base}/values/timeseries")).json()
    assert {key: points[0]["value"] for key, points in texts.items()} == {
        "temperature": "22.0",
        "on": "true",
        "count": "5",
        "name": "x",
        "cfg": '{"a":1.5}',
        "list": "[1,2]",
    }
    keys = (await api.admin.get(f"{base}/keys/timeseries")).json()
    assert sorted(keys) == sorted(body)


@pytest.mark.parametrize(
    "content_type", ["application/json", "text/plain", "application/x-www-form-urlencoded", ""]
)
@pytest.mark.parametrize("path", ["timeseries/ANY", "timeseries/LATEST_TELEMETRY", "timeseries/ANY/86400"])
async def test_any_content_type_and_scope(api: Api, base, content_type, path):
    answer = await api.admin.post(
        f"{base}/{path}", content=b'{"t":1}', headers={"Content-Type": content_type} if content_type else {}
    )
    assert (answer.status_code, answer.content) == (200, b"")


async def test_body_that_was_encoded_twice_is_understood(api: Api, base):
    answer = await api.admin.post(f"{base}/timeseries/ANY", json='{"t":1}')
    assert answer.status_code == 200
    assert (await api.admin.get(f"{base}/values/timeseries?keys=t")).json()["t"][0]["value"] == "1"


@pytest.mark.parametrize("content", [b"", b"  ", b"{}", b"[]", b'{"a":null}'])
async def test_nothing_to_save(api: Api, base, content):
    answer = await api.admin.post(f"{base}/timeseries/ANY", content=content)
    assert_plain(answer, 400, "No time series data found in request body!")


@pytest.mark.parametrize("content", [b"{", b"5", b'"x"', b"[1]", b'{"ts":"x","values":{"a":1}}', b"\xff"])
async def test_body_that_cannot_be_saved(api: Api, base, content):
    answer = await api.admin.post(f"{base}/timeseries/ANY", content=content)
    assert answer.status_code == 400
    assert answer.text.startswith("Unable to parse time series payload. Invalid JSON body: ")


async def test_latest_of_a_key_without_data_is_null(api: Api, base):
    await fill(api, base, "t", [1, 2])
    answer = await api.admin.get(f"{base}/values/timeseries?keys=t,none")
    assert answer.json() == {
        "t": [{"ts": T0 + 1_000, "value": "2"}],
        "none": [{"ts": api.clock.now_ms(), "value": None}],
    }


async def test_device_without_data(api: Api, base):
    assert (await api.admin.get(f"{base}/values/timeseries")).json() == {}
    assert (await api.admin.get(f"{base}/keys/timeseries")).json() == []
    answer = await api.admin.get(f"{base}/values/timeseries", params={**span(), "keys": "t"})
    assert answer.json() == {}


async def test_key_with_a_comma_is_asked_for_by_itself(api: Api, base):
    await api.admin.post(f"{base}/timeseries/ANY", json={"a,b": 1, "c": 2})
    answer = await api.admin.get(f"{base}/values/timeseries", params={"key": ["a,b", "c"], "keys": "ignored"})
    assert set(answer.json()) == {"a,b", "c"}


@pytest.mark.parametrize("path", ["values/timeseries", "values/timeseries/history"])
async def test_history_is_newest_first_and_bounded(api: Api, base, path):
    await fill(api, base, "t", list(range(150)))
    answer = await api.admin.get(f"{base}/{path}", params={**span(), "keys": "t"})
    points = answer.json()["t"]
    assert [point["value"] for point in points] == [str(value) for value in range(149, 49, -1)]
    ascending = {**span(), "keys": "t", "orderBy": "ASC", "limit": 3, "useStrictDataTypes": "true"}
    answer = await api.admin.get(f"{base}/{path}", params=ascending)
    assert answer.json()["t"] == [{"ts": T0 + at * 1_000, "value": at} for at in range(3)]


async def test_start_is_included_and_end_is_not(api: Api, base):
    await fill(api, base, "t", [0, 1, 2])
    query = {"startTs": T0, "endTs": T0 + 2_000, "keys": "t,none", "orderBy": "ASC"}
    answer = await api.admin.get(f"{base}/values/timeseries", params=query)
    assert [point["value"] for point in answer.json()["t"]] == ["0", "1"]
    assert "none" not in answer.json()


async def test_history_without_keys_is_empty(api: Api, base):
    await fill(api, base, "t", [0])
    assert (await api.admin.get(f"{base}/values/timeseries", params=span())).json() == {}


async def test_start_alone_asks_for_the_latest(api: Api, base):
    await fill(api, base, "t", [0, 1])
    answer = await api.admin.get(f"{base}/values/timeseries?startTs=0")
    assert answer.json()["t"][0]["value"] == "1"
    assert_error(await api.admin.get(f"{base}/values/timeseries/history?startTs=0"), 400, 31)


@pytest.mark.parametrize("order", ["ASC", "DESC"])
async def test_long_history_is_read_in_pages_without_gap_or_repeat(api: Api, base, monkeypatch, order):
    monkeypatch.setattr(history, "PAGE_POINTS", 7)
    monkeypatch.setattr(history, "INLINE_POINTS", 3)
    await fill(api, base, "t", list(range(100)))
    await fill(api, base, "u", list(range(5)))
    query = {**span(), "keys": "t,u", "orderBy": order, "limit": 99, "useStrictDataTypes": "true"}
    body = (await api.admin.get(f"{base}/values/timeseries", params=query)).json()
    expected = list(range(99)) if order == "ASC" else list(range(99, 0, -1))
    assert [point["value"] for point in body["t"]] == expected
    assert len(body["u"]) == 5


async def test_more_points_than_the_bound_are_refused_with_the_mend(api: Api, base, monkeypatch):
    monkeypatch.setattr(history, "MAX_POINTS", 10)
    await fill(api, base, "t", list(range(20)))
    for extra in ({"limit": 100}, {"agg": "SUM", "interval": 60_000}):
        answer = await api.admin.get(f"{base}/values/timeseries", params={**span(600), "keys": "t", **extra})
        assert answer.status_code == 400
        assert answer.text.startswith("The time range holds more than 10 points. Ask for")


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [("MIN", [0, 5]), ("MAX", [4, 9]), ("AVG", [2.0, 7.0]), ("SUM", [10, 35]), ("COUNT", [5, 5])],
)
async def test_aggregation_by_interval(api: Api, base, aggregation, expected, monkeypatch):
    monkeypatch.setattr(history, "PAGE_POINTS", 3)
    await fill(api, base, "t", list(range(10)))
    query = {
        **span(10),
        "keys": "t",
        "agg": aggregation,
        "interval": 5_000,
        "orderBy": "ASC",
        "useStrictDataTypes": "true",
    }
    body = (await api.admin.get(f"{base}/values/timeseries", params=query)).json()
    assert body == {"t": [{"ts": T0 + 2_500, "value": expected[0]}, {"ts": T0 + 7_500, "value": expected[1]}]}


async def test_aggregation_by_month_in_a_time_zone(api: Api, base):
    await fill(api, base, "t", [1] * 60, step_ms=86_400_000)
    query = {
        "startTs": T0,
        "endTs": T0 + 60 * 86_400_000,
        "keys": "t",
        "agg": "COUNT",
        "intervalType": "MONTH",
        "timeZone": "Europe/Kyiv",
        "orderBy": "ASC",
        "useStrictDataTypes": "true",
    }
    body = (await api.admin.get(f"{base}/values/timeseries", params=query)).json()
    assert [point["value"] for point in body["t"]] == [31, 28, 1]


async def test_interval_zero_turns_aggregation_off(api: Api, base):
    await fill(api, base, "t", [1, 2])
    query = {**span(), "keys": "t", "agg": "SUM"}
    assert len((await api.admin.get(f"{base}/values/timeseries", params=query)).json()["t"]) == 2


@pytest.mark.parametrize(
    ("query", "start"),
    [
        (
            {"agg": "SUM", "interval": 1_000, "endTs": T0 + 10**9},
            "Incorrect TsKvQuery. Number of intervals is to high",
        ),
        (
            {"agg": "SUM", "interval": -5},
            "Invalid TsKvQuery: 'interval' must be greater than 0, but got '-5'",
        ),
        ({"limit": 0}, "Incorrect TsKvQuery. The limit must be at least 1"),
        ({"agg": "SUM", "intervalType": "MONTH", "timeZone": "Nowhere/Land"}, "The time zone is not known."),
        (
            {"agg": "SUM", "intervalType": "MONTH", "timeZone": "../../etc/passwd"},
            "The time zone is not known.",
        ),
        ({"keys": ",".join(str(number) for number in range(1_001))}, "1001 keys are too many"),
    ],
)
async def test_history_query_that_cannot_be(api: Api, base, query, start):
    answer = await api.admin.get(f"{base}/values/timeseries", params={**span(), "keys": "t", **query})
    assert answer.status_code == 400
    assert answer.text.startswith(start)
    assert answer.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(
    "query", [{"agg": "avg"}, {"agg": "MEDIAN"}, {"orderBy": "up"}, {"limit": "x"}, {"startTs": "x"}]
)
async def test_parameter_of_the_wrong_kind_gets_the_error_object(api: Api, base, query):
    answer = await api.admin.get(f"{base}/values/timeseries", params={**span(), "keys": "t", **query})
    assert_error(answer, 400, 31)


async def test_extreme_times_are_no_server_error(api: Api, base):
    for start, end in ((-(2**63), 2**63 - 1), (2**70, 2**71), (5, 0)):
        for extra in ({}, {"agg": "SUM", "interval": 10**18}, {"agg": "SUM", "intervalType": "WEEK"}):
            query = {"startTs": start, "endTs": end, "keys": "t", **extra}
            answer = await api.admin.get(f"{base}/values/timeseries", params=query)
            assert answer.status_code in (200, 400), (query, answer.text)


async def test_whose_telemetry(api: Api):
    get = api.admin.get
    root = "/api/plugins/telemetry"
    answer = await get(f"{root}/DEVICE/{UNKNOWN}/values/timeseries")
    assert_plain(answer, 404, "Device with requested id wasn't found!")
    answer = await get(f"{root}/ASSET/{UNKNOWN}/values/timeseries")
    assert_plain(answer, 404, "Asset with requested id wasn't found!")
    answer = await get(f"{root}/{UNKNOWN}/{UNKNOWN}/values/timeseries")
    error = assert_error(answer, 400, 31)
    assert "pass device.id, not its UUID" in str(error["mend"])
    answer = await get(f"{root}/DEVICE/xyz/values/timeseries")
    assert_error(answer, 400, 31, "Invalid UUID string: xyz")
    assert_error(await get(f"{root}/device/{UNKNOWN}/values/timeseries"), 400, 31)


async def test_store_that_fails_is_told(api: Api, base, monkeypatch):
    from thingpass.errors import Unavailable

    async def fail(device_number: int, samples: object) -> None:
        raise Unavailable("The disk is full.")

    monkeypatch.setattr(api.services.ingest, "store_samples", fail)
    answer = await api.admin.post(f"{base}/timeseries/ANY", json={"t": 1})
    assert_plain(answer, 503, "The disk is full.")
