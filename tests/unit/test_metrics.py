"""The metrics table, the counters behind it, and the text that Prometheus reads."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from thingpass.metrics import METRICS, Counters, Histogram, make_registry, reference_page, render

REPOSITORY = Path(__file__).resolve().parents[2]


def rendered(counters: Counters) -> dict[str, float]:
    """Every sample of the text by `name{label=value}`."""
    samples: dict[str, float] = {}
    text = render(make_registry(counters)).decode()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sample.labels.items())
            samples[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return samples


@pytest.mark.parametrize("row", METRICS, ids=lambda row: row.name)
def test_every_row_has_its_slot_and_the_naming_that_prometheus_wants(row):
    assert row.name.startswith("thingpass_")
    assert row.name.endswith("_total") == (row.kind == "counter")
    assert row.help.endswith(".")
    counters = Counters()
    if row.kind == "gauge":
        counters.set_gauge(row.attribute, lambda: 1.0)
    elif row.kind == "histogram":
        assert getattr(counters, row.attribute).bounds == row.bounds
    else:
        assert getattr(counters, row.attribute) == ({} if row.label else 0)


@pytest.mark.parametrize("column", ["name", "attribute", "help"])
def test_rows_are_unique(column):
    values = [getattr(row, column) for row in METRICS]
    assert len(values) == len(set(values))


def test_every_slot_is_published():
    published = {row.attribute for row in METRICS if row.kind != "gauge"}
    assert set(Counters.__slots__) - {"gauges"} == published


def test_text_parses_and_carries_the_numbers():
    counters = Counters()
    counters.messages_received += 3
    counters.count_refused("certificate-expired")
    counters.count_refused("certificate-expired")
    counters.set_gauge("backlog_messages", lambda: 7)
    counters.commit_seconds.observe(0.003)
    counters.commit_seconds.observe(99.0)
    samples = rendered(counters)
    assert samples["thingpass_messages_received_total"] == 3
    assert samples["thingpass_refused_total{code=certificate-expired}"] == 2
    assert samples["thingpass_backlog_messages"] == 7
    assert samples["thingpass_commit_seconds_bucket{le=0.0025}"] == 0
    assert samples["thingpass_commit_seconds_bucket{le=0.005}"] == 1
    assert samples["thingpass_commit_seconds_bucket{le=+Inf}"] == 2
    assert samples["thingpass_commit_seconds_count"] == 2
    assert samples["thingpass_commit_seconds_sum"] == pytest.approx(99.003)


def test_gauge_that_nobody_answers_is_left_out():
    assert "thingpass_backlog_messages" not in rendered(Counters())


def test_unknown_gauge_is_an_error_of_the_programmer():
    with pytest.raises(KeyError):
        Counters().set_gauge("no_such_gauge", lambda: 0.0)


def test_value_on_a_bound_counts_as_within_it():
    histogram = Histogram((1.0, 2.0))
    for value in (1.0, 1.5, 2.0, 2.1):
        histogram.observe(value)
    assert histogram.counts == [1, 2, 1]
    assert histogram.count == 4


def test_two_servers_in_one_process_have_registries_of_their_own():
    one, two = Counters(), Counters()
    one.commits += 1
    assert rendered(one)["thingpass_commits_total"] == 1
    assert rendered(two)["thingpass_commits_total"] == 0


def test_reference_page_is_the_table():
    page = REPOSITORY / "docs" / "reference" / "metrics.md"
    assert page.read_text(encoding="utf-8") == reference_page(), "write the page anew from reference_page()"
