"""Alerts and dashboard query only what the real services export, with the labels that it really has."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.harness.cluster import cluster
from tests.harness.pages import http_get
from tests.infra.monitoring import queries
from tests.infra.monitoring.exported import Metric, exported
from tests.infra.monitoring.labels import Checker, Wrong
from tools.processes.ports import free_address


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Metric]:
    """The metrics of an orchestrator, a data service and a worker in the second step of a run."""
    worker = free_address()
    with cluster(tmp_path_factory.mktemp("monitoring")) as run:
        run.start_worker("worker", gate_step=1, PANGEA_HTTP=worker)
        run.wait_gate("worker")
        pages = [
            http_get(address, "/metrics")
            for address in (run.status_address, run.addresses("rust-compute").http, worker)
        ]
    assert [code for code, _ in pages] == [200, 200, 200]
    return exported(text for _, text in pages)


@pytest.mark.parametrize("query", queries.queries(), ids=lambda query: query.place)
def test_the_services_export_what_a_query_asks_for(query: queries.Query, metrics: dict[str, Metric]) -> None:
    try:
        labels = Checker(metrics, queries.jobs()).labels(query.text)
    except Wrong as wrong:
        pytest.fail(f"{query.place}: {wrong}", pytrace=False)
    assert query.shown <= labels, f"{query.place} shows labels that its result does not have"


def test_rules_and_panels_exist_and_have_distinct_names() -> None:
    names = [rule["alert"] for rule in queries.rules()]
    assert len(names) == len(set(names)) >= 10
    panels = queries.dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) >= 10
    for panel in panels:
        assert panel["type"] == "row" or panel["targets"], panel["title"]


@pytest.mark.parametrize("rule", queries.rules(), ids=lambda rule: rule["alert"])
def test_a_rule_has_a_severity_and_a_description(rule: dict[str, dict[str, str]]) -> None:
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"] in ({"severity": "critical"}, {"severity": "warning"})
    assert rule["annotations"].keys() == {"summary", "description"}


def test_each_service_exports_something_that_is_queried(metrics: dict[str, Metric]) -> None:
    text = " ".join(query.text for query in queries.queries())
    for service in ("orchestrator", "compute", "worker"):
        assert any(name in text for name in metrics if name.startswith(f"pangea_{service}_"))


@pytest.mark.parametrize("file", [queries.SCRAPES, queries.SCRAPES_KUBERNETES], ids=lambda file: file.name)
def test_a_scrape_configuration_loads_the_rules(file: Path) -> None:
    settings = yaml.safe_load(file.read_text())
    assert settings["rule_files"] == [queries.ALERTS.name]
    assert settings["scrape_configs"]


def test_targets_are_the_http_ports_of_the_images() -> None:
    ports = {
        scrape["job_name"]: {
            target.rpartition(":")[2] for static in scrape["static_configs"] for target in static["targets"]
        }
        for scrape in yaml.safe_load(queries.SCRAPES.read_text())["scrape_configs"]
    }
    assert ports == {"pangea-orchestrator": {"8081"}, "pangea-data": {"9091"}, "pangea-worker": {"8082"}}
