"""The checker finds mistakes, and derives the labels of a result."""

import pytest

from tests.infra.monitoring.exported import exported
from tests.infra.monitoring.labels import Checker, Wrong

PAGE = """
# TYPE a_state gauge
a_state{state="on"} 1
a_state{state="off"} 0
# TYPE a_total counter
a_total{kind="x"} 1
a_total{kind="y"} 1
# TYPE b_total counter
b_total 1
# TYPE a_seconds histogram
a_seconds_bucket{le="+Inf"} 1
a_seconds_sum 1
a_seconds_count 1
"""
TARGET = {"job", "instance"}


def checker() -> Checker:
    return Checker(exported([PAGE]), ["a"])


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("a_state", {*TARGET, "state"}),
        ('a_total{kind=~"x|y"}', {*TARGET, "kind"}),
        ("sum by (kind) (rate(a_total[5m]))", {"kind"}),
        ("sum without (kind) (rate(a_total[5m]))", TARGET),
        ("sum(rate(a_total[5m]))", set()),
        ("histogram_quantile(0.9, sum by (le, job) (rate(a_seconds_bucket[5m])))", {"job"}),
        ("a_state and ignoring (state) (b_total > 0)", {*TARGET, "state"}),
        ("rate(a_total[5m]) / ignoring (kind) group_left () rate(b_total[5m])", {*TARGET, "kind"}),
        ('rate(a_total{kind="x"}[5m]) / ignoring (kind) rate(b_total[5m])', TARGET),
        ("a_state / on (job) sum by (job) (b_total)", {"job"}),
        ("time() - b_total", TARGET),
        ("(a_total > 1) or b_total", TARGET),
        ('absent(up{job="a"} == 1)', set()),
        ("max_over_time(b_total[1h:1m])", TARGET),
    ],
)
def test_labels_of_a_result(text: str, labels: set[str]) -> None:
    assert checker().labels(text) == labels


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("c_total", "c_total"),
        ("sum(rate(b_total[5m])) + c_total", "c_total"),
        ('a_total{kin="x"}', "kin"),
        ('a_total{kind="z"}', "kind=z"),
        ('a_total{kind=~"x|z"}', "kind=z"),
        ('up{job="b"}', "job=b"),
        ("sum by (kin) (a_total)", "kin"),
        ("a_total - ignoring (kin) b_total", "kin"),
        ("a_total - b_total", "never meet"),
        ("sum(b_total) - b_total", "never meet"),
        ("rate(a_state[5m])", "not a counter"),
        ("histogram_quantile(0.9, sum(rate(a_seconds_bucket[5m])))", "without le"),
        ("histogram_quantile(0.9, rate(a_seconds_count[5m]))", "without le"),
        ('{kind="x"}', "None"),
    ],
)
def test_what_no_service_exports_is_named(text: str, named: str) -> None:
    with pytest.raises(Wrong, match=named):
        checker().labels(text)


@pytest.mark.parametrize(
    "text", ["rate(a_total)", "sum by kind (a_total)", "a_total[5m", "a_total{kind=}", "nosuch(a_total)"]
)
def test_what_is_not_promql_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        checker().labels(text)
